"""One training of ``benchmarks.imbalance``."""

from __future__ import annotations

import hashlib
import shutil
import time

import numpy as np

from augsearch.policies import PolicyFile, Training, Transfer
from augsearch.trainers import FinalPlan, ProxySettings, Recipe, Splits, split
from augsearch.trainers.models.names import is_built_in
from augsearch.trainers.workspace.folder import write_workspace
from benchmarks.comparisons import Outcome as AnyOutcome
from benchmarks.finals import Place, figures, final_scored
from benchmarks.imbalance.plans import NONE, Job

METRIC = "macro-f1"


class Outcome(AnyOutcome):
    """What came of a job, classes counting alike."""

    macro_f1: float
    """The mean of the classes' F1, 0 to 1."""
    balanced_accuracy: float
    """The mean of the classes' recalls, 0 to 1."""


def parts(place: Place, side: int) -> Splits:
    """As ``augsearch run`` divides them by default, with seed 0."""
    data = place.images(side)
    return split(data.labels, data.given, classes=data.classes, seed=0)


def divided(place: Place, side: int) -> str:
    """How many classes there are, and how unequal they are."""
    data = place.images(side)
    of_each = np.bincount(data.labels[parts(place, side).train])
    return (
        f"{len(of_each)} classes of {min(of_each)} to {max(of_each)} images, {sum(of_each):,} to learn from."
    )


def train_job(job: Job, place: Place) -> Outcome:
    """Train and score on images that the training has not seen."""
    name = hashlib.sha256(job.key.encode()).hexdigest()[:16]
    data, splits = place.images(job.side), parts(place, job.side)
    weights = "none" if is_built_in(job.model) else "hub"
    size = None if weights == "none" else job.side
    proxy = ProxySettings(
        model=job.model,
        weights=weights,
        input_size=size,
        epochs=1,
        fold_size=len(splits.train),
        seed=0,
        device="cpu",
    )
    workspace = write_workspace(place.work / "trainings" / name, data, splits, proxy)
    plan = FinalPlan(
        model=job.model,
        weights=weights,
        input_size=size,
        recipe=Recipe(epochs=job.epochs, precision="float32"),
        metric=METRIC,
    )
    training = Training.model_validate(
        {
            "transfer": None if weights == "none" else Transfer(mode="full"),
            "class_balance": None if job.balance == NONE else job.balance,
        }
    )
    began = time.process_time()
    file = PolicyFile(policy=job.policy, training=training)
    result = final_scored(workspace, data, splits, file, plan, 1000 * job.seed)
    shutil.rmtree(workspace.folder)
    return Outcome(
        **figures(result, began),
        macro_f1=result.macro_f1,
        balanced_accuracy=result.balanced_accuracy,
    )


def describe(job: Job, outcome: Outcome) -> str:
    """One line for a person."""
    return (
        f"{job.data.split()[0]}, {job.balance}, seed {job.seed}: macro-F1 {100 * outcome.macro_f1:.1f} %, "
        f"accuracy {100 * outcome.accuracy:.1f} %, {outcome.cpu_seconds:.0f} s of a core"
    )
