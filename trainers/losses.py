"""Losses: functions of the student's logits and the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional as F

from augsearch.policies import Distillation


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's images and what is known of them."""

    images: Tensor
    """uint8 (B, C, H, W)."""
    targets: Tensor
    """float32 (B, K): the labels as probabilities, mixed as the images are."""
    teacher: Tensor | None = None
    """float32 (B, K): the teacher's probabilities at the temperature T, of the same images."""

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in ``count`` parts whose sizes differ by one image at most; none is empty."""
        count = min(count, len(self.images))
        if count == 1:
            yield self
            return
        teachers = self.teacher.tensor_split(count) if self.teacher is not None else repeat(None)
        for images, targets, teacher in zip(
            self.images.tensor_split(count), self.targets.tensor_split(count), teachers, strict=False
        ):
            yield Batch(images, targets, teacher)


Loss = Callable[[Tensor, Batch], Tensor]
"""``loss(logits, batch)`` → the mean over the batch; logits (B, K)."""


def supervised(label_smoothing: float) -> Loss:
    """Cross-entropy with the labels."""

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(logits, batch.targets, label_smoothing=label_smoothing)

    return loss


def distilled(distillation: Distillation, label_smoothing: float) -> Loss:
    """α·T²·KL(teacher at T ‖ student at T) + (1 − α)·CE(labels).

    T² keeps the gradient's size when T changes (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, §2).
    """
    temperature, alpha = distillation.temperature, distillation.alpha
    hard = supervised(label_smoothing)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        if batch.teacher is None:
            raise ValueError("distillation needs a batch with the teacher's probabilities")
        student = F.log_softmax(logits / temperature, dim=1)
        soft = F.kl_div(student, batch.teacher.detach(), reduction="batchmean")
        return alpha * temperature**2 * soft + (1 - alpha) * hard(logits, batch)

    return loss


def softened(logits: Tensor, temperature: float) -> Tensor:
    """The teacher's probabilities (B, K) at ``temperature``: float32, without a gradient."""
    return torch.softmax(logits.detach().float() / temperature, dim=1)
