"""Unlabeled images as the loop draws from them, and what is known of their targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Policy
from augsearch.trainers.semi.predictions import Predictions
from augsearch.trainers.semi.technique import LabelingTechnique, Technique

if TYPE_CHECKING:
    from augsearch.trainers.data.views import TrainingImages
    from augsearch.trainers.training.learner import Learner
    from augsearch.trainers.training.setup import TrainingSetup
    from augsearch.trainers.training.unlabeled import UnlabeledLoss

Rows = NDArray[np.int64]

_DRAWING = 2**32 - 5
"""An entry in the seed of what is drawn, so that it shares no random numbers with an epoch's order."""


def class_shares(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """(K,): the share of each class among ``labels`` (N,)."""
    return np.bincount(labels, minlength=num_classes) / max(len(labels), 1)


@dataclass(eq=False)
class Pool:
    """Unlabeled images, and the technique by which a training learns from them (``UnlabeledPool``).

    Under a ``LabelingTechnique`` those are drawn that ``relabel`` chose, at first none; else all.
    """

    images: TrainingImages
    """Their labels mean nothing."""
    technique: Technique
    policy: Policy
    """What happens to them."""
    rows: Rows = field(init=False)
    """(M,): which of the images are drawn from."""
    _predictions: Predictions | None = field(init=False, default=None)
    """What the last labeling said of the images that it could read."""
    _place: Rows = field(init=False, default_factory=lambda: np.empty(0, np.int64))
    """(N,): of each image its row in the predictions, −1 where it has none."""

    def __post_init__(self) -> None:
        by_labeling = isinstance(self.technique, LabelingTechnique)
        self.rows = np.arange(0 if by_labeling else len(self))

    def __len__(self) -> int:
        return len(self.images.labels)

    @property
    def weak_policy(self) -> Policy | None:
        """The policy of the views by which the model finds targets in the batch; None: it needs none."""
        return self.technique.weak_policy(self.policy)

    def relabel(self, labeled: Rows, predictions: Predictions, shares: NDArray[np.float64]) -> None:
        """From now on learn what ``predictions`` says of the images ``labeled``, as far as it is sure.

        ``shares``, (K,), are those of the classes among the labels.
        """
        assert isinstance(self.technique, LabelingTechnique)
        self._predictions, self._place = predictions, np.full(len(self), -1)
        self._place[labeled] = np.arange(len(labeled))
        self.rows = labeled[self.technique.choose(predictions, shares)]

    def wanted(self, labeled: int) -> int:
        """How many should go with so many ``labeled`` images, μB."""
        return math.ceil(self.technique.ratio * labeled)

    def per_step(self, labeled: int, steps: int) -> int:
        """How many do, in each of an epoch's ``steps``: none comes up more often than the labeled ones."""
        return min(self.wanted(labeled), math.ceil(len(self.rows) / steps))

    def drawn(self, count: int, epoch: int, steps: int, seed: int) -> list[Rows]:
        """The rows (count,) of each step of an epoch; all images come up before any comes up again."""
        start, needed = epoch * steps * count, steps * count
        first, last = start // len(self.rows), (start + needed - 1) // len(self.rows)
        orders = [
            np.random.default_rng([seed, _DRAWING, turn]).permutation(self.rows)
            for turn in range(first, last + 1)
        ]
        begin = start - first * len(self.rows)
        return np.split(np.concatenate(orders)[begin : begin + needed], steps)

    def targets(self, rows: Rows) -> NDArray[np.float32] | None:
        """What is to be learned of ``rows``, (len(rows), K); None: that is found in the batch."""
        if self._predictions is None:
            return None
        assert isinstance(self.technique, LabelingTechnique)
        return self.technique.targets(self._predictions[self._place[rows]])

    def loss(self, learner: Learner, setup: TrainingSetup) -> UnlabeledLoss:
        """What ``learner`` minimises on these images in the training that is ``setup``.

        Raises:
            ValueError: the technique needs a teacher, and there is none.
        """
        # Here and not above: the driver of a search imports this module and does without torch.
        import torch

        from augsearch.trainers.training.unlabeled import UnlabeledLoss

        technique, labeled = self.technique, setup.data
        shares = class_shares(labeled.labels, labeled.num_classes)
        find_targets = technique.target_finder(
            learner, torch.from_numpy(shares).float().to(setup.device), len(self), setup.teacher
        )
        return UnlabeledLoss(find_targets, technique.weight, technique.loss_temperature)
