"""One training of ``benchmarks.carry_over``: a fold as the search trains it, or a final model."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import replace
from functools import lru_cache

import numpy as np

from augsearch.policies import PolicyFile, Training, Transfer
from augsearch.trainers import (
    Candidate,
    FinalPlan,
    ImageData,
    ProxySettings,
    Recipe,
    Splits,
    split,
)
from augsearch.trainers.models.names import is_built_in
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage
from benchmarks.carry_over.plans import Job, Way
from benchmarks.comparisons import Outcome
from benchmarks.finals import Place, figures, final_scored
from benchmarks.sampling import POOL_SEED, stratified

SIDE = 64
"""Pixels of the images by which a data set is divided and told."""


@lru_cache(maxsize=2)
def parts(place: Place, labels: int) -> Splits:
    """The parts, with no more than ``labels`` images of each class to learn from."""
    data = place.images(SIDE)
    whole = split(data.labels, data.given, classes=data.classes, seed=0)
    drawn = stratified(whole.train, data.labels, labels, np.random.default_rng(POOL_SEED), fewer=True)
    return replace(whole, train=drawn)


def train_job(job: Job, place: Place) -> Outcome:
    """Train and score on images that the training has not seen; see ``_fold`` and ``_final``."""
    name = hashlib.sha256(job.key.encode()).hexdigest()[:16]
    folder = place.work / "trainings" / name
    data, splits = place.images(job.way.side), parts(place, job.labels)
    workspace = write_workspace(folder, data, splits, _proxy(job.way, len(splits.train)))
    began = time.process_time()
    result = _final(job, workspace, data, splits) if job.way.is_final else _fold(job, workspace)
    shutil.rmtree(folder)
    return Outcome(**figures(result, began))


def _proxy(way: Way, images: int) -> ProxySettings:
    hub = not is_built_in(way.model)
    return ProxySettings(
        model=way.model,
        weights="hub" if hub else "none",
        input_size=way.side if hub else None,
        epochs=way.epochs,
        fold_size=round(way.share * images),
        seed=0,
        device="cpu",
    )


def _transfer(way: Way) -> Transfer | None:
    return None if is_built_in(way.model) else Transfer(mode="full")


def _fold(job: Job, workspace: Workspace) -> FoldResult:
    """A fold, scored on the validation images, as a search does it."""
    candidate = Candidate(policy=job.policy, transfer=_transfer(job.way))
    return evaluate(workspace.folder, candidate, Fold(Stage.SEARCH, job.number))


def _final(job: Job, workspace: Workspace, data: ImageData, splits: Splits) -> FoldResult:
    """A final model."""
    way = job.way
    plan = FinalPlan(
        model=way.model,
        weights=workspace.proxy.weights,
        input_size=workspace.proxy.input_size,
        recipe=Recipe(epochs=way.epochs, precision="float32"),
    )
    file = PolicyFile(policy=job.policy, training=Training(transfer=_transfer(way)))
    return final_scored(workspace, data, splits, file, plan, 1000 * job.number)


def describe(job: Job, outcome: Outcome) -> str:
    """One line for a person."""
    from augsearch.search.space.describe import describe as in_words

    words = in_words(Candidate(policy=job.policy))
    return (
        f"{job.data.split()[0]}, {job.way.name} {job.number}: {words}: {100 * outcome.accuracy:.1f} %, "
        f"{outcome.passes:,} passes, {outcome.cpu_seconds:.0f} s of a core"
    )
