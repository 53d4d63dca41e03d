"""Self-training with noisy students: each trained model labels the images for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from augsearch.trainers.semi.technique import LabelingTechnique

if TYPE_CHECKING:
    from torch import nn


class SelfTraining(LabelingTechnique):
    """A trained model labels; a student with dropout and stochastic depth learns from both, and labels next.

    Noisy student: Xie et al. 2020, arXiv:1911.04252.
    """

    words: ClassVar[str] = "self-training"
    rank: ClassVar[int] = 2

    technique: Literal["self-training"] = "self-training"
    rounds: int = Field(default=3, ge=1, le=100)
    """How many students there are at most."""
    dropout: float = Field(default=0.1, ge=0, lt=1, allow_inf_nan=False)
    """The share of the last layer's inputs that students drop."""
    stochastic_depth: float = Field(default=0.1, ge=0, lt=1, allow_inf_nan=False)
    """How often the last residual branch is left out in students, earlier ones less (Huang et al. 2016,
    arXiv:1603.09382)."""

    @property
    def most_students(self) -> int:
        """As many as there are rounds."""
        return self.rounds

    def prepare_student(self, model: nn.Module) -> None:
        """Add dropout and stochastic depth."""
        from augsearch.trainers.models.drop import add_noise

        add_noise(model, self.dropout, self.stochastic_depth)
