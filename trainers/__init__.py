"""Data, models, losses and the one training loop.

Names are imported when they are first used: torch takes seconds, and a search's driver does without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augsearch.trainers.data.dataset import ImageData
    from augsearch.trainers.data.images import open_images
    from augsearch.trainers.data.splits import Splits, fold_subset, split
    from augsearch.trainers.data.unlabeled.dataset import Unlabeled, open_unlabeled
    from augsearch.trainers.data.views import LabeledImages
    from augsearch.trainers.evaluation.classifier import Classifier, Prediction
    from augsearch.trainers.evaluation.inference import predict
    from augsearch.trainers.evaluation.metrics import Scores, TrainingDivergedError, score
    from augsearch.trainers.models.build import build_model, design, prepared
    from augsearch.trainers.models.exporting import export_model
    from augsearch.trainers.models.saved import load_model, save_model
    from augsearch.trainers.models.spec import ModelSpec
    from augsearch.trainers.models.weights import Loaded, load_weights, read_weights
    from augsearch.trainers.semi.labeler import Labeler, Labeling
    from augsearch.trainers.semi.learn import learn
    from augsearch.trainers.semi.pool import Pool
    from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, test_final, train_final
    from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, SelectionSet, final_training_part
    from augsearch.trainers.tasks.fold import evaluate
    from augsearch.trainers.tasks.self_training import RoundDone, train_students
    from augsearch.trainers.tasks.teacher import Teacher, final_teacher, fold_teacher, load_teacher
    from augsearch.trainers.training.batch import Batch
    from augsearch.trainers.training.learner import Learner
    from augsearch.trainers.training.loop import EpochResult, train
    from augsearch.trainers.training.losses import distilled, supervised
    from augsearch.trainers.training.recipe import Recipe
    from augsearch.trainers.training.setup import TrainingSetup
    from augsearch.trainers.workspace.candidate import Candidate, ProxySettings
    from augsearch.trainers.workspace.folder import Workspace
    from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

_HOMES = {
    "data.dataset": ["ImageData"],
    "data.images": ["open_images"],
    "data.splits": ["Splits", "fold_subset", "split"],
    "data.unlabeled.dataset": ["Unlabeled", "open_unlabeled"],
    "data.views": ["LabeledImages"],
    "evaluation.classifier": ["Classifier", "Prediction"],
    "evaluation.inference": ["predict"],
    "evaluation.metrics": ["Scores", "TrainingDivergedError", "score"],
    "models.build": ["build_model", "design", "prepared"],
    "models.exporting": ["export_model"],
    "models.saved": ["load_model", "save_model"],
    "models.spec": ["ModelSpec"],
    "models.weights": ["Loaded", "load_weights", "read_weights"],
    "semi.learn": ["learn"],
    "semi.labeler": ["Labeler", "Labeling"],
    "semi.pool": ["Pool"],
    "tasks.final": ["FinalEpoch", "FinalModel", "test_final", "train_final"],
    "tasks.final_job": ["FinalJob", "FinalPlan", "SelectionSet", "final_training_part"],
    "tasks.fold": ["evaluate"],
    "tasks.self_training": ["RoundDone", "train_students"],
    "tasks.teacher": ["Teacher", "final_teacher", "fold_teacher", "load_teacher"],
    "training.batch": ["Batch"],
    "training.learner": ["Learner"],
    "training.loop": ["EpochResult", "train"],
    "training.losses": ["distilled", "supervised"],
    "training.recipe": ["Recipe"],
    "training.setup": ["TrainingSetup"],
    "workspace.candidate": ["Candidate", "ProxySettings"],
    "workspace.folder": ["Workspace"],
    "workspace.folds": ["Fold", "FoldResult", "Stage"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "Candidate",
    "Classifier",
    "EpochResult",
    "FinalEpoch",
    "FinalJob",
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
    "SelectionSet",
    "Splits",
    "Stage",
    "Teacher",
    "TrainingDivergedError",
    "TrainingSetup",
    "Unlabeled",
    "Workspace",
    "build_model",
    "design",
    "distilled",
    "evaluate",
    "export_model",
    "final_teacher",
    "final_training_part",
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
