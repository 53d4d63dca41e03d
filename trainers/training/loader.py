"""Batches of a training: drawn, augmented and mixed, those without labels beside those that have one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from augsearch.policies import Distillation, Mix, Policy, draw_mix
from augsearch.trainers.data.views import TrainingImages
from augsearch.trainers.evaluation.inference import to_tensor
from augsearch.trainers.evaluation.metrics import Logits
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.system.threads import in_order
from augsearch.trainers.training.batch import Batch, UnlabeledBatch
from augsearch.trainers.training.distributed import ALONE, Shard
from augsearch.trainers.training.losses import softened


def steps_of(images: int, batch_size: int) -> int:
    """Steps of an epoch; the images that fill no batch are left out."""
    return images // batch_size_of(images, batch_size)


def batch_size_of(images: int, most: int) -> int:
    """Labeled images of a step: of few images a sixth, so that an epoch has some steps."""
    return min(most, max(images // 6, min(8, images)))


def batches(
    data: TrainingImages,
    policy: Policy,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    device: torch.device,
    distillation: Distillation | None = None,
    pool: Pool | None = None,
    shard: Shard = ALONE,
) -> Iterator[Batch]:
    """One epoch in random order, augmented and mixed; the images that fill no batch are left out."""
    one_hot = np.eye(data.num_classes, dtype=np.float32)
    size = batch_size_of(len(data.labels), batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(len(data.labels))
    wanted = [
        order[start : start + size][shard.rank :: shard.size]
        for start in range(0, len(order) - size + 1, size)
    ]
    beside = pool.per_step(size, len(wanted)) if pool is not None else 0
    drawn = pool.drawn(beside, epoch, len(wanted), seed) if pool is not None and beside else []
    sources = [data] if pool is None or not beside else [data, pool.images]
    together = max(1, min(source.at_once for source in sources) // (size + beside))

    def made(first: int) -> list[_HostBatch]:
        rng = np.random.default_rng([seed, epoch, first, shard.rank])
        chosen = wanted[first : first + together]
        views = data.views(np.concatenate(chosen), policy, rng)
        ends = np.cumsum([len(part) for part in chosen])[:-1]
        labeled = [
            _mixed(images, one_hot[data.labels[part]], _soften(data.teacher, part, distillation), policy, rng)
            for part, images in zip(chosen, np.split(views, ends), strict=True)
        ]
        if pool is None or not beside:
            return [_HostBatch(*one, None) for one in labeled]
        # A stream of their own, so that the labeled images' views are what they are without them.
        rng = np.random.default_rng([seed, epoch, first, shard.rank, _UNLABELED])
        rows = [part[shard.rank :: shard.size] for part in drawn[first : first + together]]
        others = _unlabeled_views(pool, rows, beside / pool.wanted(size), rng)
        return [_HostBatch(*one, other) for one, other in zip(labeled, others, strict=True)]

    firsts = range(0, len(wanted), together)
    threads = max(source.threads for source in sources) or _ahead(device)
    chunks = in_order(made, firsts, threads) if threads else map(made, firsts)
    for one in chain.from_iterable(chunks):
        yield Batch(
            to_tensor(one.images, device),
            torch.from_numpy(one.targets).to(device),
            torch.from_numpy(one.teacher).to(device) if one.teacher is not None else None,
            one.unlabeled.on(device) if one.unlabeled is not None else None,
        )


_UNLABELED = 1
"""Part of the seed of unlabeled images' views."""


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
            to_tensor(self.images, device),
            torch.from_numpy(self.targets).to(device) if self.targets is not None else None,
            to_tensor(self.weak, device) if self.weak is not None else None,
            torch.from_numpy(self.rows).to(device),
            self.mix,
            self.share,
        )


@dataclass(frozen=True, slots=True)
class _HostBatch:
    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    teacher: NDArray[np.float32] | None
    unlabeled: _HostUnlabeled | None


def _unlabeled_views(
    pool: Pool, rows: list[NDArray[np.int64]], share: float, rng: np.random.Generator
) -> list[_HostUnlabeled]:
    """Some batches of unlabeled images, mixed where what is to be learned of them is known."""
    every, ends = np.concatenate(rows), np.cumsum([len(part) for part in rows])[:-1]
    views = np.split(pool.images.views(every, pool.policy, rng), ends)
    weak: list[NDArray[np.uint8]] | list[None] = [None] * len(rows)
    if pool.judged_by is not None:
        weak = np.split(pool.images.views(every, pool.judged_by, rng), ends)
    made = []
    for part, images, judged in zip(rows, views, weak, strict=True):
        targets = pool.targets(part)
        mix = draw_mix(pool.policy.mixing, len(images), images.shape[1:3], rng)
        if mix is not None:
            images = mix.images(images)
            targets = None if targets is None else mix.targets(targets)
        made.append(_HostUnlabeled(images, targets, judged, part, mix, share))
    return made


def _ahead(device: torch.device) -> int:
    """Threads that augment images in memory meanwhile; none where one core does all."""
    if device.type == "cuda":
        return 2
    return 1 if torch.get_num_threads() > 1 else 0


def _mixed(
    images: NDArray[np.uint8],
    targets: NDArray[np.float32],
    teacher: NDArray[np.float32] | None,
    policy: Policy,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]:
    """A batch under the policy's CutMix or MixUp, if it is drawn."""
    mix = draw_mix(policy.mixing, len(images), images.shape[1:3], rng)
    if mix is None:
        return images, targets, teacher
    return mix.images(images), mix.targets(targets), None if teacher is None else mix.targets(teacher)


def _soften(
    teacher: Logits | None, chosen: NDArray[np.int64], distillation: Distillation | None
) -> NDArray[np.float32] | None:
    if teacher is None or distillation is None or distillation.teacher_view == "same":
        return None
    return softened(torch.from_numpy(teacher[chosen]), distillation.temperature).numpy()
