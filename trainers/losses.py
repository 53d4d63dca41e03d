"""Losses: functions of the student's logits and the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    """float32 (B, K): the teacher's probabilities at the temperature T, mixed as the images are."""


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
