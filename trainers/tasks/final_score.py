"""A final model's score on held-out images that are not the test part."""

from __future__ import annotations

import numpy as np

from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.system.devices import one_thread, resolve_device
from augsearch.trainers.tasks.final import FinalModel, model_of, train_final
from augsearch.trainers.tasks.final_job import FinalJob, SelectionSet
from augsearch.trainers.tasks.scored import scored
from augsearch.trainers.tasks.self_training import train_students
from augsearch.trainers.workspace.folder import Workspace, open_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage


def train_and_score(job: FinalJob, held_out: SelectionSet, metric: str) -> FoldResult:
    """Train as ``job`` says, in one thread, and score its best epoch on ``held_out`` by ``metric``.

    A training that was stopped goes on after its last epoch, as ``train_final`` does. The model stays at the
    path of ``job``. The test part is not touched.

    Raises:
        TrainingDivergedError: the loss became no number.
        UserError: as for ``train_final``.
    """
    workspace = open_workspace(job.workspace)
    device = resolve_device(workspace.proxy.device)
    with one_thread():
        final = _trained(job)
        model, _ = load_model(final.path)
        with pillow_without_warnings():
            logits = predict(model.to(device), held_out.pixels.clean(held_out.rows), device)
    told = {"seconds": final.seconds, "images": final.images, "teacher_images": final.teacher_images}
    return scored(logits, held_out.labels, metric, groups=_groups(workspace, held_out), **told)


def _groups(workspace: Workspace, held_out: SelectionSet) -> Indices | None:
    """The groups of the images, (N,), where they are the confirmation's; None: there are none, or unknown."""
    fold = Fold(Stage.CONFIRMATION, 0)
    same = np.array_equal(workspace.scored_labels(fold), held_out.labels)
    return workspace.scored_groups(fold) if same else None


def _trained(job: FinalJob) -> FinalModel:
    technique = job.technique
    train = train_students if technique is not None and technique.most_students else train_final
    return model_of(train(job))
