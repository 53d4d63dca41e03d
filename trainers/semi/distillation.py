"""Distillation on images without labels: a teacher's softened prediction is the target, in every batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from augsearch.trainers.semi.technique import Technique

if TYPE_CHECKING:
    import torch
    from torch import nn

    from augsearch.trainers.training.batch import UnlabeledBatch
    from augsearch.trainers.training.learner import Learner
    from augsearch.trainers.training.unlabeled import FindTargets


class UnlabeledDistillation(Technique):
    """A teacher's softened prediction, of the very view that the student learns from, is the target."""

    words: ClassVar[str] = "distillation"
    rank: ClassVar[int] = 4
    smooths_labels: ClassVar[bool] = True

    technique: Literal["distillation"] = "distillation"
    temperature: float = Field(default=4.0, gt=0, le=100, allow_inf_nan=False)
    """T, which softens the teacher's and the student's predictions alike."""

    @property
    def asks_teacher(self) -> bool:
        """Always."""
        return True

    @property
    def loss_temperature(self) -> float:
        """T."""
        return self.temperature

    def target_finder(
        self, learner: Learner, shares: torch.Tensor, images: int, teacher: nn.Module | None
    ) -> FindTargets:
        """The teacher predicts the views that the student learns from.

        Raises:
            ValueError: there is no teacher.
        """
        # Imports torch, which who only reads the settings does without.
        from augsearch.trainers.training.losses import softened
        from augsearch.trainers.training.unlabeled import logits_of

        if teacher is None:
            raise ValueError("distillation on unlabeled images needs a teacher")

        def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
            logits = logits_of(teacher, batch.images, parts, learner.precision)
            return replace(batch, targets=softened(logits, self.temperature))

        return find
