"""What is kept of a final training after each epoch, so that a kill costs one at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augsearch.policies.atomic import whole_file
from augsearch.trainers.evaluation.metrics import Scores
from augsearch.trainers.training.learner import Learner


@dataclass(slots=True)
class Best:
    """The best epoch so far; its weights lie at the model's path."""

    epoch: int
    accuracy: float
    log_loss: float
    scores: Scores | None = None

    def beaten_by(self, scores: Scores) -> bool:
        """Whether ``scores`` are better: by accuracy, and where that ties, by log-loss."""
        return (scores.accuracy, -scores.log_loss) > (self.accuracy, -self.log_loss)


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
        "best": [best.epoch, best.accuracy, best.log_loss],
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
    best = Best(*document["best"])
    # Checkpoints from before unlabeled images were learned from don't count them.
    return TrainingState(best, document["passes"], document.get("unlabeled", 0), document["seconds"])
