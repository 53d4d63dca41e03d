"""What a training learns of images that nobody labeled: which of them, which labels, how sure one must be.

The functions are the techniques' equations; ``Pool`` is the images as the loop draws from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Policy, Semi
from augsearch.trainers.semi.predictions import Guesses

if TYPE_CHECKING:
    from augsearch.trainers.data.views import TrainingImages


Rows = NDArray[np.int64]


def select(guesses: Guesses, semi: Semi, shares: NDArray[np.float64]) -> Rows:
    """Which images to learn from: those guessed with enough confidence, of each class no more than its cap.

    Args:
        guesses: of N images.
        semi: its ``threshold`` and ``class_cap``.
        shares: (K,), of each class among the labels; together 1.

    Returns:
        Their rows among the N, sorted.
    """
    confidence, labels = guesses.confidence, guesses.hard
    sure = np.flatnonzero(confidence >= semi.threshold)
    if semi.class_cap is None:
        return sure
    most = np.ceil(semi.class_cap * shares * len(labels)).astype(np.int64)
    # By class, and in each the surest first; of equals the first image.
    ordered = sure[np.lexsort((sure, -confidence[sure], labels[sure]))]
    counts = np.bincount(labels[ordered], minlength=len(shares))
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.arange(len(ordered)) - firsts
    return np.sort(ordered[place < most[labels[ordered]]])


def class_shares(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """(K,): of each class among ``labels`` (N,)."""
    return np.bincount(labels, minlength=num_classes) / max(len(labels), 1)


def weak_view(policy: Policy) -> Policy:
    """The policy's crop, flips and turns without its operations: what it holds to change no label."""
    return policy.model_copy(update={"num_ops": 0, "mixing": None})


@dataclass(eq=False)
class Pool:
    """Unlabeled images as a training draws from them; what it learns of them may change between epochs.

    ``pseudo`` and ``self-training`` draw from those that ``relabel`` chose, at first from none; ``fixmatch``
    and ``distillation`` from all, and what is to be learned is found in the batch.
    """

    images: TrainingImages
    """Its labels mean nothing; ``teacher`` has the logits of the clean images where they are known."""
    semi: Semi
    policy: Policy
    """What happens to them; that of the labeled images where they have none of their own."""
    rows: Rows = field(init=False)
    """(M,): which of the images are drawn from."""
    _guesses: Guesses | None = field(init=False, default=None)
    _place: Rows = field(init=False, default_factory=lambda: np.empty(0, np.int64))
    """(N,): of each image its place in the guesses."""

    def __post_init__(self) -> None:
        in_batch = self.semi.technique in ("fixmatch", "distillation")
        self.rows = np.arange(len(self) if in_batch else 0)

    def __len__(self) -> int:
        return len(self.images.labels)

    @property
    def judged_by(self) -> Policy | None:
        """The policy of the views by which the model itself judges them in the batch; None: it doesn't."""
        return weak_view(self.policy) if self.semi.technique == "fixmatch" else None

    def relabel(self, labeled: Rows, guesses: Guesses, shares: NDArray[np.float64]) -> None:
        """From now on learn what ``guesses`` says of the images ``labeled``, as far as it is sure of it.

        ``shares``, (K,), are those of the classes among the labels.
        """
        self._guesses, self._place = guesses, np.full(len(self), -1)
        self._place[labeled] = np.arange(len(labeled))
        self.rows = labeled[select(guesses, self.semi, shares)]

    def wanted(self, labeled: int) -> int:
        """How many should go with so many ``labeled`` images, μB."""
        return math.ceil(self.semi.ratio * labeled)

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
        if self._guesses is None:
            return None
        places = self._place[rows]
        if self.semi.labels == "soft":
            return self._guesses.soft(places)
        targets = np.zeros((len(rows), self.images.num_classes), dtype=np.float32)
        targets[np.arange(len(rows)), self._guesses.labels[places, 0]] = 1
        return targets


_DRAWING = 2**32 - 5
"""Part of the seed of what is drawn, so that it shares no random numbers with an epoch's order."""
