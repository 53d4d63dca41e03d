"""What is kept of a final training after each epoch, so that a kill costs one at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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
        """More right, and where that ties, surer of it."""
        return (scores.accuracy, -scores.log_loss) > (self.accuracy, -self.log_loss)


@dataclass(slots=True)
class Standing:
    """What a training has come to, beside its learner."""

    best: Best | None = None
    images: int = 0
    """Image passes."""
    unlabeled: int = 0
    """Of these, those of images without a label."""
    seconds: float = 0.0


def keep(checkpoint: Path, key: str, learner: Learner, standing: Standing) -> None:
    """Write where the training called ``key`` stands after an epoch."""
    best = standing.best
    assert best is not None
    document = {
        "key": key,
        "learner": learner.state_dict(),
        "best": [best.epoch, best.accuracy, best.log_loss],
        "passes": standing.images,
        "unlabeled": standing.unlabeled,
        "seconds": standing.seconds,
        "threads": torch.get_num_threads(),
    }
    temporary = checkpoint.with_name(f"{checkpoint.name}.part")
    torch.save(document, temporary)
    temporary.replace(checkpoint)


def take_up(checkpoint: Path, key: str, learner: Learner, model: Path) -> Standing:
    """Bring ``learner`` to where a checkpoint of the very same training left it.

    Returns:
        How far it had come; nowhere without such a checkpoint, or without the best ``model`` until then.
    """
    try:
        document: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        same = document["key"] == key and model.exists()
    except Exception:  # There is none, or of a damaged one torch raises anything.
        return Standing()
    if not same:
        return Standing()
    learner.load_state_dict(document["learner"])
    if learner.parallel is None:
        torch.set_num_threads(document["threads"])  # sums over others come out differently
    best = Best(*document["best"])
    # Checkpoints from before unlabeled images were learned from don't count them.
    return Standing(best, document["passes"], document.get("unlabeled", 0), document["seconds"])
