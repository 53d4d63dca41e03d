"""Muon for the convolutions, AdamW for the rest; AdamW alone for weights that are trained already.

On the small networks and short schedules of a search this pair reached 3 to 4 points more than SGD on
photographs, for a tenth more time; see ``docs/results/proxy-network.md``. ``torch.optim.Muon`` takes
matrices only, so the few lines for convolutions stand here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from augsearch.policies import Transfer
from augsearch.trainers.system.interrupts import interrupted_later
from augsearch.trainers.training.transfer import Group, parameter_groups

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon)."""


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal, for weights with two or more dimensions.

    A convolution (O, I, h, w) counts as a matrix (O, I·h·w). Updates are scaled to the size of AdamW's
    (Liu et al. 2025, arXiv:2502.16982, eq. 4), so that one learning rate suits any shape.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        iterations: int = 3,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weights in _alike([weight for weight in group["params"] if weight.grad is not None]):
                self._update(weights, group)

    def _update(self, weights: Sequence[Tensor], group: dict[str, Any]) -> None:
        """Update weights that are matrices of one shape."""
        directions = []
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
            nesterov = weight.grad.add(momentum, alpha=group["momentum"])
            directions.append(nesterov.reshape(len(weight), -1))
        scale, iterations = 0.2 * max(directions[0].shape) ** 0.5, group["iterations"]
        if len(directions) == 1:
            updates: Iterable[Tensor] = [orthogonalised(directions[0], iterations)]
        else:
            updates = orthogonalised(torch.stack(directions), iterations)
        for weight, update in zip(weights, updates, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(update.reshape(weight.shape), alpha=-group["lr"] * scale)


def _alike(weights: Sequence[Tensor]) -> list[list[Tensor]]:
    """``weights`` in groups that are orthogonalised together: on a GPU, where many small products would wait
    for each other's start, those of one shape as matrices; on a CPU each alone."""
    groups: dict[object, list[Tensor]] = {}
    for index, weight in enumerate(weights):
        alone = weight.device.type == "cpu"
        groups.setdefault(index if alone else (len(weight), weight.numel()), []).append(weight)
    return list(groups.values())


def orthogonalised(matrices: Tensor, iterations: int) -> Tensor:
    """Roughly the nearest matrix with orthonormal rows or columns, by Newton–Schulz iteration.

    Args:
        matrices: (m, n), or (K, m, n): K that are multiplied together, each for itself.
        iterations: how many.
    """
    a, b, c = NEWTON_SCHULZ
    alone = matrices.ndim == 2
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / ((x.norm() if alone else torch.linalg.matrix_norm(x, keepdim=True)) + 1e-7)
    add_product = torch.addmm if alone else torch.baddbmm
    for _ in range(iterations):
        gram = x @ x.mT
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


@cache
def _load_compiler() -> None:
    """What torch loads with the first optimizer, Triton with it."""
    with interrupted_later():
        importlib.import_module("torch._dynamo")


def build_optimizers(
    model: nn.Module,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    transfer: Transfer | None = None,
) -> list[torch.optim.Optimizer]:
    """The optimizers of a training; every parameter group has its ``name``.

    From scratch: Muon for every convolution but the first and those of single channels; AdamW at half the
    rate, without decay, for all else. Under ``transfer``: AdamW alone, which changes trained weights gently,
    with a learning rate for each layer, and decay for matrices and kernels.
    """
    _load_compiler()
    if transfer is not None:
        groups = [
            part for group in parameter_groups(model, transfer) for part in _decayed(group, weight_decay)
        ]
        for group in groups:
            group["lr"] = learning_rate * group.pop("lr_scale")
        return [torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)]
    convolutions = [
        module.weight for module in model.modules() if isinstance(module, nn.Conv2d) and module.groups == 1
    ][1:]
    by_muon = {id(weight) for weight in convolutions}
    others = [weight for weight in model.parameters() if id(weight) not in by_muon]
    adamw = torch.optim.AdamW(
        [{"params": others, "name": "other"}],
        lr=learning_rate / 2,
        betas=(0.9, 0.99),
        weight_decay=0.0,
        fused=True,
    )
    if not convolutions:
        return [adamw]
    named = [{"params": convolutions, "name": "convolutions"}]
    return [Muon(named, learning_rate, momentum, weight_decay), adamw]


def _decayed(group: Group, weight_decay: float) -> list[dict[str, Any]]:
    """A group's matrices and kernels, with decay, and its vectors without."""
    matrices = [parameter for parameter in group.parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in group.parameters if parameter.ndim <= 1]
    return [
        {"params": parameters, "name": group.name, "lr_scale": group.lr_scale, "weight_decay": decay}
        for parameters, decay in ((matrices, weight_decay), (vectors, 0.0))
        if parameters
    ]
