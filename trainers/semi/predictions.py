"""What a model predicts of images: of each the likeliest classes, and how likely they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.evaluation.metrics import log_probabilities

LIKELIEST = 10
"""How many classes of an image are kept: of a million images and a thousand classes all would be 4 GB."""

ROWS = 4096
"""Rows of logits that are worked on together; in float64 all of them would not fit in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A model's predictions of N images in K classes; of each image the k = min(K, 10) likeliest."""

    labels: NDArray[np.int32]
    """(N, k), the likeliest first; of equals the first class."""
    probabilities: NDArray[np.float32]
    """(N, k), of ``labels``, 0 to 1."""
    num_classes: int
    """K."""

    @classmethod
    def from_logits(cls, logits: NDArray[np.float32]) -> Predictions:
        """The likeliest classes by ``logits`` (N, K).

        Raises:
            TrainingDivergedError: a logit is no number.
        """
        count, num_classes = logits.shape
        likeliest = min(num_classes, LIKELIEST)
        labels = np.empty((count, likeliest), np.int32)
        probabilities = np.empty((count, likeliest), np.float32)
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            labels[rows], probabilities[rows] = _likeliest(logits[rows], likeliest)
        return cls(labels, probabilities, num_classes)

    @classmethod
    def joined(cls, pieces: Sequence[Predictions]) -> Predictions:
        """Those of all ``pieces``, at least one, in order."""
        return cls(
            np.concatenate([piece.labels for piece in pieces]),
            np.concatenate([piece.probabilities for piece in pieces]),
            pieces[0].num_classes,
        )

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(N,): the probability of the likeliest class, 0 to 1."""
        return self.probabilities[:, 0]

    @property
    def hard(self) -> NDArray[np.int64]:
        """(N,): the likeliest class."""
        return self.labels[:, 0].astype(np.int64)

    @property
    def soft(self) -> NDArray[np.float32]:
        """(N, K): the probabilities; what the likeliest leave is spread evenly over the other classes."""
        others = max(1, self.num_classes - self.labels.shape[1])
        left = np.maximum(1 - self.probabilities.sum(axis=1, dtype=np.float64), 0) / others
        soft = np.repeat(left.astype(np.float32)[:, np.newaxis], self.num_classes, axis=1)
        np.put_along_axis(soft, self.labels, self.probabilities, axis=1)
        return soft

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Predictions:
        return Predictions(self.labels[rows], self.probabilities[rows], self.num_classes)

    def __len__(self) -> int:
        return len(self.labels)


def _likeliest(logits: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The ``count`` likeliest classes by ``logits`` (B, K) and their probabilities."""
    # By the logits themselves: differences that exp rounds away would leave ties.
    labels = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    return labels, np.exp(np.take_along_axis(log_probabilities(logits), labels, axis=1))
