"""What is kept of a final training after each epoch, so that a kill costs one at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augsearch.policies.atomic import whole_file
from augsearch.trainers.evaluation.metrics import Metric, Scores
from augsearch.trainers.training.learner import Learner


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
    best = Best(epoch, accuracy, log_loss, score[0] if score else accuracy)
    # Checkpoints from before unlabeled images were learned from don't count them.
    return TrainingState(best, document["passes"], document.get("unlabeled", 0), document["seconds"])
