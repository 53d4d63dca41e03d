"""A network's layers, by its module tree; which one is the head."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from augsearch.policies import UserError

LARGE = 0.25
"""The share of a network's tensors above which a module counts as many layers and not as one."""


def head_of(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The last layer and its name: the last linear layer, or the last convolution where none is linear.

    Raises:
        UserError: there is neither.
    """
    modules = list(network.named_modules())
    for kind in (nn.Linear, nn.Conv2d):
        for name, module in reversed(modules):
            if isinstance(module, kind):
                return name, module
    raise UserError(f"{type(network).__name__} has no last layer that could be replaced")


def heads_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The last layer, and those that stand beside it: some networks average the outputs of two.

    Such as DeiT's ``head`` and ``head_dist``, CrossViT's ``head.0`` and ``head.1``: of one kind, with as many
    outputs, and of names that differ in one part.

    Raises:
        UserError: as ``head_of``.
    """
    name, last = head_of(network)
    place = name.split(".")

    def stands_beside(other: str) -> bool:
        parts = other.split(".")
        return len(parts) == len(place) and sum(a != b for a, b in zip(parts, place, strict=True)) <= 1

    return [
        (other, module)
        for other, module in network.named_modules()
        if isinstance(module, type(last)) and len(module.weight) == len(last.weight) and stands_beside(other)
    ]


def layers_of(network: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """The backbone's parameters by depth, the first layer first; ``heads_of`` are not among them.

    A layer is a residual block, or a convolution with the normalisation behind it. Parameters appear in the
    order in which a network defines them, which is that of depth in torchvision's and timm's.
    """
    placed = {id(parameter) for _, head in heads_of(network) for parameter in head.parameters()}
    in_all = len(list(network.parameters()))
    found: list[tuple[str, list[nn.Parameter]]] = []
    for name, module, parameters in _pieces(network, "", in_all):
        # What several blocks share belongs to the first of them.
        own = [parameter for parameter in parameters if id(parameter) not in placed]
        if not own:
            continue
        placed |= {id(parameter) for parameter in own}
        joins = isinstance(module, nn.Module) and _is_normalisation(module)
        if found and joins:
            found[-1][1].extend(own)
        else:
            found.append((name, own))
    return found


def _pieces(
    module: nn.Module, name: str, in_all: int
) -> Iterator[tuple[str, nn.Module | None, list[nn.Parameter]]]:
    direct = list(module.parameters(recurse=False))
    if direct:
        yield name, module if not list(module.children()) else None, direct
    for child_name, child in module.named_children():
        below = list(child.parameters())
        if not below:
            continue
        path = f"{name}.{child_name}" if name else child_name
        many = len(below) > LARGE * in_all or isinstance(child, nn.Sequential | nn.ModuleList)
        if many and list(child.children()):
            yield from _pieces(child, path, in_all)
        else:
            yield path, child, below


def _is_normalisation(module: nn.Module) -> bool:
    return all(parameter.ndim == 1 for parameter in module.parameters())
