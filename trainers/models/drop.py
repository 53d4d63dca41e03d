"""Dropout and stochastic depth in any network, while it is a student; nothing of them is saved with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augsearch.trainers.models.built_in import Residual
from augsearch.trainers.models.layers import heads_of


def add_noise(model: nn.Module, dropout: float, stochastic_depth: float) -> None:
    """Have ``model`` drop, in training mode, inputs of its last layer, and whole residual branches.

    The l-th of L branches is left out, image by image, with the probability l/L · ``stochastic_depth`` (Huang
    et al. 2016, arXiv:1603.09382, eq. 4); what remains is scaled up, so that nothing changes in evaluation
    mode. Branches are those of the built-in networks, of torchvision's and timm's ResNets, and wherever
    timm's networks have a place for it; networks that come with stochastic depth keep their own.
    """
    if dropout:
        for _, head in heads_of(model):
            head.register_forward_pre_hook(_Dropout(dropout))
    branches = residual_branches(model) if stochastic_depth else []
    for place, branch in enumerate(branches, 1):
        branch.register_forward_hook(_DropBranch(model, stochastic_depth * place / len(branches)))


def residual_branches(model: nn.Module) -> list[nn.Module]:
    """The modules whose outputs are added to what went round them, in the order of depth.

    A network that has stochastic depth of its own has none.
    """
    if any(type(module).__name__ in ("DropPath", "StochasticDepth") for module in model.modules()):
        return []
    found: list[nn.Module] = []
    for name, module in model.named_modules():
        kind, last = type(module).__name__, name.rpartition(".")[2]
        if isinstance(module, Residual):
            found.append(module.body)
        elif isinstance(module, nn.Identity) and last in ("drop_path", "drop_path1", "drop_path2"):
            found.append(module)
        elif kind in ("BasicBlock", "Bottleneck") and not getattr(module, "drop_path", None):
            # Others call blocks so too that are built otherwise, and have none.
            norm = getattr(module, "bn3" if kind == "Bottleneck" else "bn2", None)
            found += [] if norm is None else [norm]
    return found


class _Dropout:
    """A hook on the inputs of a layer; no function, because an average of the weights copies it along."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return F.dropout(inputs[0], self.probability, module.training), *inputs[1:]


class _DropBranch:
    """A hook on the output of a branch, (B, …), of ``network``, whose mode counts.

    That of the branch doesn't: under a transfer its normalisations are in evaluation mode all the time.
    """

    def __init__(self, network: nn.Module, probability: float) -> None:
        self.network, self.probability = network, probability

    def __call__(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        if not self.network.training:
            return output
        kept = 1 - self.probability
        shape = (len(output), *(1,) * (output.ndim - 1))
        mask = torch.empty(shape, dtype=output.dtype, device=output.device).bernoulli_(kept)
        return output * mask / kept
