"""Pseudo-labels (Lee 2013): the model labels the images now and then, and learns those that it is sure of."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from augsearch.trainers.semi.technique import LabelingTechnique


class PseudoLabels(LabelingTechnique):
    """The model labels clean views, now and then, and learns from those it is sure of (Lee 2013)."""

    words: ClassVar[str] = "pseudo-labels"
    rank: ClassVar[int] = 1

    technique: Literal["pseudo"] = "pseudo"
    labeler: Literal["model", "teacher"] = "model"
    """Who labels: the model as it learns, or the teacher, once, before the training begins."""
    rounds: int = Field(default=3, ge=1, le=100)
    """How often the model labels anew."""

    @property
    def asks_teacher(self) -> bool:
        """Whether the teacher labels."""
        return self.labeler == "teacher"

    def labelings(self, epochs: int) -> list[int]:
        """Evenly over the ``epochs``, first on labels alone; or at the start, where the teacher labels."""
        if self.asks_teacher:
            return [0]
        times = min(self.rounds, epochs - 1)
        return [epochs * number // (times + 1) for number in range(1, times + 1)]
