"""The one training loop: proxies, teachers and final models all run through ``train``.

It is a generator: the caller decides what to do with each epoch's result, and may stop at any time.
It knows nothing of searches, of tracking or of terminals.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.policies import Distillation, Policy, UserError, draw_mix
from augsearch.trainers.decode import in_order
from augsearch.trainers.learner import Learner
from augsearch.trainers.losses import Batch, Loss, distilled, softened, supervised
from augsearch.trainers.recipe import Recipe, one_cycle
from augsearch.trainers.scores import Logits, TrainingDivergedError, to_tensor
from augsearch.trainers.transfer import training_mode

AT_ONCE = 2 * 2**20
"""Bytes of pixels that are augmented together; more would leave the processor's cache."""


class TrainingImages(Protocol):
    """What a training learns from: images wherever they are, and their labels."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,)."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def teacher(self) -> Logits | None:
        """(N, K): a teacher's logits of the clean images, if they are known."""

    @property
    def threads(self) -> int:
        """Threads that make batches ahead of the training; 0: made when they are wanted."""

    @property
    def at_once(self) -> int:
        """How many images ``views`` had best be asked for at least."""

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` images, augmented: (B, S, S, C). Called from any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Images in memory, or mapped into it."""

    images: NDArray[np.uint8]
    """(N, H, W, C)."""
    labels: NDArray[np.int64]
    """(N,)."""
    num_classes: int
    teacher: Logits | None = None
    """(N, K): a teacher's logits of the clean images."""
    threads: int = 0
    """Threads that make batches ahead of the training; 0: as many as suit the device."""

    @property
    def at_once(self) -> int:
        """Some batches of small images: a policy on 512 thumbnails costs half as much each as on 64."""
        return max(1, AT_ONCE // int(self.images[0].nbytes))

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` images, augmented."""
        return policy.augment(self.images[chosen], rng)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of every batch this process trains on, of several that share a training."""

    rank: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch of a training."""

    epoch: int
    """From 1."""
    epochs: int
    loss: float
    """Mean over the epoch's steps."""
    learning_rate: float
    """The highest of all groups', at the epoch's last step."""
    rates: dict[str, float]
    """Of each group of parameters, likewise."""
    images: int
    """Trained on in this epoch."""
    seconds: float
    waiting: float
    """Of these seconds, those in which the training waited for a batch."""
    accumulation: int
    """Into how many parts the last batch was divided: more than before where memory ran out."""


def train(
    learner: Learner,
    data: TrainingImages,
    policy: Policy,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    distillation: Distillation | None = None,
    teacher: nn.Module | None = None,
    shard: Shard = Shard(),
) -> Iterator[EpochResult]:
    """Train ``learner`` in place, from where it stands, and yield after every epoch.

    Everything random (order, augmentation, mixing, dropout) follows from ``seed`` and the epoch, so a learner
    that was kept after an epoch and taken up again goes on as if nothing had been.

    Args:
        learner: on ``device``.
        data: at least two images.
        policy: what happens to them.
        recipe: how long and how fast.
        seed: of everything random.
        device: where to compute.
        distillation: with it a teacher speaks too: of the same views, or of the clean images
            (``data.teacher``), as its ``teacher_view`` says.
        teacher: in evaluation mode, on ``device``; takes what the student takes.
        shard: the part of each batch that is trained on here.

    Raises:
        TrainingDivergedError: the loss became infinite or no number.
        UserError: there is not memory enough for a part of two images.
    """
    loss_of = (
        distilled(distillation, recipe.label_smoothing)
        if distillation
        else supervised(recipe.label_smoothing)
    )
    hear = _hearing(teacher, distillation, recipe, device)
    size = _batch_size(len(data.labels), recipe.batch_size)
    # Of one image a BatchNorm learns nothing; and processes that share gradients must count parts alike.
    learner.accumulation = min(learner.accumulation, max(1, size // shard.size // 2))
    while learner.epoch < recipe.epochs:
        epoch, started = learner.epoch, time.perf_counter()
        made = batches(
            data, policy, recipe.batch_size, seed=seed, epoch=epoch, device=device, shard=shard,
            distillation=distillation,
        )  # fmt: skip
        steps = steps_of(len(data.labels), recipe.batch_size)
        total, waiting = torch.zeros((), device=device), 0.0
        with _randomness(device, [seed, epoch, shard.rank]):
            training_mode(learner.model, learner.transfer)
            for step in range(steps):
                asked = time.perf_counter()
                batch = next(made)
                waiting += time.perf_counter() - asked
                _set_rates(
                    learner, one_cycle((epoch * steps + step) / (recipe.epochs * steps), recipe.warm_up)
                )
                total += _step(learner, batch, hear, loss_of)
        loss = float(total) / steps
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate"
            )
        learner.epoch = epoch + 1
        rates = learner.rates()
        yield EpochResult(
            epoch=epoch + 1,
            epochs=recipe.epochs,
            loss=loss,
            learning_rate=max(rates.values()),
            rates=rates,
            images=steps * size,
            seconds=time.perf_counter() - started,
            waiting=waiting,
            accumulation=learner.accumulation,
        )


def steps_of(images: int, batch_size: int) -> int:
    """Steps of an epoch; the images that fill no batch are left out."""
    return images // _batch_size(images, batch_size)


def _batch_size(images: int, most: int) -> int:
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
    shard: Shard = Shard(),
) -> Iterator[Batch]:
    """One epoch in random order, augmented and mixed; the images that fill no batch are left out."""
    one_hot = np.eye(data.num_classes, dtype=np.float32)
    size = _batch_size(len(data.labels), batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(len(data.labels))
    wanted = [
        order[start : start + size][shard.rank :: shard.size]
        for start in range(0, len(order) - size + 1, size)
    ]
    together = max(1, data.at_once // size)

    def made(first: int) -> list[_HostBatch]:
        rng = np.random.default_rng([seed, epoch, first, shard.rank])
        chosen = wanted[first : first + together]
        views = data.views(np.concatenate(chosen), policy, rng)
        ends = np.cumsum([len(part) for part in chosen])[:-1]
        return [
            _mixed(images, one_hot[data.labels[part]], _soften(data.teacher, part, distillation), policy, rng)
            for part, images in zip(chosen, np.split(views, ends), strict=True)
        ]

    firsts = range(0, len(wanted), together)
    threads = data.threads or _ahead(device)
    chunks = in_order(made, firsts, threads) if threads else map(made, firsts)
    for images, targets, teacher in chain.from_iterable(chunks):
        yield Batch(
            to_tensor(images, device),
            torch.from_numpy(targets).to(device),
            torch.from_numpy(teacher).to(device) if teacher is not None else None,
        )


def _ahead(device: torch.device) -> int:
    """Threads that augment images in memory meanwhile; none where one core does all."""
    if device.type == "cuda":
        return 2
    return 1 if torch.get_num_threads() > 1 else 0


_HostBatch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]
"""Images, targets, and what the teacher says of them."""


def _mixed(
    images: NDArray[np.uint8],
    targets: NDArray[np.float32],
    teacher: NDArray[np.float32] | None,
    policy: Policy,
    rng: np.random.Generator,
) -> _HostBatch:
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


@contextmanager
def _randomness(device: torch.device, seeds: list[int]) -> Iterator[None]:
    """Inside, torch's own randomness (dropout, stochastic depth) follows from ``seeds``."""
    (seed,) = np.random.SeedSequence(seeds).generate_state(1).tolist()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _set_rates(learner: Learner, factor: float) -> None:
    for optimizer, rates in zip(learner.optimizers, learner.full_rates, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor


Hear = Callable[[Batch], Batch]
"""The batch, and what the teacher says of the very images that the student sees, if it is to be asked."""


def _hearing(
    teacher: nn.Module | None, distillation: Distillation | None, recipe: Recipe, device: torch.device
) -> Hear:
    if distillation is None or distillation.teacher_view == "clean":
        return lambda batch: batch
    if teacher is None:
        raise ValueError("distillation on the same view needs the teacher itself")
    precision = recipe.precision_on(device, teacher)

    def hear(batch: Batch) -> Batch:
        with torch.no_grad(), _autocast(batch.images.device, precision):
            logits = teacher(batch.images)
        return replace(batch, teacher=softened(logits, distillation.temperature))

    return hear


def _step(learner: Learner, batch: Batch, hear: Hear, loss_of: Loss) -> torch.Tensor:
    """One step of the optimizers, in as many parts as memory wants; returns the loss, (), detached."""
    while True:
        for optimizer in learner.optimizers:
            optimizer.zero_grad(set_to_none=True)
        try:
            loss = _gradients(learner, batch, hear, loss_of)
            break
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            at_once = len(batch.images) // learner.accumulation
            if at_once < 4:
                raise UserError(
                    f"out of memory even with {at_once} images at a time; "
                    "use a smaller --image-size or network"
                ) from None
            if learner.parallel is not None:
                # The other processes wait for this one's gradients, so it can't begin the step anew.
                raise UserError(
                    f"out of memory with {at_once} images at a time; give a larger --accumulation"
                ) from None
        # Outside the handler: the traceback holds what filled the memory.
        learner.accumulation *= 2
        if batch.images.is_cuda:
            torch.cuda.empty_cache()
    for optimizer in learner.optimizers:
        learner.scaler.step(optimizer)
    learner.scaler.update()
    if learner.average is not None:
        learner.average.update_parameters(learner.model)
    return loss


def _gradients(learner: Learner, batch: Batch, hear: Hear, loss_of: Loss) -> torch.Tensor:
    total = torch.zeros((), device=batch.images.device)
    for part in batch.parts(learner.accumulation):
        heard = hear(part)
        with _autocast(batch.images.device, learner.precision):
            logits = learner.forward(part.images)
        loss = loss_of(logits.float(), heard) * (len(part.images) / len(batch.images))
        learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def _autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)


def _out_of_memory(error: RuntimeError) -> bool:
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError) or "not enough memory" in words or "can't allocate" in words
    )
