"""What is kept of a final training now and then, so that a kill costs little."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augsearch.policies.atomic import whole_file
from augsearch.trainers.evaluation.metrics import Metric, Scores
from augsearch.trainers.models.spec import card_of
from augsearch.trainers.training.learner import Learner

EVERY = 30.0
"""Seconds of work that a kill may cost, beside the epoch under way: a checkpoint after each epoch would cost
short ones more time than they take."""


@dataclass(slots=True)
class Best:
    """The best epoch so far; its weights lie at the model's path."""

    epoch: int
    accuracy: float
    log_loss: float
    score: float
    """By the metric of the training."""
    scores: Scores | None = None
    """None: it was read from a checkpoint."""

    @classmethod
    def of(cls, epoch: int, scores: Scores, metric: Metric) -> Best:
        """An epoch with these ``scores``, which hold ``metric``'s values."""
        return cls(epoch, scores.accuracy, scores.log_loss, metric.score(scores), scores)

    def beaten_by(self, scores: Scores, metric: Metric) -> bool:
        """Whether ``scores`` are better: by ``metric``, and where that ties, by log-loss."""
        return (metric.score(scores), -scores.log_loss) > (self.score, -self.log_loss)


@dataclass(slots=True)
class TrainingState:
    """What a training has come to, beside its learner."""

    best: Best | None = None
    images: int = 0
    """Image passes."""
    unlabeled: int = 0
    """Those among them of images without a label."""
    seconds: float = 0.0


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
    best = state.best
    assert best is not None
    document = {
        "key": key,
        "learner": learner.state_dict(),
        "best": [best.epoch, best.accuracy, best.log_loss, best.score],
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
    epoch, accuracy, log_loss, *score = document["best"]
    # Until other metrics chose the epoch, there was none but accuracy.
    best: Best | None = Best(epoch, accuracy, log_loss, score[0] if score else accuracy)
    if next(learner.model.parameters()).device.type != "cpu" and _best_epoch_at(model) != epoch:
        # A later epoch than the checkpoint's has left the model there. A CPU comes to the very same again; a
        # GPU may not, and the model must be that of the epoch that is named.
        best = None
    # Checkpoints from before unlabeled images were learned from don't count them.
    return TrainingState(best, document["passes"], document.get("unlabeled", 0), document["seconds"])


def _best_epoch_at(model: Path) -> int | None:
    """The epoch that the model at a path is from, by its card."""
    try:
        epoch: int = card_of(model)["training"]["best_epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return epoch
