"""The one training loop: proxies, teachers and final models all run through ``train``.

It is a generator: the caller decides what to do with each epoch's result, and may stop at any time.
It knows nothing of searches, of tracking or of terminals.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from augsearch.policies import Distillation, Policy, draw_mix
from augsearch.trainers.losses import Batch, Loss, distilled, supervised
from augsearch.trainers.optimizers import build_optimizers
from augsearch.trainers.scores import Logits, TrainingDivergedError, to_tensor


class Recipe(BaseModel):
    """How long and how fast to train; one recipe serves every network and data set built in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=2)
    """At most: of few images it is a sixth, so that an epoch has some steps."""
    learning_rate: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    """The highest, a quarter of the way in (one-cycle: Smith 2018, arXiv:1803.09820)."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov's."""
    weight_decay: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    """Of convolutions; biases, normalisations and the last layer have none."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    """The share of the steps in which the learning rate rises."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """What a training learns from."""

    images: NDArray[np.uint8]
    """(N, H, W, C)."""
    labels: NDArray[np.int64]
    """(N,)."""
    num_classes: int
    teacher: Logits | None = None
    """(N, K): a teacher's logits of the clean images."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch of a training."""

    epoch: int
    """From 1."""
    epochs: int
    loss: float
    """Mean over the epoch's steps."""
    learning_rate: float
    """At the epoch's last step."""
    images: int
    """Trained on in this epoch."""
    seconds: float


def train(
    model: nn.Module,
    data: LabeledImages,
    policy: Policy,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    distillation: Distillation | None = None,
) -> Iterator[EpochResult]:
    """Train ``model`` in place and yield after every epoch.

    Everything random (order, augmentation, mixing) follows from ``seed``.

    Raises:
        TrainingDivergedError: the loss became infinite or no number.
    """
    loss_of = (
        distilled(distillation, recipe.label_smoothing)
        if distillation
        else supervised(recipe.label_smoothing)
    )
    batch_size = min(recipe.batch_size, max(len(data.labels) // 6, min(8, len(data.labels))))
    steps = len(data.labels) // batch_size
    optimizers = build_optimizers(model, recipe.learning_rate, recipe.momentum, recipe.weight_decay)
    full_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    rng = np.random.default_rng(seed)
    model.train()
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        total = torch.zeros((), device=device)
        for step, batch in enumerate(batches(data, policy, batch_size, rng, device, distillation)):
            factor = one_cycle((epoch * steps + step) / (recipe.epochs * steps), recipe.warm_up)
            for optimizer, rates in zip(optimizers, full_rates, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            total += _step(model, batch, loss_of, optimizers)
        loss = float(total) / steps
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate"
            )
        seconds = time.perf_counter() - started
        rate = recipe.learning_rate * factor
        yield EpochResult(epoch + 1, recipe.epochs, loss, rate, steps * batch_size, seconds)


def batches(
    data: LabeledImages,
    policy: Policy,
    batch_size: int,
    rng: np.random.Generator,
    device: torch.device,
    distillation: Distillation | None = None,
) -> Iterator[Batch]:
    """One epoch in random order, augmented and mixed; the images that fill no batch are left out."""
    one_hot = np.eye(data.num_classes, dtype=np.float32)
    order = rng.permutation(len(data.labels))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        images = policy.augment(data.images[chosen], rng)
        targets = one_hot[data.labels[chosen]]
        teacher = _soften(data.teacher, chosen, distillation)
        mix = draw_mix(policy.mixing, len(chosen), images.shape[1:3], rng)
        if mix is not None:
            images, targets = mix.images(images), mix.targets(targets)
            teacher = mix.targets(teacher) if teacher is not None else None
        yield Batch(
            to_tensor(images, device),
            torch.from_numpy(targets).to(device),
            torch.from_numpy(teacher).to(device) if teacher is not None else None,
        )


def one_cycle(progress: float, warm_up: float) -> float:
    """The share of the full learning rate at ``progress`` (0–1): a linear rise, then half a cosine."""
    if progress < warm_up:
        return max(progress / warm_up, 0.02)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def _soften(
    teacher: Logits | None, chosen: NDArray[np.int64], distillation: Distillation | None
) -> NDArray[np.float32] | None:
    if teacher is None or distillation is None:
        return None
    scaled = teacher[chosen] / distillation.temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)


def _step(
    model: nn.Module, batch: Batch, loss_of: Loss, optimizers: list[torch.optim.Optimizer]
) -> torch.Tensor:
    loss = loss_of(model(batch.images), batch)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()
