"""Losses: functions of the student's logits and the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional as F

from augsearch.policies import Distillation, Mix


@dataclass(frozen=True, slots=True, eq=False)
class UnlabeledBatch:
    """One step's images that nobody labeled, and what is to be learned of them."""

    images: Tensor
    """uint8 (U, C, H, W): as their policy leaves them."""
    targets: Tensor | None = None
    """float32 (U, K): probabilities, each row times the image's weight; None: still to be judged."""
    weak: Tensor | None = None
    """uint8 (U, C, H, W): the views by which they are judged."""
    rows: Tensor | None = None
    """int64 (U,): which of all unlabeled images they are."""
    mix: Mix | None = None
    """How ``images`` are mixed, where ``targets`` are not yet."""
    share: float = 1.0
    """U as a share of as many as there should be, μB: few images weigh no more than they would among many."""

    def parts(self, count: int) -> Iterator[UnlabeledBatch | None]:
        """The judged batch in ``count`` parts whose sizes differ by one image at most; None: an empty one."""
        assert self.targets is not None
        for images, targets in zip(
            self.images.tensor_split(count), self.targets.tensor_split(count), strict=True
        ):
            yield UnlabeledBatch(images, targets) if len(images) else None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's images and what is known of them."""

    images: Tensor
    """uint8 (B, C, H, W)."""
    targets: Tensor
    """float32 (B, K): the labels as probabilities, mixed as the images are."""
    teacher: Tensor | None = None
    """float32 (B, K): the teacher's probabilities at the temperature T, of the same images."""
    unlabeled: UnlabeledBatch | None = None

    @property
    def all_images(self) -> Tensor:
        """Labeled, then unlabeled: uint8 (B + U, C, H, W)."""
        return self.images if self.unlabeled is None else torch.cat((self.images, self.unlabeled.images))

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in ``count`` parts whose sizes differ by one image at most; none lacks labeled images."""
        count = min(count, len(self.images))
        if count == 1:
            yield self
            return
        teachers = self.teacher.tensor_split(count) if self.teacher is not None else repeat(None)
        unlabeled = self.unlabeled.parts(count) if self.unlabeled is not None else repeat(None)
        for images, targets, teacher, others in zip(
            self.images.tensor_split(count),
            self.targets.tensor_split(count),
            teachers,
            unlabeled,
            strict=False,
        ):
            yield Batch(images, targets, teacher, others)


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


def unsupervised(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · mean of H(targets, student at T) over the unlabeled images; those without weight count as nought.

    With T = 1 and targets 1(max q ≥ τ) · argmax q it is FixMatch's ℓ_u (arXiv:2001.07685, eq. 4). With a
    teacher's probabilities at T its gradient is that of T²·KL(teacher ‖ student).

    Args:
        logits: (U, K).
        targets: (U, K), probabilities times each image's weight; no gradient goes through them.
        temperature: T.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    return -(targets.detach() * student).sum(dim=1).mean() * temperature**2


def softened(logits: Tensor, temperature: float) -> Tensor:
    """The teacher's probabilities (B, K) at ``temperature``: float32, without a gradient."""
    return torch.softmax(logits.detach().float() / temperature, dim=1)
