"""What a training finds out in the batch about images without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from augsearch.policies import Semi
from augsearch.trainers.devices import autocast
from augsearch.trainers.learner import Learner
from augsearch.trainers.losses import UnlabeledBatch, softened
from augsearch.trainers.semi import Pool, aligned, class_thresholds, confident_targets
from augsearch.trainers.transfer import training_mode

MEMORY = 0.99
"""How slowly the mean of a model's predictions forgets, each step (FixMatch's code: 128 batches)."""


Find = Callable[[UnlabeledBatch, int], UnlabeledBatch]
"""The batch with its targets; its other argument is into how many parts to divide it for want of memory."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Finds out what is to be learned of unlabeled images."""

    find: Find
    weight: float
    """Of their loss beside the labeled images', λ."""
    temperature: float


def judging(
    learner: Learner,
    pool: Pool | None,
    shares: torch.Tensor,
    teacher: nn.Module | None,
    device: torch.device,
) -> Judge:
    """What ``pool``'s technique does in the batch.

    Args:
        learner: who learns; where the technique has a memory, it is kept there.
        pool: the images; None: there are none.
        shares: (K,), of the classes among the labels.
        teacher: in evaluation mode; of ``distillation`` alone.
        device: where they all are.
    """
    if pool is None:
        return Judge(lambda batch, _: batch, 0.0, 1.0)
    semi = pool.semi
    if semi.technique == "distillation":
        if teacher is None:
            raise ValueError("distillation on unlabeled images needs a teacher")
        return Judge(_asking(teacher, semi, learner), semi.weight, semi.temperature)
    if semi.technique == "fixmatch":
        return Judge(_matching(learner, pool, shares, device), semi.weight, 1.0)
    return Judge(lambda batch, _: batch, semi.weight, 1.0)


def _asking(teacher: nn.Module, semi: Semi, learner: Learner) -> Find:
    """The teacher says, of the very views that the student learns from."""

    def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
        logits = _looked_at(teacher, batch.images, parts, learner.precision)
        return replace(batch, targets=softened(logits, semi.temperature))

    return find


def _matching(learner: Learner, pool: Pool, shares: torch.Tensor, device: torch.device) -> Find:
    """The model itself says, of the weak views.

    In evaluation mode: without dropout, and with the statistics of all images instead of one batch's.
    """
    semi, classes = pool.semi, len(shares)
    fixed = torch.full((classes,), semi.threshold, device=device)
    if semi.per_class and learner.predicted is None:
        learner.predicted = torch.full((len(pool),), -1, device=device)
    if semi.align and learner.mean_prediction is None:
        learner.mean_prediction = shares.clone()

    def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
        assert batch.weak is not None
        assert batch.rows is not None
        learner.model.eval()
        logits = _looked_at(learner.model, batch.weak, parts, learner.precision)
        training_mode(learner.model, learner.transfer)
        probabilities = softened(logits, 1.0)
        if learner.mean_prediction is not None:
            learner.mean_prediction.lerp_(probabilities.mean(dim=0), 1 - MEMORY)
            probabilities = aligned(probabilities, learner.mean_prediction, shares)
        thresholds = fixed
        if learner.predicted is not None:
            thresholds = class_thresholds(learner.predicted, classes, semi.threshold)
            confidence, labels = probabilities.max(dim=1)
            before = learner.predicted[batch.rows]
            learner.predicted[batch.rows] = torch.where(confidence >= semi.threshold, labels, before)
        targets = confident_targets(probabilities, thresholds)
        return replace(batch, targets=batch.mix.targets(targets) if batch.mix else targets)

    return find


def _looked_at(model: nn.Module, images: torch.Tensor, parts: int, precision: torch.dtype) -> torch.Tensor:
    """Logits (U, K) of ``images``, without a gradient."""
    with torch.no_grad(), autocast(images.device, precision):
        return torch.cat([model(part).float() for part in images.tensor_split(parts) if len(part)])
