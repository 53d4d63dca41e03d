"""Transfer: which parts of a network learn, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from augsearch.policies import Transfer, UserError

LARGE = 0.25
"""The share of a network's tensors above which a module counts as many layers and not as one."""


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn at the same rate."""

    name: str
    parameters: list[nn.Parameter]
    lr_scale: float
    """Their learning rate as a share of the last layer's."""


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


def layers_of(network: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """The backbone's parameters by depth, the first layer first; the last layer is not among them.

    A layer is a residual block, or a convolution with the normalisation behind it. Parameters appear in the
    order in which a network defines them, which is that of depth in torchvision's and timm's.
    """
    _, head = head_of(network)
    placed = {id(parameter) for parameter in head.parameters()}
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


def parameter_groups(network: nn.Module, transfer: Transfer) -> list[Group]:
    """What learns under ``transfer``, the last layer first and then from deep to shallow.

    ``head``: the last layer alone. ``full``: layer d of the backbone's D at
    ``backbone_lr_scale * layer_decay ** (D - d)``.
    """
    name, head = head_of(network)
    groups = [Group(name, list(head.parameters()), 1.0)]
    if transfer.mode == "full":
        scale = transfer.backbone_lr_scale
        for layer, parameters in reversed(layers_of(network)):
            groups.append(Group(layer, parameters, scale))
            scale *= transfer.layer_decay
    return groups


def freeze(network: nn.Module, transfer: Transfer | None) -> None:
    """Switch gradients on for what learns under ``transfer``, and off for the rest."""
    if transfer is None:
        return
    learning = {
        id(parameter) for group in parameter_groups(network, transfer) for parameter in group.parameters
    }
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in learning)


def training_mode(network: nn.Module, transfer: Transfer | None) -> None:
    """Training mode for what learns.

    Under a transfer BatchNorms go on with the statistics that came with the weights: small data has too few
    and too small batches to learn them from (with 50 photos that cost 6 points). A frozen backbone's dropout
    is off too.
    """
    network.train()
    if transfer is None:
        return
    if transfer.mode == "head":
        network.eval()
        head_of(network)[1].train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
