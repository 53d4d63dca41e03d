"""What is kept of a final training now and then, so that a kill costs little."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augsearch.policies.atomic import whole_file
from augsearch.trainers.evaluation.metrics import Metric, Scores
from augsearch.trainers.models.spec import card_of
from augsearch.trainers.training.learner import Learner

EVERY = 30.0
"""Seconds of work that a kill may cost, beside the epoch under way: a checkpoint after each epoch would cost
short ones more time than they take."""


@dataclass(slots=True)
class Best:
    """An epoch that is the best in some way, and how it did on the images that select."""

    epoch: int
    accuracy: float
    log_loss: float
    score: float
    """By the metric of the training."""
    by_image: NDArray[np.float64] | None = field(default=None, compare=False)
    """(N,): what each image adds to the score, see ``Metric.per_image``; None: not known any more."""
    scores: Scores | None = None
    """None: it was read from a checkpoint."""

    @classmethod
    def of(cls, epoch: int, scores: Scores, metric: Metric) -> Best:
        """An epoch with these ``scores``, which hold ``metric``'s values."""
        score = metric.score(scores)
        return cls(epoch, scores.accuracy, scores.log_loss, score, scores.by_image, scores)

    def beaten_by(self, scores: Scores, metric: Metric) -> bool:
        """Whether ``scores`` are better: by ``metric``, and where that ties, by log-loss."""
        return (metric.score(scores), -scores.log_loss) > (self.score, -self.log_loss)

    def held_by(self, scores: Scores, metric: Metric) -> bool:
        """Whether ``scores`` are worse by no more than one standard error, of the difference image by image.

        Of models that chance alone may tell apart, the rule of one standard error takes the one that is to be
        preferred for another reason (Breiman et al. 1984, Classification and Regression Trees, 3.4.3).
        """
        if self.by_image is None:
            return False
        gains = scores.by_image - self.by_image
        error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
        # One image fewer that is right is exactly one standard error, whatever the rounding.
        return bool(metric.score(scores) >= self.score - error - 1e-9)


@dataclass(slots=True)
class TrainingState:
    """What a training has come to, beside its learner."""

    best: Best | None = None
    """The epoch that is kept; its weights lie at the model's path."""
    peak: Best | None = None
    """The one of the highest score, which is not always the same: see ``take``."""
    images: int = 0
    """Image passes."""
    unlabeled: int = 0
    """Those among them of images without a label."""
    seconds: float = 0.0

    def take(self, epoch: int, scores: Scores, metric: Metric) -> bool:
        """Count an epoch; returns whether it is the best from now on.

        That is the latest whose score is within one standard error of the highest: some hundred images tell
        epochs near the end apart by chance, and a schedule that ends in small steps makes later ones better.
        """
        if self.peak is None or self.peak.beaten_by(scores, metric):
            self.best = self.peak = Best.of(epoch, scores, metric)
            return True
        if not self.peak.held_by(scores, metric):
            return False
        self.best = Best.of(epoch, scores, metric)
        return True


@dataclass(slots=True)
class Keeper:
    """Saves checkpoints of one training: the first, the last, and those between that lie far enough apart."""

    checkpoint: Path
    key: str
    clock: Callable[[], float] = time.monotonic
    """Tells seconds."""
    _saved_at: float | None = None
    _saved: int | None = None
    """The last epoch that is kept."""

    def after_epoch(self, learner: Learner, state: TrainingState, *, last: bool) -> None:
        """Keep an epoch that was just trained, if it is time."""
        if last or self._saved_at is None or self.clock() - self._saved_at >= EVERY:
            self.save(learner, state)

    def save(self, learner: Learner, state: TrainingState) -> None:
        """Keep the epoch at which ``learner`` stands, if it is not kept already."""
        if learner.epoch != self._saved and state.best is not None:
            save_checkpoint(self.checkpoint, self.key, learner, state)
            self._saved, self._saved_at = learner.epoch, self.clock()


def save_checkpoint(checkpoint: Path, key: str, learner: Learner, state: TrainingState) -> None:
    """Write the state of the training called ``key`` after an epoch, whole or not at all."""
    best, peak = state.best, state.peak
    assert best is not None
    assert peak is not None
    document = {
        "key": key,
        "learner": learner.state_dict(),
        "best": _numbers(best),
        "peak": _numbers(peak),
        "peak_by_image": None if peak.by_image is None else torch.from_numpy(peak.by_image),
        "passes": state.images,
        "unlabeled": state.unlabeled,
        "seconds": state.seconds,
        "threads": torch.get_num_threads(),
    }
    with whole_file(checkpoint) as temporary, temporary.open("wb") as file:
        torch.save(document, file)


def load_checkpoint(checkpoint: Path, key: str, learner: Learner, model: Path) -> TrainingState:
    """Load a checkpoint of the very same training into ``learner``.

    Returns:
        The state of the training then; a new one where there is no such checkpoint, or no ``model``.
    """
    try:
        document: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        same = document["key"] == key and model.exists()
    except Exception:  # There is none, or torch raises anything because it is damaged.
        return TrainingState()
    if not same:
        return TrainingState()
    learner.load_state_dict(document["learner"])
    if learner.parallel is None:
        torch.set_num_threads(document["threads"])  # sums over others come out differently
    best = peak = _read(document["best"])
    if "peak" in document:  # one was kept that scored highest, and there was no other, until others may be
        peak, by_image = _read(document["peak"]), document["peak_by_image"]
        peak.by_image = None if by_image is None else by_image.numpy()
    state = TrainingState(best, peak, document["passes"], seconds=document["seconds"])
    # Checkpoints from before unlabeled images were learned from don't count them.
    state.unlabeled = document.get("unlabeled", 0)
    if next(learner.model.parameters()).device.type != "cpu" and _best_epoch_at(model) != best.epoch:
        # A later epoch than the checkpoint's has left the model there. A CPU comes to the very same again; a
        # GPU may not, and the model must be that of the epoch that is named.
        state.best = state.peak = None
    return state


def _numbers(best: Best) -> list[float]:
    return [best.epoch, best.accuracy, best.log_loss, best.score]


def _read(numbers: list[float]) -> Best:
    epoch, accuracy, log_loss, *score = numbers
    # Until other metrics chose the epoch, there was none but accuracy.
    return Best(int(epoch), accuracy, log_loss, score[0] if score else accuracy)


def _best_epoch_at(model: Path) -> int | None:
    """The epoch that the model at a path is from, by its card."""
    try:
        epoch: int = card_of(model)["training"]["best_epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return epoch
