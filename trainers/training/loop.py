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

import numpy as np
import torch
from torch import nn

from augsearch.policies import Distillation, Policy, UserError
from augsearch.trainers.data.views import TrainingImages
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.techniques import judging
from augsearch.trainers.system.devices import autocast
from augsearch.trainers.training.batch import Batch
from augsearch.trainers.training.distributed import ALONE, Shard
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loader import batch_size_of, batches, steps_of
from augsearch.trainers.training.losses import Loss, distilled, softened, supervised, unsupervised
from augsearch.trainers.training.recipe import Recipe, one_cycle
from augsearch.trainers.training.technique import Judge
from augsearch.trainers.training.transfer import training_mode


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
    """Trained on in this epoch, the unlabeled ones among them."""
    unlabeled: int
    """Of these, how many have no label."""
    judged: int
    """Views that the model only looked at, to say what is to be learned of others."""
    used: float
    """The mean weight of the unlabeled images, 0 to 1: the share of which the model was sure."""
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
    pool: Pool | None = None,
    shard: Shard = ALONE,
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
        pool: images without labels to learn from beside them. What it says to learn of them is asked for at
            the start of each epoch.
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
    shares = torch.from_numpy(class_shares(data.labels, data.num_classes)).float().to(device)
    judge = judging(learner, pool, shares, teacher, device)
    size = batch_size_of(len(data.labels), recipe.batch_size)
    # Of one image a BatchNorm learns nothing; and processes that share gradients must count parts alike.
    learner.accumulation = min(learner.accumulation, max(1, size // shard.size // 2))
    while learner.epoch < recipe.epochs:
        epoch, started = learner.epoch, time.perf_counter()
        made = batches(
            data, policy, recipe.batch_size, seed=seed, epoch=epoch, device=device, shard=shard,
            distillation=distillation, pool=pool,
        )  # fmt: skip
        steps = steps_of(len(data.labels), recipe.batch_size)
        unlabeled = pool.per_step(size, steps) if pool is not None else 0
        total, used, waiting = torch.zeros((), device=device), torch.zeros((), device=device), 0.0
        with _randomness(device, [seed, epoch, shard.rank]):
            training_mode(learner.model, learner.transfer)
            for step in range(steps):
                asked = time.perf_counter()
                batch = next(made)
                waiting += time.perf_counter() - asked
                _set_rates(
                    learner, one_cycle((epoch * steps + step) / (recipe.epochs * steps), recipe.warm_up)
                )
                step_loss, step_used = _step(learner, batch, hear, judge, loss_of)
                total += step_loss
                used += step_used
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
            images=steps * (size + unlabeled),
            unlabeled=steps * unlabeled,
            judged=steps * unlabeled if pool is not None and pool.judged_by is not None else 0,
            used=float(used) / steps,
            seconds=time.perf_counter() - started,
            waiting=waiting,
            accumulation=learner.accumulation,
        )


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
        with torch.no_grad(), autocast(batch.images.device, precision):
            logits = teacher(batch.images)
        return replace(batch, teacher=softened(logits, distillation.temperature))

    return hear


def _step(
    learner: Learner, batch: Batch, hear: Hear, judge: Judge, loss_of: Loss
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of the optimizers, in as many parts as memory wants.

    Returns:
        The loss, and the mean weight of the unlabeled images: (), detached.
    """
    while True:
        for optimizer in learner.optimizers:
            optimizer.zero_grad(set_to_none=True)
        try:
            loss, used = _gradients(learner, batch, hear, judge, loss_of)
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
    return loss, used


def _gradients(
    learner: Learner, batch: Batch, hear: Hear, judge: Judge, loss_of: Loss
) -> tuple[torch.Tensor, torch.Tensor]:
    device = batch.images.device
    total, used = torch.zeros((), device=device), torch.zeros((), device=device)
    if batch.unlabeled is not None:
        judged = judge.find(batch.unlabeled, learner.accumulation)
        batch = replace(batch, unlabeled=judged)
        assert judged.targets is not None
        used = judged.targets.sum() / len(judged.images)
    for part in batch.parts(learner.accumulation):
        heard = hear(part)
        with autocast(device, learner.precision):
            logits = learner.forward(part.all_images)
        own, others = logits[: len(part.images)].float(), logits[len(part.images) :].float()
        loss = loss_of(own, heard) * (len(part.images) / len(batch.images))
        if part.unlabeled is not None and batch.unlabeled is not None:
            assert part.unlabeled.targets is not None
            share = len(part.unlabeled.images) / len(batch.unlabeled.images)
            beside = unsupervised(others, part.unlabeled.targets, judge.temperature)
            loss = loss + judge.weight * batch.unlabeled.share * share * beside
        learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total, used


def _out_of_memory(error: RuntimeError) -> bool:
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError) or "not enough memory" in words or "can't allocate" in words
    )
