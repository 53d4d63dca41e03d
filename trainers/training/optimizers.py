"""Muon for the convolutions, AdamW for the rest; AdamW alone for weights that are trained already.

On the small networks and short schedules of a search this pair reached 3 to 4 points more than SGD on
photographs, for a tenth more time; see ``docs/results/proxy-network.md``. ``torch.optim.Muon`` takes
matrices only, so the few lines for convolutions stand here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from augsearch.policies import Transfer
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
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                nesterov = weight.grad.add(momentum, alpha=group["momentum"])
                update = orthogonalised(nesterov.reshape(len(weight), -1), group["iterations"])
                scale = 0.2 * max(update.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.reshape(weight.shape), alpha=-group["lr"] * scale)


def orthogonalised(matrix: Tensor, iterations: int) -> Tensor:
    """Roughly the nearest matrix with orthonormal rows or columns, by Newton–Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


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
