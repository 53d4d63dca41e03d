"""Data, models, losses and the one training loop.

Names are imported when they are first used: torch takes seconds, and a search's driver does without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augsearch.trainers.final import FinalEpoch, FinalModel, test_final, train_final
    from augsearch.trainers.folds import Candidate, Fold, FoldResult, ProxySettings, Stage, Workspace
    from augsearch.trainers.images import ImageData, open_images
    from augsearch.trainers.loop import EpochResult, LabeledImages, Recipe, train
    from augsearch.trainers.losses import Batch, distilled, supervised
    from augsearch.trainers.models import ModelSpec, build_model, load_model, save_model
    from augsearch.trainers.proxy import evaluate, prepare_teacher
    from augsearch.trainers.scores import Scores, TrainingDivergedError, predict, score
    from augsearch.trainers.splits import Splits, fold_subset, split

_HOMES = {
    "final": ["FinalEpoch", "FinalModel", "test_final", "train_final"],
    "folds": ["Candidate", "Fold", "FoldResult", "ProxySettings", "Stage", "Workspace"],
    "images": ["ImageData", "open_images"],
    "loop": ["EpochResult", "LabeledImages", "Recipe", "train"],
    "losses": ["Batch", "distilled", "supervised"],
    "models": ["ModelSpec", "build_model", "load_model", "save_model"],
    "proxy": ["evaluate", "prepare_teacher"],
    "scores": ["Scores", "TrainingDivergedError", "predict", "score"],
    "splits": ["Splits", "fold_subset", "split"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "Candidate",
    "EpochResult",
    "FinalEpoch",
    "FinalModel",
    "Fold",
    "FoldResult",
    "ImageData",
    "LabeledImages",
    "ModelSpec",
    "ProxySettings",
    "Recipe",
    "Scores",
    "Splits",
    "Stage",
    "TrainingDivergedError",
    "Workspace",
    "build_model",
    "distilled",
    "evaluate",
    "fold_subset",
    "load_model",
    "open_images",
    "predict",
    "prepare_teacher",
    "save_model",
    "score",
    "split",
    "supervised",
    "test_final",
    "train",
    "train_final",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
