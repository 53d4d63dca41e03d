"""Transfer: which parts of a network learn, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from augsearch.policies import Transfer
from augsearch.trainers.models.layers import heads_of, layers_of


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn at the same rate."""

    name: str
    parameters: list[nn.Parameter]
    lr_scale: float
    """Their learning rate as a share of the last layer's."""


def parameter_groups(network: nn.Module, transfer: Transfer) -> list[Group]:
    """What learns under ``transfer``, the last layer first and then from deep to shallow.

    ``head``: the last layer alone. ``full``: layer d of the backbone's D at
    ``backbone_lr_scale * layer_decay ** (D - d)``.
    """
    heads = heads_of(network)
    last = [parameter for _, head in heads for parameter in head.parameters()]
    groups = [Group(heads[-1][0], last, 1.0)]
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
        for _, head in heads_of(network):
            head.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
