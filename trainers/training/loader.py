"""Batches of a training: drawn, augmented and mixed, those without labels beside those that have one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augsearch.policies import Distillation, Mix, Policy, draw_mix
from augsearch.trainers.evaluation.metrics import Logits
from augsearch.trainers.system.threads import Begun, in_order
from augsearch.trainers.training.balance import order_of
from augsearch.trainers.training.batch import Batch, UnlabeledBatch
from augsearch.trainers.training.losses import softened
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.training.unlabeled import UnlabeledPool


def steps_of(images: int, batch_size: int) -> int:
    """How many steps an epoch has; the images that fill no batch are left out."""
    return images // batch_size_of(images, batch_size)


def batch_size_of(images: int, most: int) -> int:
    """How many labeled images a step has: of few a sixth, so that an epoch has some steps."""
    return min(most, max(images // 6, min(8, images)))


class Epochs:
    """The batches of a training, epoch by epoch; the first of a next one are made while one ends."""

    def __init__(self, setup: TrainingSetup, pool: UnlabeledPool | None = None) -> None:
        self._setup, self._pool = setup, pool
        self._begun: tuple[int, Begun[list[_HostBatch]]] | None = None

    def of(self, epoch: int) -> Iterator[Batch]:
        """One epoch in random order, augmented and mixed; the images that fill no batch are left out."""
        begun, self._begun = self._begun, None
        if begun is not None and begun[0] == epoch:
            return _on_device(begun[1], self._setup.device)
        return batches(self._setup, epoch, self._pool)

    def begin(self, epoch: int) -> None:
        """Have the first batches of ``epoch`` made from now on, where files are read for them, or for a GPU.

        Not with unlabeled images: which of those are learned from is known when the epoch before is over.
        """
        threads = self._setup.data.threads
        if self._setup.device.type != "cpu":  # which has nothing else to do meanwhile
            threads = threads or _ahead(self._setup.device)
        if threads and self._pool is None and self._begun is None:
            self._begun = epoch, Begun(*_made(self._setup, epoch, None), threads)

    def close(self) -> None:
        """Stop making batches that nobody will ask for."""
        if self._begun is not None:
            self._begun[1].close()
        self._begun = None


def batches(setup: TrainingSetup, epoch: int, pool: UnlabeledPool | None = None) -> Iterator[Batch]:
    """One epoch in random order, augmented and mixed; the images that fill no batch are left out."""
    made, firsts = _made(setup, epoch, pool)
    sources = [setup.data] if pool is None else [setup.data, pool.images]
    threads = max(source.threads for source in sources) or _ahead(setup.device)
    return _on_device(in_order(made, firsts, threads) if threads else map(made, firsts), setup.device)


def _on_device(chunks: Iterator[list[_HostBatch]], device: torch.device) -> Iterator[Batch]:
    made = chain.from_iterable(chunks)
    return _copied_beside(made, device) if device.type == "cuda" else (one.on(device) for one in made)


def _copied_beside(made: Iterator[_HostBatch], device: torch.device) -> Iterator[Batch]:
    """Batches on a GPU, each copied in a stream of its own while the one before is computed."""
    copying = _copying(device)
    for one in made:
        with torch.cuda.stream(copying):
            batch = one.on(device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        for tensor in batch.tensors():
            tensor.record_stream(computing)  # or its memory would be given away while that still reads it
        yield batch


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream of ``device`` in which this process copies to it.

    One for all epochs: memory that was set aside in a stream serves that stream alone.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """``array`` on ``device``; for a GPU from pinned memory, so that the host does not wait."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _made(
    setup: TrainingSetup, epoch: int, pool: UnlabeledPool | None
) -> tuple[Callable[[int], list[_HostBatch]], range]:
    """What makes the batches of some steps of an epoch, and the first step of each call."""
    data, shard = setup.data, setup.shard
    size = batch_size_of(len(data.labels), setup.recipe.batch_size)
    order = order_of(setup.class_balance, data.labels, np.random.default_rng([setup.seed, epoch]))
    steps = [
        order[start : start + size][shard.rank :: shard.size]
        for start in range(0, len(order) - size + 1, size)
    ]
    unlabeled = None
    if pool is not None and (beside := pool.per_step(size, len(steps))):
        drawn = pool.drawn(beside, epoch, len(steps), setup.seed)
        rows = [part[shard.rank :: shard.size] for part in drawn]
        unlabeled = _Unlabeled(pool, rows, beside / pool.wanted(size))
    sources, in_a_step = [data], size
    if unlabeled is not None:
        sources, in_a_step = [data, unlabeled.pool.images], size + beside
    together = max(1, min(source.at_once for source in sources) // in_a_step)

    def made(first: int) -> list[_HostBatch]:
        entropy = [setup.seed, epoch, first, shard.rank]
        labeled = _labeled_batches(setup, steps[first : first + together], np.random.default_rng(entropy))
        if unlabeled is None:
            return labeled
        # A stream of their own, so that the labeled images' views are what they are without them.
        rng = np.random.default_rng([*entropy, _UNLABELED])
        others = _unlabeled_batches(unlabeled, slice(first, first + together), rng)
        return [replace(one, unlabeled=other) for one, other in zip(labeled, others, strict=True)]

    return made, range(0, len(steps), together)


_UNLABELED = 1
"""An entry in the seed of unlabeled images' views."""


def _images_sent(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (B, H, W, C) as (B, C, H, W), likewise."""
    return _sent(images, device).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class _HostUnlabeled:
    images: NDArray[np.uint8]
    targets: NDArray[np.float32] | None
    weak: NDArray[np.uint8] | None
    rows: NDArray[np.int64]
    mix: Mix | None
    share: float

    def on(self, device: torch.device) -> UnlabeledBatch:
        return UnlabeledBatch(
            _images_sent(self.images, device),
            _sent(self.targets, device) if self.targets is not None else None,
            _images_sent(self.weak, device) if self.weak is not None else None,
            _sent(self.rows, device),
            self.mix,
            self.share,
        )


@dataclass(frozen=True, slots=True)
class _HostBatch:
    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    teacher: NDArray[np.float32] | None
    unlabeled: _HostUnlabeled | None = None

    def on(self, device: torch.device) -> Batch:
        return Batch(
            _images_sent(self.images, device),
            _sent(self.targets, device),
            _sent(self.teacher, device) if self.teacher is not None else None,
            self.unlabeled.on(device) if self.unlabeled is not None else None,
        )


@dataclass(frozen=True, slots=True)
class _Unlabeled:
    """What goes with the labeled images of an epoch."""

    pool: UnlabeledPool
    rows: list[NDArray[np.int64]]
    """The images of each step."""
    share: float
    """How many they are, as a share of as many as there should be."""


def _labeled_batches(
    setup: TrainingSetup, steps: list[NDArray[np.int64]], rng: np.random.Generator
) -> list[_HostBatch]:
    """The batches of some steps, augmented together."""
    data, policy = setup.data, setup.policy
    one_hot = np.eye(data.num_classes, dtype=np.float32)
    views = data.views(np.concatenate(steps), policy, rng)
    ends = np.cumsum([len(rows) for rows in steps])[:-1]
    made = []
    for rows, images in zip(steps, np.split(views, ends), strict=True):
        targets = one_hot[data.labels[rows]]
        if setup.weights is not None:
            targets = targets * setup.weights[rows, np.newaxis].astype(np.float32)
        batch = _HostBatch(images, targets, _softened_rows(data.teacher, rows, setup.distillation))
        made.append(_mixed(batch, policy, rng))
    return made


def _unlabeled_batches(unlabeled: _Unlabeled, steps: slice, rng: np.random.Generator) -> list[_HostUnlabeled]:
    """Batches of unlabeled images of some steps, mixed where their targets are known."""
    pool, rows = unlabeled.pool, unlabeled.rows[steps]
    every, ends = np.concatenate(rows), np.cumsum([len(part) for part in rows])[:-1]
    views = np.split(pool.images.views(every, pool.policy, rng), ends)
    weak: list[NDArray[np.uint8]] | list[None] = [None] * len(rows)
    if pool.weak_policy is not None:
        weak = np.split(pool.images.views(every, pool.weak_policy, rng), ends)
    made = []
    for part, images, weak_views in zip(rows, views, weak, strict=True):
        targets = pool.targets(part)
        mix = draw_mix(pool.policy.mixing, len(images), images.shape[1:3], rng)
        if mix is not None:
            images = mix.images(images)
            targets = None if targets is None else mix.targets(targets)
        made.append(_HostUnlabeled(images, targets, weak_views, part, mix, unlabeled.share))
    return made


def _ahead(device: torch.device) -> int:
    """Threads that augment images in memory meanwhile; none where one core does all."""
    if device.type != "cpu":
        return 2
    return 1 if torch.get_num_threads() > 1 else 0


def _mixed(batch: _HostBatch, policy: Policy, rng: np.random.Generator) -> _HostBatch:
    """A batch under the policy's CutMix or MixUp, if it is drawn."""
    mix = draw_mix(policy.mixing, len(batch.images), batch.images.shape[1:3], rng)
    if mix is None:
        return batch
    teacher = None if batch.teacher is None else mix.targets(batch.teacher)
    return _HostBatch(mix.images(batch.images), mix.targets(batch.targets), teacher)


def _softened_rows(
    teacher: Logits | None, rows: NDArray[np.int64], distillation: Distillation | None
) -> NDArray[np.float32] | None:
    """The teacher's probabilities of the clean images, where those are what it looks at."""
    if teacher is None or distillation is None or distillation.teacher_view == "same":
        return None
    return softened(torch.from_numpy(teacher[rows]), distillation.temperature).numpy()
