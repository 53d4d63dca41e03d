"""What ``benchmarks.unlabeled`` trains: jobs that name all that decides their outcomes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, SerializeAsAny
from torch import nn

from augsearch.policies import Policy, Semi
from augsearch.trainers import LabeledImages, Learner, Recipe, design, predict, prepared, score
from augsearch.trainers.models.build import channel_statistics
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.labeler import Labeler, Labeling, predict_in_memory, rightly_labeled
from augsearch.trainers.semi.learn import learn
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.system.devices import resolve_device
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.training.setup import TrainingSetup
from benchmarks.comparisons import Outcome as Trained
from benchmarks.sampling import Indices, stratified
from benchmarks.unlabeled.data import Division, Pools, Stored


class Job(BaseModel):
    """One training, with all that decides its result; as JSON it is the result's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """A name for people, and a hash of the images and labels for everybody else."""
    division: Division
    """Into the pools."""
    images_per_class: int
    """Labels to learn from, drawn anew for every seed; the rest of the pool has none."""
    pool: Literal["final", "search"] = "final"
    """The part of the training images that they are drawn from."""
    tested_on: Literal["test", "validation"] = "test"
    network: str = "small"
    policy: Policy
    semi: SerializeAsAny[Semi] | None = None
    """None: on the labels only."""
    recipe: Recipe
    """With ``self-training`` for the teacher and for each student. Its precision is never ``auto``, which
    depends on the processor."""
    teacher_epochs: int | None = None
    """Epochs of the first teacher of ``self-training``; None: as many as a student's."""
    device: Literal["cpu", "cuda"] = "cpu"
    seed: int
    """Decides the labels drawn, the fresh weights, the order and the augmentation."""

    @property
    def key(self) -> str:
        """Equal for two jobs that would give the same."""
        return self.model_dump_json(exclude_none=True)


class Outcome(Trained):
    """What came of a job. Its passes are of all images that were trained on, forward and backward."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    looked_at: int
    """Images that only went forward: the weak views of ``fixmatch``, and every labeling."""
    used: float | None = None
    """The share of the unlabeled images that were learned from, 0 to 1: by the last labeling, or of
    ``fixmatch`` in the last epoch."""
    pseudo_accuracy: float | None = None
    """The share of these labeled rightly, 0 to 1; of ``fixmatch`` by the clean images, at the end."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The images of one job."""

    labeled: LabeledImages
    unlabeled: LabeledImages
    """Its labels are for the report alone."""

    @classmethod
    def of(cls, job: Job, pools: Pools) -> Drawn:
        """As many labels of each class as the job says, by its seed; the rest of the pool without any."""
        chosen, others = drawn(job, pools)
        images, labels, classes = pools.images, pools.labels, pools.num_classes
        return cls(
            LabeledImages(images[chosen], labels[chosen], classes),
            LabeledImages(images[others], labels[others], classes),
        )


def drawn(job: Job, pools: Pools) -> tuple[Indices, Indices]:
    """The images of the job's pool with a label, and those without.

    Raises:
        UserError: a class has too few.
    """
    pool = pools.rows[job.pool]
    rng = np.random.default_rng([job.seed, job.images_per_class])
    chosen = stratified(pool, pools.labels, job.images_per_class, rng)
    return chosen, np.setdiff1d(pool, chosen)


@dataclass
class _Counts:
    """What a training took."""

    passes: int = 0
    looked_at: int = 0
    used: float | None = None
    pseudo_accuracy: float | None = None

    def add(self, event: EpochResult | Labeling) -> None:
        """Count one more."""
        if isinstance(event, EpochResult):
            self.passes += event.images
            self.looked_at += event.weak_views
            if event.weak_views:
                self.used = event.used
        else:
            self.looked_at += len(event.labels)
            self.used = len(event.chosen) / len(event.labels)
            self.pseudo_accuracy = event.accuracy


@dataclass(eq=False)
class Training:
    """One job at work."""

    job: Job
    data: Drawn
    counts: _Counts = field(default_factory=_Counts)

    @cached_property
    def device(self) -> torch.device:
        """Where to compute."""
        return resolve_device(self.job.device)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """(K,): of the classes among the labels."""
        return class_shares(self.data.labeled.labels, self.data.labeled.num_classes)

    @cached_property
    def labeler(self) -> Labeler:
        """Labels all unlabeled images."""
        unlabeled = self.data.unlabeled
        return Labeler(
            lambda model, _: predict_in_memory(model, unlabeled.images, self.device),
            self.shares,
            unlabeled.labels,
        )

    def pool(self, semi: Semi) -> Pool:
        """The unlabeled images, none of them labeled yet."""
        return Pool(self.data.unlabeled, technique_of(semi), semi.policy or self.job.policy)

    def run(self) -> nn.Module:
        """The trained model: of ``self-training`` the last student."""
        semi = self.job.semi
        if semi is None:
            return self._learned(0)
        students = technique_of(semi).most_students
        if not students:
            return self._learned(0, self.pool(semi))
        model = self._learned(0)
        for student in range(1, students + 1):
            pool = self.pool(semi)
            self.counts.add(self.labeler.label(pool, model, f"student {student - 1}"))
            model = self._learned(student, pool)
        return model

    def _learned(self, student: int, pool: Pool | None = None) -> nn.Module:
        """Fresh weights, trained; ``student`` 0 is whoever learns first."""
        job, labeled = self.job, self.data.labeled
        weights_seed, training_seed = seeds(job.seed, student)
        spec = design(
            job.network,
            channels=labeled.images.shape[-1],
            image_size=labeled.images.shape[1],
            classes=tuple(map(str, range(labeled.num_classes))),
            statistics=channel_statistics(labeled.images),
        )
        model, _ = prepared(spec, "none", weights_seed)
        recipe = job.recipe
        if not student and job.teacher_epochs:
            recipe = recipe.model_copy(update={"epochs": job.teacher_epochs})
        learner = Learner.prepare(model, recipe, None, self.device)
        if student and job.semi:
            technique_of(job.semi).prepare_student(model)
        for event in learn(
            learner,
            TrainingSetup(labeled, job.policy, recipe, seed=training_seed, device=self.device),
            pool=pool,
            labeler=self.labeler,
        ):
            self.counts.add(event)
        return learner.best

    def pseudo_label_accuracy(self, model: nn.Module, threshold: float) -> float | None:
        """The share of the clean images that ``model`` labels rightly, among those of which it is sure."""
        unlabeled = self.data.unlabeled
        _, predictions = predict_in_memory(model, unlabeled.images, self.device)
        sure = np.flatnonzero(predictions.confidence >= threshold)
        return rightly_labeled(predictions.hard[sure], unlabeled.labels, sure)


def seeds(seed: int, student: int) -> tuple[int, int]:
    """Seeds of the fresh weights and of the training; the first model's are alike in all rows of a seed."""
    if not student:
        return seed, seed
    weights, training = np.random.SeedSequence([seed, student]).generate_state(2).tolist()
    return weights, training


def train_job(job: Job, stored: Stored) -> Outcome:
    """Train, then test once: the model as it is at the end."""
    pools = stored.pools(job.division)
    training = Training(job, Drawn.of(job, pools))
    start, cpu_start = time.perf_counter(), time.process_time()
    model = training.run()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    counts, on = training.counts, pools.rows[job.tested_on]
    if isinstance(job.semi, FixMatch):
        counts.pseudo_accuracy = training.pseudo_label_accuracy(model, job.semi.threshold)
    scores = score(predict(model, pools.images[on], training.device), pools.labels[on])
    return Outcome(
        accuracy=scores.accuracy,
        log_loss=round(scores.log_loss, 5),
        tested=len(on),
        passes=counts.passes,
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        looked_at=counts.looked_at,
        used=None if counts.used is None else round(counts.used, 5),
        pseudo_accuracy=None if counts.pseudo_accuracy is None else round(counts.pseudo_accuracy, 5),
    )


def describe(job: Job, outcome: Outcome) -> str:
    """One line for a person."""
    return (
        f"{job.data.split()[0]}, {job.images_per_class} per class, {job.pool}, seed {job.seed}: "
        f"{job.semi.technique if job.semi else 'labels only'}, {job.recipe.epochs} epochs: "
        f"{100 * outcome.accuracy:.2f} %, {outcome.passes:,} passes, {outcome.seconds:.0f} s"
    )
