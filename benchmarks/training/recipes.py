"""The contestants of ``benchmarks.training``: augsearch's loop, and the recipe that everybody writes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2

from augsearch.policies import Policy
from augsearch.trainers import LabeledImages, Learner, ModelSpec, Recipe, build_model, train
from augsearch.trainers.training.setup import TrainingSetup

NUM_OPS, MAGNITUDE = 2, 9
SMOOTHING = 0.1
READY = 16
"""Batches that lie ready for the steps alone; as floats they fill a good part of a processor's cache."""

Precision = Literal["float32", "bfloat16"]
Batches = Iterable[tuple[Tensor, Tensor]]
"""Images and labels (B,), or the labels as probabilities (B, K)."""


@dataclass(frozen=True, eq=False)
class Job:
    """What every contestant does: the same network on the same images, so many epochs."""

    images: NDArray[np.uint8]
    """(N, H, W, 3), RGB."""
    labels: NDArray[np.int64]
    """(N,)."""
    spec: ModelSpec
    batch_size: int
    epochs: int
    device: torch.device

    @property
    def steps(self) -> int:
        """Steps of an epoch; the images that fill no batch are left out."""
        return len(self.labels) // self.batch_size

    @property
    def trained(self) -> int:
        """Images of an epoch."""
        return self.steps * self.batch_size


@dataclass(frozen=True)
class Family:
    """Trainings that do the same work, and differ in their settings alone."""

    ours: bool
    precision: Precision
    optimizers: Literal["ours", "SGD"] = "ours"


@dataclass(frozen=True)
class Setting:
    """What anybody would try, to make a training faster."""

    threads: int
    """torch's, for every operation."""
    workers: int
    """Processes of the recipe's ``DataLoader``; threads of ours that make batches ahead."""
    form: Literal["PIL images", "tensors", "arrays"]
    """What is augmented."""

    def __str__(self) -> str:
        workers = "thread" if self.form == "arrays" else "worker"
        return (
            f"{self.form}, {_counted(self.workers, workers)} for data, {_counted(self.threads, 'thread')} "
            "for torch"
        )


@dataclass(frozen=True, eq=False)
class Training:
    """A training under way."""

    model: nn.Module
    optimizers: list[Optimizer]
    epochs: Iterator[float | None]
    """Trains an epoch each time; gives the seconds without a batch, as far as the training tells."""
    ready: Sequence[tuple[Tensor, Tensor]]
    """Some of its batches, on the device."""


@dataclass(frozen=True)
class Epoch:
    """One epoch, timed from outside."""

    rate: float
    """Images per second."""
    outside: float
    """The share of the time between an optimizer's step and the next forward pass; of the host, on a GPU."""
    waiting: float | None
    """The same as the training itself tells it, if it does."""
    rate_of_steps: float
    """Images per second with batches that lie ready: forward, backward and step alone."""


class Contestant:
    """A family with a setting, ready to train one epoch after the other."""

    def __init__(self, job: Job, family: Family, setting: Setting) -> None:
        self.job, self.family, self.setting = job, family, setting
        self.training = (our_training if family.ours else plain_training)(job, family, setting)

    def epoch(self) -> Epoch:
        """Train an epoch, then as many steps on batches that lie ready."""
        job, training = self.job, self.training
        with outside(training.model, training.optimizers[-1]) as seconds_outside:
            seconds, waiting = self._train()
        batches = islice(cycle(training.ready), job.steps)
        start = self._now()
        steps(training.model, training.optimizers, batches, self.family.precision, job.device)
        return Epoch(
            rate=job.trained / seconds,
            outside=sum(seconds_outside) / seconds,
            waiting=None if waiting is None else waiting / seconds,
            rate_of_steps=job.trained / (self._now() - start),
        )

    def rate(self) -> float:
        """Train an epoch; images per second."""
        return self.job.trained / self._train()[0]

    def _train(self) -> tuple[float, float | None]:
        torch.set_num_threads(self.setting.threads)
        start = self._now()
        waiting = next(self.training.epochs)
        return self._now() - start, waiting

    def _now(self) -> float:
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
        return time.perf_counter()


def our_training(job: Job, family: Family, setting: Setting) -> Training:
    """augsearch's loop; the one place that knows its functions."""
    policy = Policy(num_ops=NUM_OPS, magnitude=MAGNITUDE)
    recipe = _recipe(job, family)
    learner = Learner.prepare(build_model(job.spec, seed=0), recipe, device=job.device)
    classes = len(job.spec.classes)
    data = LabeledImages(job.images, job.labels, classes, threads=setting.workers)
    epochs = train(learner, TrainingSetup(data, policy, recipe, seed=0, device=job.device))
    rng, ready = np.random.default_rng(0), []
    for start in _starts(job):
        chosen = slice(start, start + job.batch_size)
        images = torch.from_numpy(policy.augment(job.images[chosen], rng)).permute(0, 3, 1, 2)
        targets = torch.from_numpy(np.eye(classes, dtype=np.float32)[job.labels[chosen]])
        ready.append((images.to(job.device), targets.to(job.device)))
    return Training(learner.model, learner.optimizers, (epoch.waiting for epoch in epochs), ready)


def plain_training(job: Job, family: Family, setting: Setting) -> Training:
    """A ``Dataset``, a ``DataLoader`` and the ten lines below them.

    It gets our network with its channels-last weights, which is faster than the usual order, without the
    layer that normalises, and it never waits for the loss: no ``loss.item()``.
    """
    dataset = PlainImages(job, setting.form)
    loader = DataLoader(
        dataset,
        batch_size=job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
        pin_memory=job.device.type == "cuda",
    )
    built = build_model(job.spec, seed=0)
    assert isinstance(built, nn.Sequential)
    built[0] = nn.Identity()  # keeps the names of the parameters
    optimizers = Learner.prepare(built, _recipe(job, family), device=job.device).optimizers
    if family.optimizers == "SGD":
        optimizers = [SGD(built.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)]
    schedules: list[LRScheduler] = [
        OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=job.epochs * job.steps,
            cycle_momentum=False,
        )
        for optimizer in optimizers
    ]

    def epochs() -> Iterator[None]:
        for _ in range(job.epochs):
            steps(built, optimizers, loader, family.precision, job.device, schedules)
            yield None

    ready = []
    for start in _starts(job):
        images, labels = default_collate([dataset[start + index] for index in range(job.batch_size)])
        ready.append((images.to(job.device), labels.to(job.device)))
    return Training(built, optimizers, epochs(), ready)


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images in memory under torchvision's transforms, one by one."""

    def __init__(self, job: Job, form: str, augment: Callable[[Any], Any] | None = None) -> None:
        self.labels: list[int] = job.labels.tolist()
        self.images: Any = (
            job.images
            if form == "PIL images"
            else torch.from_numpy(job.images).permute(0, 3, 1, 2).contiguous()
        )
        mean, std = ([value / 255 for value in values] for values in (job.spec.mean, job.spec.std))
        self.transform = v2.Compose(
            [
                augment or v2.RandAugment(NUM_OPS, MAGNITUDE),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean, std),
                v2.ToPureTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        return self.transform(image), self.labels[index]


def steps(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    batches: Batches,
    precision: Precision,
    device: torch.device,
    schedules: Sequence[LRScheduler] = (),
) -> None:
    """The lines that everybody writes: forward, backward, step."""
    model.train()
    total = torch.zeros((), device=device)
    for batch in batches:
        images, targets = (part.to(device, non_blocking=True) for part in batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        loss = cross_entropy(logits.float(), targets, label_smoothing=SMOOTHING)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        total += loss.detach()
    if not math.isfinite(float(total)):
        raise ArithmeticError("a training of the benchmark diverged")


@contextmanager
def outside(
    model: nn.Module, last_optimizer: Optimizer, clock: Callable[[], float] = time.perf_counter
) -> Iterator[list[float]]:
    """Measure, by hooks, the seconds between an optimizer's step and the next forward pass of ``model``.

    What a training does there is everything that is no forward, backward or step: waiting for the batch,
    conversions, learning rates. The list is filled when the block ends; its first entry is the time before
    the first forward pass, the last one the time after the last step.
    """
    forwards: list[float] = []
    stepped: list[float] = []
    hooks = [
        model.register_forward_pre_hook(lambda *_: forwards.append(clock())),
        last_optimizer.register_step_post_hook(lambda *_: stepped.append(clock())),
    ]
    found: list[float] = []
    start = clock()
    try:
        yield found
    finally:
        end = clock()
        for hook in hooks:
            hook.remove()
    found.extend(
        later - earlier
        for earlier, later in zip(chain([start], stepped), chain(forwards, [end]), strict=True)
    )


def settings(
    family: Family, device: torch.device, threads: Sequence[int], workers: Sequence[int]
) -> list[Setting]:
    """All that are tried; torch's threads don't matter where a GPU computes."""
    forms: tuple[Any, ...] = ("arrays",) if family.ours else ("PIL images", "tensors")
    return [
        Setting(thread, worker, form)
        for form in forms
        for worker in workers
        for thread in (threads if device.type == "cpu" else threads[:1])
    ]


def _recipe(job: Job, family: Family) -> Recipe:
    return Recipe(
        epochs=job.epochs, batch_size=job.batch_size, label_smoothing=SMOOTHING, precision=family.precision
    )


def _starts(job: Job) -> range:
    return range(0, min(READY, job.steps) * job.batch_size, job.batch_size)


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
