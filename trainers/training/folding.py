"""Convolutions and the normalisations behind them computed as one, where those keep their statistics.

With fixed statistics a BatchNorm is an affine map of each channel, so its scale and shift can be applied to
the convolution's few weights in place of all that comes out of it (Jacob et al. 2018, arXiv:1712.05877,
§3.2). Gradients reach the parameters of both through the folded weights, the same but for rounding; what
came out of the convolution is neither normalised nor kept for the backward pass.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]
"""A convolution, and the normalisation that alone takes what it gives."""


def foldable(network: nn.Module, images: Tensor) -> list[Pair]:
    """The pairs of ``network``, by the graph of a copy of it for ``images``, in its present mode."""
    given: dict[Any, nn.Conv2d] = {}
    taken: list[tuple[Any, nn.BatchNorm2d]] = []

    def gave(module: nn.Conv2d, _: Any, output: Tensor) -> None:
        given[output.grad_fn] = module

    def takes(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        taken.append((inputs[0].grad_fn, module))

    # A network may remember what it computes, and what is frozen would have no graph.
    twin = copy.deepcopy(network).requires_grad_(True)
    for module in twin.modules():
        if _is_plain(module):
            module.register_forward_hook(gave)
        elif isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(takes)
    with torch.enable_grad():
        uses = _uses(twin(images).grad_fn)
    calls = Counter(id(module) for module in (*given.values(), *(module for _, module in taken)))
    own: dict[nn.Module, Any] = dict(zip(twin.modules(), network.modules(), strict=True))
    return [
        (own[given[node]], own[module])
        for node, module in taken
        if node in given
        and uses[node] == 1
        and calls[id(module)] == calls[id(given[node])] == 1
        and _after(module) is not None
        and module.running_var is not None
    ]


@contextmanager
def folded(pairs: Iterable[Pair]) -> Iterator[None]:
    """Within the block the ``pairs`` compute as one; their normalisations must not be in training mode."""
    with ExitStack() as stack:
        for convolution, norm in pairs:
            rest = _after(norm)
            assert rest is not None
            stack.enter_context(_instead(convolution, _folded_forward(convolution, norm)))
            stack.enter_context(_instead(norm, rest))
        yield


def _folded_forward(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor]:
    usual = convolution.forward

    def forward(images: Tensor) -> Tensor:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
        shift = shift * scale if norm.bias is None else shift * scale + norm.bias
        # An instance's attribute goes before its parameter.
        weight = convolution.weight * scale[:, None, None, None]
        vars(convolution).update(weight=weight, bias=shift)
        try:
            return usual(images)
        finally:
            del vars(convolution)["weight"], vars(convolution)["bias"]

    return forward


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a convolution that computes with its weight as it is."""
    known = type(module) is nn.Conv2d or type(module).__name__ == "Conv2dSame"  # timm's, which pads first
    return known and module._parameters.get("weight") is not None


def _after(norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor] | None:
    """What a normalisation does beside normalising; None: it is of a kind that nobody knows."""
    if type(norm) is nn.BatchNorm2d:
        return lambda images: images
    if type(norm).__name__ == "BatchNormAct2d":  # timm's
        return lambda images: norm.act(norm.drop(images))  # type: ignore[operator]
    return None


@contextmanager
def _instead(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]


def _uses(graph: Any) -> Counter[Any]:
    """How often what each node of ``graph`` gives is taken by another."""
    uses: Counter[Any] = Counter()
    waiting, seen = [graph], {graph}
    while waiting:
        for node, _ in waiting.pop().next_functions:
            uses[node] += 1
            if node is not None and node not in seen:
                seen.add(node)
                waiting.append(node)
    return uses
