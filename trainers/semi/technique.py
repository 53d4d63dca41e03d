"""What a technique for images without labels is: its settings, and what a training asks of it.

To add one, put a file into this room with a class below ``Technique`` or ``LabelingTechnique`` that gives
``technique``, its name, and ``words`` a value. Nothing else is edited; ``techniques.py`` finds it.

The driver of a search reads the settings of every technique and never computes with one, so no module of
this room imports torch when it is itself imported: rules import it when they run.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augsearch.policies import Policy, Semi
from augsearch.trainers.semi.predictions import Predictions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from augsearch.trainers.training.batch import UnlabeledBatch
    from augsearch.trainers.training.learner import Learner
    from augsearch.trainers.training.unlabeled import FindTargets


class Technique(Semi):
    """A technique that finds targets for unlabeled images in every batch, of all images."""

    words: ClassVar[str]
    """What people call it."""
    rank: ClassVar[int] = 100
    """Its place in lists, lowest first; those with the same stand by name."""

    @property
    def asks_teacher(self) -> bool:
        """Whether it needs a teacher."""
        return False

    @property
    def most_students(self) -> int:
        """How many students are trained at most, one after the other; 0: it is a single training."""
        return 0

    @property
    def loss_temperature(self) -> float:
        """T of the loss, see ``unsupervised``."""
        return 1.0

    def weak_policy(self, policy: Policy) -> Policy | None:
        """The policy of the views by which the model finds the targets of the views under ``policy``.

        None: it looks at no views of its own.
        """
        return None

    def labelings(self, epochs: int) -> list[int]:
        """After how many of its ``epochs`` the training has its unlabeled images labeled; 0: at its start."""
        return []

    def prepare_student(self, model: nn.Module) -> None:
        """Change the network of a student before it is trained, in place."""

    @abstractmethod
    def target_finder(
        self, learner: Learner, shares: torch.Tensor, images: int, teacher: nn.Module | None
    ) -> FindTargets:
        """The function that finds the targets of each batch.

        Args:
            learner: the network in training; what the technique remembers is kept in its ``memory``.
            shares: float32 (K,), of each class among the labels, on the device of the training.
            images: how many unlabeled images there are in all.
            teacher: in evaluation mode; None: there is none.

        Raises:
            ValueError: a teacher is needed, and there is none.
        """


class LabelingTechnique(Technique):
    """A technique whose unlabeled images are labeled by a model now and then, as if a person did.

    A training learns from those that the last labeling was sure of; from none before the first.
    """

    threshold: float = Field(default=0.95, ge=0, le=1, allow_inf_nan=False)
    """The least confidence in its answer with which a model's label is learned from."""
    labels: Literal["hard", "soft"] = "hard"
    """Whether the likeliest class is learned, or all classes' probabilities."""
    class_cap: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The most that is learned from of each class, the surest first, in times its share by the labels; None:
    no limit."""

    def choose(self, predictions: Predictions, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        """Which images to learn from: those predicted with confidence, of each class no more than its cap.

        Args:
            predictions: of N images.
            shares: (K,), of each class among the labels; together 1.

        Returns:
            Their rows among the N, sorted.
        """
        confidence, labels = predictions.confidence, predictions.hard
        sure = np.flatnonzero(confidence >= self.threshold)
        if self.class_cap is None:
            return sure
        most = np.ceil(self.class_cap * shares * len(labels)).astype(np.int64)
        # By class, and in each the surest first; of equals the first image.
        ordered = sure[np.lexsort((sure, -confidence[sure], labels[sure]))]
        counts = np.bincount(labels[ordered], minlength=len(shares))
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        place = np.arange(len(ordered)) - starts
        return np.sort(ordered[place < most[labels[ordered]]])

    def targets(self, predictions: Predictions) -> NDArray[np.float32]:
        """What is learned of each of N images by ``predictions``: probabilities (N, K)."""
        if self.labels == "soft":
            return predictions.soft
        targets = np.zeros((len(predictions), predictions.num_classes), dtype=np.float32)
        targets[np.arange(len(predictions)), predictions.hard] = 1
        return targets

    def target_finder(
        self, learner: Learner, shares: torch.Tensor, images: int, teacher: nn.Module | None
    ) -> FindTargets:
        """Leaves batches as they are: their targets are known from the last labeling."""

        def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
            return batch

        return find
