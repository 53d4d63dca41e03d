"""A fold's score: train a small network under a candidate's policy, look at validation images once."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from augsearch.trainers.devices import one_thread, resolve_device
from augsearch.trainers.folds import Candidate, Fold, FoldResult, Workspace, open_workspace
from augsearch.trainers.inputs import labeled, spec_for
from augsearch.trainers.learner import Learner
from augsearch.trainers.loop import train
from augsearch.trainers.models import prepared
from augsearch.trainers.recipe import Recipe
from augsearch.trainers.scores import predict, score
from augsearch.trainers.teachers import listened_to


def evaluate(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
    """Train a proxy on ``fold`` under ``candidate`` and score it; the same on any worker.

    Raises:
        TrainingDivergedError: the loss became no number.
    """
    started = time.perf_counter()
    workspace = open_workspace(folder)
    device = resolve_device(workspace.proxy.device)
    with one_thread():
        return _evaluate(workspace, candidate, fold, device, started)


def _evaluate(
    workspace: Workspace, candidate: Candidate, fold: Fold, device: torch.device, started: float
) -> FoldResult:
    proxy = workspace.proxy
    weights_seed, training_seed = fold.seeds(proxy.seed)
    chosen = workspace.training_subset(fold)
    teacher, logits = listened_to(workspace, candidate.distillation, device)
    data = labeled(workspace, chosen, None if logits is None else logits[chosen])
    spec = spec_for(workspace, proxy.model, proxy.weights, proxy.input_size)
    model, _ = prepared(spec, proxy.weights, weights_seed)
    recipe = Recipe(epochs=proxy.epochs)
    learner = Learner.prepare(model, recipe, candidate.transfer, device)
    images = sum(
        epoch.images
        for epoch in train(
            learner,
            data,
            candidate.policy,
            recipe,
            seed=training_seed,
            device=device,
            distillation=candidate.distillation,
            teacher=teacher,
        )
    )
    scored = workspace.scored_on(fold.stage)
    scores = score(predict(model, workspace.data.images[scored], device), workspace.data.labels[scored])
    return FoldResult(
        accuracy=scores.accuracy,
        log_loss=scores.log_loss,
        ece=scores.ece,
        seconds=time.perf_counter() - started,
        images=images,
        correct=scores.correct,
    )
