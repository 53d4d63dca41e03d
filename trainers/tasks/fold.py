"""A fold's score: train a small network under a candidate's policy, look at validation images once."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.models.build import prepared
from augsearch.trainers.semi.labeler import Labeler, predict_in_memory
from augsearch.trainers.semi.learn import learn
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.system.devices import hardware, one_thread, precision_on, resolve_device
from augsearch.trainers.tasks.inputs import labeled, spec_for, unlabeled, weights_of
from augsearch.trainers.tasks.own_fold import evaluate_own
from augsearch.trainers.tasks.scored import mean_of, scored_in
from augsearch.trainers.tasks.teacher import Teacher, fold_teacher
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.training.recipe import Recipe, usual_label_smoothing
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace, open_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult


def evaluate(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
    """Train a proxy on ``fold`` under ``candidate`` and score it; the same on any worker.

    Raises:
        TrainingDivergedError: the loss became no number.
    """
    workspace = open_workspace(folder)
    if workspace.proxy.own is not None:
        return evaluate_own(workspace, candidate, fold)
    device = resolve_device(workspace.proxy.device)
    if not len(workspace.unlabeled):
        candidate = candidate.model_copy(update={"semi": None})
    with one_thread():
        teacher = fold_teacher(workspace, fold, device) if candidate.training.asks_teacher else None
        return _evaluate(workspace, candidate, fold, device, teacher)


def _evaluate(
    workspace: Workspace, candidate: Candidate, fold: Fold, device: torch.device, teacher: Teacher | None
) -> FoldResult:
    started = time.perf_counter()
    network = teacher.network if teacher else None
    model, passes = _trained(workspace, candidate, fold, device, network)
    if candidate.semi is not None and technique_of(candidate.semi).most_students:
        # One student: with as many as the final training has, a fold would cost several times as much.
        model, more = _trained(workspace, candidate, fold, device, network, labeled_by=model)
        passes += more
    images, labels = workspace.scored_images(fold)
    # On a CPU scores are those of float32: there are few images, and a study's are compared over years.
    precision = precision_on(device, model)
    scoring = torch.float32 if device.type == "cpu" else precision
    logits = predict(model, images, device, precision=scoring)
    return scored_in(
        workspace,
        fold,
        logits,
        labels,
        seconds=time.perf_counter() - started,
        images=passes,
        beside=None if workspace.target is None else _beside(workspace, model, fold, device, scoring),
        teacher_images=teacher.images if teacher else 0,
        teacher_seconds=teacher.seconds if teacher else 0.0,
        hardware=hardware(device, precision),
    )


def _beside(
    workspace: Workspace, model: nn.Module, fold: Fold, device: torch.device, precision: torch.dtype
) -> float:
    """The score on the data's own images, by the metric of the search."""
    own = workspace.scored_on(fold)
    logits = predict(model, workspace.data.images[own], device, precision=precision)
    return mean_of(logits, workspace.data.labels[own], workspace.proxy.metric)


def _trained(
    workspace: Workspace,
    candidate: Candidate,
    fold: Fold,
    device: torch.device,
    teacher: nn.Module | None,
    labeled_by: nn.Module | None = None,
) -> tuple[nn.Module, int]:
    """A network trained on ``fold``, and the image passes it took.

    In self-training it is the first teacher, or the student whose unlabeled images ``labeled_by`` labels.
    """
    proxy = workspace.proxy
    weights_seed, training_seed = fold.seeds(proxy.seed)
    if labeled_by is not None:
        seeds = np.random.SeedSequence([weights_seed, 1]).generate_state(2)
        weights_seed, training_seed = (int(seed) for seed in seeds)
    chosen = workspace.training_subset(fold)
    logits = None
    if teacher is not None and candidate.distillation and candidate.distillation.teacher_view == "clean":
        logits = predict(teacher, workspace.data.images[chosen], device)
    setup = TrainingSetup(
        labeled(workspace, chosen, logits),
        candidate.policy,
        Recipe(
            epochs=max(1, round(proxy.epochs * candidate.passes)),
            label_smoothing=usual_label_smoothing(candidate.semi),
        ),
        seed=training_seed,
        device=device,
        distillation=candidate.distillation,
        teacher=teacher,
        class_balance=candidate.class_balance,
        weights=weights_of(workspace.data, chosen),
    )
    spec = spec_for(workspace, proxy.model, proxy.weights, proxy.input_size)
    model, _ = prepared(spec, proxy.weights, weights_seed)
    learner = Learner.prepare(model, setup.recipe, candidate.transfer, device)
    pool = labeler = None
    technique = None if candidate.semi is None else technique_of(candidate.semi)
    if technique is not None and (labeled_by is not None or not technique.most_students):
        pool = Pool(unlabeled(workspace), technique, technique.policy or candidate.policy)
        labeler = Labeler(
            lambda model, _: predict_in_memory(model, workspace.unlabeled, device),
            class_shares(setup.data.labels, setup.data.num_classes),
        )
        if labeled_by is not None:
            technique.prepare_student(model)
            labeler.label(pool, labeled_by, "teacher")
    events = learn(learner, setup, pool, labeler)
    return model, sum(epoch.images for epoch in events if isinstance(epoch, EpochResult))
