"""A network in training: everything about it that changes, so everything that a checkpoint holds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from augsearch.policies import Transfer
from augsearch.trainers.system.devices import precision_on
from augsearch.trainers.training.optimizers import build_optimizers
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.transfer import freeze


@dataclass(eq=False)
class Learner:
    """A model with its optimizers, its average, and how far it has come."""

    model: nn.Module
    """Trained in place."""
    optimizers: list[torch.optim.Optimizer]
    full_rates: list[list[float]]
    """The learning rate of each optimizer's groups at the top of the schedule."""
    transfer: Transfer | None = None
    average: Average | None = None
    """The exponential moving average of the weights (EMA), if the recipe keeps one."""
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False))
    accumulation: int = 1
    """The number of parts into which each batch is divided for want of memory."""
    precision: torch.dtype = torch.float32
    """What convolutions and products are computed in."""
    clip: float | None = None
    """The largest norm of a step's gradients; None: whatever they are."""
    epoch: int = 0
    """Epochs trained."""
    memory: dict[str, torch.Tensor] = field(default_factory=dict)
    """What a technique for unlabeled images remembers, by names of its own."""
    parallel: DistributedDataParallel | None = None
    """The model wrapped so that several processes share their gradients."""

    @classmethod
    def prepare(
        cls,
        model: nn.Module,
        recipe: Recipe,
        transfer: Transfer | None = None,
        device: torch.device | None = None,
    ) -> Learner:
        """A learner at its start: ``model`` moved to ``device``, what ``transfer`` freezes frozen."""
        device = device or next(model.parameters()).device
        model.to(device)
        freeze(model, transfer)
        optimizers = build_optimizers(
            model, recipe.top_rate(transfer), recipe.momentum, recipe.weight_decay, transfer
        )
        average = None
        if recipe.ema is not None:
            average = Average(model, recipe.ema)
        precision = precision_on(device, model, recipe.precision)
        return cls(
            model=model,
            optimizers=optimizers,
            full_rates=[[group["lr"] for group in one.param_groups] for one in optimizers],
            transfer=transfer,
            average=average,
            scaler=torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
            accumulation=recipe.accumulation,
            precision=precision,
            clip=recipe.clip,
        )

    @property
    def forward(self) -> nn.Module:
        """What to compute gradients through."""
        return self.parallel or self.model

    @property
    def best(self) -> nn.Module:
        """What to evaluate and to keep: the average, if there is one."""
        return self.average.module if self.average is not None else self.model

    def sharing(self, share: bool) -> AbstractContextManager[None]:
        """Around a forward pass: whether its backward pass shares gradients with the other processes.

        Those of a batch in parts add up in each process, and are shared once, with those of the last part.
        """
        return self.parallel.no_sync() if self.parallel is not None and not share else nullcontext()

    def rates(self) -> dict[str, float]:
        """The learning rate of each group at this moment, by the group's name."""
        return {
            str(group["name"]): float(group["lr"]) for one in self.optimizers for group in one.param_groups
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers],
            "average": self.average.state_dict() if self.average is not None else None,
            "scaler": self.scaler.state_dict(),
            "accumulation": self.accumulation,
            "epoch": self.epoch,
            "memory": dict(self.memory),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave, bit for bit."""
        self.model.load_state_dict(state["model"])
        for one, kept in zip(self.optimizers, state["optimizers"], strict=True):
            one.load_state_dict(kept)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if state["scaler"]:  # that of another precision says nothing, and is refused where this one scales
            self.scaler.load_state_dict(state["scaler"])
        self.accumulation, self.epoch = state["accumulation"], state["epoch"]
        device = next(self.model.parameters()).device
        memory = state.get("memory")
        if memory is None:  # checkpoints of old have FixMatch's memory, if any, beside the rest
            memory = {name: state.get(name) for name in ("predicted", "mean_prediction")}
        self.memory = {name: kept.to(device) for name, kept in memory.items() if kept is not None}


class Average(AveragedModel):
    """The exponential moving average of a model's weights and statistics, which begins with the first step's.

    Whole numbers, such as indices, are those of the last step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self._share = 1 - decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take up what ``model`` has after a step.

        torch's own brings the number of steps to the device each time, and for that the host waits for the
        GPU to come to an end.
        """
        pairs = list(
            zip(
                chain(self.module.parameters(), self.module.buffers()),
                chain(model.parameters(), model.buffers()),
                strict=True,
            )
        )
        begins = bool(self.n_averaged == 0)  # which is kept on the host
        for moves in (True, False):
            kept = [one for one, _ in pairs if one.is_floating_point() == moves]
            now = [one for before, one in pairs if before.is_floating_point() == moves]
            if kept and moves and not begins:
                torch._foreach_lerp_(kept, now, self._share)
            elif kept:
                torch._foreach_copy_(kept, now)
        self.n_averaged += 1
