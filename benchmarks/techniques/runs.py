"""What ``benchmarks.techniques`` trains: data sets, and jobs that name all that decides their outcomes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from augsearch.policies import Distillation, Policy, Transfer, UserError
from augsearch.trainers import (
    LabeledImages,
    Learner,
    ModelSpec,
    Recipe,
    design,
    load_model,
    predict,
    prepared,
    save_model,
    score,
    train,
)
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.sources.folders import read_folder
from augsearch.trainers.models.build import channel_statistics
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.training.setup import TrainingSetup
from benchmarks.comparisons import Outcome
from benchmarks.progress import Progress
from benchmarks.sampling import POOL_SEED, Indices, stratified

CPU = torch.device("cpu")


class Job(BaseModel):
    """One training, with all that decides its result; as JSON it is the result's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """A name for people, and a hash of the pixels for everybody else."""
    images_per_class: int
    """Labels to learn from, drawn anew for every seed."""
    pool: Literal["final", "search"] = "final"
    """The part of the training images that they are drawn from."""
    tested_on: Literal["test", "validation"] = "test"
    """The validation images are of the search's pool."""
    network: str
    weights: str = "none"
    """A hash of the file."""
    epochs: int
    precision: Literal["float32", "bfloat16"] = "float32"
    """Never ``auto``, which depends on the processor."""
    policy: Policy
    transfer: Transfer | None = None
    distillation: Distillation | None = None
    teacher: Job | None = None
    """Trained on the same images."""
    ema: float | None = None
    """Decay of a moving average of the weights, which is what is tested."""
    seed: int
    """Decides the labels drawn, the fresh weights, the order and the augmentation."""

    @property
    def key(self) -> str:
        """Equal for two jobs that would give the same."""
        return self.model_dump_json(exclude_none=True)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in memory, divided."""

    name: str
    images: NDArray[np.uint8]
    """(N, S, S, 3), RGB."""
    labels: Indices
    classes: tuple[str, ...]
    pools: dict[str, Indices]
    """Where to draw labels (``final``, ``search``), and what to test on (``test``, ``validation``)."""

    def drawn(self, job: Job) -> Indices:
        """As many images of each class as the job says, by its seed."""
        rng = np.random.default_rng([job.seed, job.images_per_class])
        return stratified(self.pools[job.pool], self.labels, job.images_per_class, rng)


def outcome_of(learner: Learner, epochs: Iterator[EpochResult], data: Data, on: Indices) -> Outcome:
    """What a training comes to on the images ``on``, and what it costs; it is trained by this."""
    start, cpu_start = time.perf_counter(), time.process_time()
    passes = sum(epoch.images for epoch in epochs)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    scores = score(predict(learner.best, data.images[on], CPU, 64), data.labels[on])
    return Outcome(
        accuracy=scores.accuracy,
        log_loss=round(scores.log_loss, 5),
        tested=len(on),
        passes=passes,
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
    )


def read_data(name: str, folder: Path, side: int, tested: int, of_search: tuple[int, int] = (0, 0)) -> Data:
    """The data set below ``folder``: ``train/`` to learn from, ``test/`` or ``val/`` to test on.

    Args:
        name: for people.
        folder: its images.
        side: in pixels, to which they are scaled.
        tested: images of each class to test on; of fewer, all.
        of_search: images of each class set aside for a search, to train and to validate on.

    Raises:
        UserError: there are no such images, or too few of them.
    """
    source = read_folder(folder)
    samples = [sample for sample in source.samples(side) if sample.pixels is not None]
    shape = (side, side, 3)
    images = np.stack([np.broadcast_to(one.pixels, shape) for one in samples if one.pixels is not None])
    labels = np.array([sample.label for sample in samples], dtype=np.int64)
    parts = np.array([sample.split for sample in samples])
    trained, held = (
        np.flatnonzero(np.isin(parts, kinds)) for kinds in ([Split.TRAIN], [Split.VALIDATION, Split.TEST])
    )
    if not len(trained) or not len(held):
        raise UserError(f"{folder}: needs train/ and one of val/ and test/")
    rng = np.random.default_rng(POOL_SEED)
    pools = {"test": stratified(held, labels, tested, rng, fewer=True)}
    for pool, count in zip(("search", "validation"), of_search, strict=True):
        pools[pool] = stratified(trained, labels, count, rng)
        trained = np.setdiff1d(trained, pools[pool])
    pools["final"] = trained
    fingerprint = hashlib.sha256(images.data).hexdigest()[:12]
    return Data(f"{name} {fingerprint}", images, labels, source.classes, pools)


@dataclass(eq=False)
class Trainer:
    """Trains jobs, and keeps the teachers that students of one seed share."""

    data: Data
    weights: Path | None
    """The file that a job's ``weights`` is the hash of."""
    models: Path
    """Folder for teachers."""
    progress: Progress
    known: dict[str, Outcome] = field(default_factory=dict)
    """Results by key, of this call and of earlier ones."""
    keep: Callable[[Job, Outcome], None] = lambda job, outcome: None
    """Is given every new result at once."""

    def result(self, job: Job) -> Outcome:
        """The outcome of ``job``, trained now if it is not known."""
        if job.key not in self.known:
            self._train(job)
        return self.known[job.key]

    def teacher(self, job: Job) -> nn.Module:
        """The trained model of ``job``, in evaluation mode."""
        path = self._file(job)
        if not path.exists():
            self._train(job)
        return load_model(path)[0]

    def _train(self, job: Job) -> None:
        teacher = self.teacher(job.teacher) if job.teacher else None
        chosen = self.data.drawn(job)
        images, labels = self.data.images[chosen], self.data.labels[chosen]
        spec = spec_of(job, images, self.data.classes)
        model, _ = prepared(spec, "none" if job.weights == "none" else str(self.weights), job.seed)
        recipe = Recipe(epochs=job.epochs, precision=job.precision, ema=job.ema)
        learner = Learner.prepare(model, recipe, job.transfer, CPU)
        logits = (
            predict(teacher, images, CPU)
            if teacher and job.distillation and job.distillation.teacher_view == "clean"
            else None
        )
        epochs = train(
            learner,
            TrainingSetup(
                LabeledImages(images, labels, len(self.data.classes), logits),
                job.policy,
                recipe,
                seed=job.seed,
                device=CPU,
                distillation=job.distillation,
                teacher=teacher,
            ),
        )
        outcome = outcome_of(learner, epochs, self.data, self.data.pools[job.tested_on])
        if job.teacher is None and job.transfer is None and job.distillation is None:
            save_model(learner.best, spec, self._file(job), {})
        self.known[job.key] = outcome
        self.keep(job, outcome)
        self.progress(
            f"{self.data.name}, {job.images_per_class} per class, seed {job.seed}: {described(job)}: "
            f"{100 * outcome.accuracy:.2f} %, log-loss {outcome.log_loss:.3f}, {outcome.seconds:.0f} s"
        )

    def _file(self, job: Job) -> Path:
        return self.models / f"{hashlib.sha256(job.key.encode()).hexdigest()[:16]}.safetensors"


def spec_of(job: Job, images: NDArray[np.uint8], classes: tuple[str, ...]) -> ModelSpec:
    """The job's network; a hub's works at the images' own size, with the normalisation of its weights."""
    spec = design(
        job.network,
        channels=3,
        image_size=images.shape[1],
        classes=classes,
        statistics=channel_statistics(images),
        weights=job.weights,
        input_size=images.shape[1],
    )
    if job.network.startswith("timm:tf_"):
        spec = spec.model_copy(update={"mean": (127.0,) * 3, "std": (128.0,) * 3})
    return spec


def described(job: Job) -> str:
    """One line for a person."""
    words = [job.network, f"{job.epochs} epochs"]
    if job.transfer:
        words.append(job.transfer.mode)
    if job.ema:
        words.append(f"EMA {job.ema:g}")
    if job.distillation:
        one = job.distillation
        words.append(f"T = {one.temperature:.3g}, α = {one.alpha:.2f}, {one.teacher_view} view")
    return ", ".join(words)


def hash_of(file: Path) -> str:
    """A hash of the file's bytes.

    Raises:
        UserError: it can't be read.
    """
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()[:12]
    except OSError as error:
        raise UserError(f"weights {file}: {(error.strerror or str(error)).lower()}") from None
