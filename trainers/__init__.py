"""Data, models, losses and the one training loop.

Names are imported when they are first used: torch takes seconds, and a search's driver does without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augsearch.trainers.batches import LabeledImages
    from augsearch.trainers.classifier import Classifier, Prediction
    from augsearch.trainers.exporting import export_model
    from augsearch.trainers.final import FinalEpoch, FinalModel, FinalPlan, test_final, train_final
    from augsearch.trainers.folds import Candidate, Fold, FoldResult, ProxySettings, Stage, Workspace
    from augsearch.trainers.images import ImageData, open_images
    from augsearch.trainers.learner import Learner
    from augsearch.trainers.loop import EpochResult, train
    from augsearch.trainers.losses import Batch, distilled, supervised
    from augsearch.trainers.models import ModelSpec, build_model, design, load_model, prepared, save_model
    from augsearch.trainers.proxy import evaluate
    from augsearch.trainers.recipe import Recipe
    from augsearch.trainers.rounds import Labeler, Labeling, learn
    from augsearch.trainers.scores import Scores, TrainingDivergedError, predict, score
    from augsearch.trainers.semi import Pool
    from augsearch.trainers.splits import Splits, fold_subset, split
    from augsearch.trainers.students import RoundDone, train_students
    from augsearch.trainers.teachers import Teacher, final_teacher, fold_teacher, load_teacher
    from augsearch.trainers.unlabeled import Unlabeled, open_unlabeled
    from augsearch.trainers.weights import Loaded, load_weights, read_weights

_HOMES = {
    "batches": ["LabeledImages"],
    "classifier": ["Classifier", "Prediction"],
    "exporting": ["export_model"],
    "final": ["FinalEpoch", "FinalModel", "FinalPlan", "test_final", "train_final"],
    "folds": ["Candidate", "Fold", "FoldResult", "ProxySettings", "Stage", "Workspace"],
    "images": ["ImageData", "open_images"],
    "learner": ["Learner"],
    "loop": ["EpochResult", "train"],
    "losses": ["Batch", "distilled", "supervised"],
    "models": ["ModelSpec", "build_model", "design", "load_model", "prepared", "save_model"],
    "proxy": ["evaluate"],
    "recipe": ["Recipe"],
    "rounds": ["Labeler", "Labeling", "learn"],
    "scores": ["Scores", "TrainingDivergedError", "predict", "score"],
    "semi": ["Pool"],
    "splits": ["Splits", "fold_subset", "split"],
    "students": ["RoundDone", "train_students"],
    "teachers": ["Teacher", "final_teacher", "fold_teacher", "load_teacher"],
    "unlabeled": ["Unlabeled", "open_unlabeled"],
    "weights": ["Loaded", "load_weights", "read_weights"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "Candidate",
    "Classifier",
    "EpochResult",
    "FinalEpoch",
    "FinalModel",
    "FinalPlan",
    "Fold",
    "FoldResult",
    "ImageData",
    "LabeledImages",
    "Labeler",
    "Labeling",
    "Learner",
    "Loaded",
    "ModelSpec",
    "Pool",
    "Prediction",
    "ProxySettings",
    "Recipe",
    "RoundDone",
    "Scores",
    "Splits",
    "Stage",
    "Teacher",
    "TrainingDivergedError",
    "Unlabeled",
    "Workspace",
    "build_model",
    "design",
    "distilled",
    "evaluate",
    "export_model",
    "final_teacher",
    "fold_subset",
    "fold_teacher",
    "learn",
    "load_model",
    "load_teacher",
    "load_weights",
    "open_images",
    "open_unlabeled",
    "predict",
    "prepared",
    "read_weights",
    "save_model",
    "score",
    "split",
    "supervised",
    "test_final",
    "train",
    "train_final",
    "train_students",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
