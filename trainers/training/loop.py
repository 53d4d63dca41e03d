"""The one training loop: proxies, teachers and final models all run through ``train``.

It is a generator: the caller decides what to do with each epoch's result, and may stop at any time.
It knows nothing of searches, of tracking or of terminals.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch

from augsearch.policies import Policy, UserError
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.system.device_errors import does_not_fit, out_of_memory
from augsearch.trainers.system.devices import (
    autocast,
    let_go_of_memory,
    precision_on,
    quickest_convolutions,
    randomness,
)
from augsearch.trainers.system.memory import memory_at_hand
from augsearch.trainers.training.balance import balance_of
from augsearch.trainers.training.batch import Batch
from augsearch.trainers.training.folding import Pair, foldable, folded
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loader import Epochs, batch_size_of, steps_of
from augsearch.trainers.training.losses import Loss, distilled, softened, supervised, unsupervised
from augsearch.trainers.training.recipe import one_cycle
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.training.transfer import training_mode
from augsearch.trainers.training.unlabeled import UnlabeledLoss, UnlabeledPool


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
    """The learning rate of each group of parameters at that step."""
    images: int
    """Trained on in this epoch, the unlabeled ones among them."""
    unlabeled: int
    """How many of these have no label."""
    weak_views: int
    """Views that the model only predicted, to find the targets of others."""
    used: float
    """The mean weight of the unlabeled images, 0 to 1: the share that is learned from."""
    seconds: float
    waiting: float
    """Those of these seconds in which the training waited for a batch."""
    accumulation: int
    """The number of parts of the last batch: more than before where memory ran out."""


def train(learner: Learner, setup: TrainingSetup, pool: UnlabeledPool | None = None) -> Iterator[EpochResult]:
    """Train ``learner`` in place, from where it stands, and yield after every epoch.

    Everything random (order, augmentation, mixing, dropout) follows from the seed and the epoch, so a learner
    that was kept after an epoch and taken up again goes on as if nothing had been.

    Args:
        learner: on the device of ``setup``.
        setup: what it learns from, and how.
        pool: images without labels to learn from beside them, by a technique. Which of them are learned from
            is asked for at the start of each epoch.

    Raises:
        TrainingDivergedError: the loss became infinite or no number.
        UserError: there is not memory enough for a part of two images.
    """
    objective = _objective(learner, setup, pool)
    size = batch_size_of(len(setup.data.labels), setup.recipe.batch_size)
    # Of one image a BatchNorm learns nothing; and processes that share gradients must count parts alike.
    learner.accumulation = min(learner.accumulation, max(1, size // setup.shard.size // 2))
    pairs = _foldable(learner, setup)
    with memory_at_hand(), closing(Epochs(setup, pool)) as epochs:
        while learner.epoch < setup.recipe.epochs:
            with folded(pairs):
                result = _epoch(learner, setup, pool, objective, epochs)
            yield result


def _foldable(learner: Learner, setup: TrainingSetup) -> list[Pair]:
    """What of the network can be computed as one: in a transfer BatchNorms keep their statistics."""
    if learner.transfer is None:
        return []
    training_mode(learner.model, learner.transfer)
    two = np.zeros(2, np.int64)  # there are networks that take no single image
    images = setup.data.views(two, Policy(num_ops=0), np.random.default_rng(0))
    with randomness(setup.device, [setup.seed]):
        return foldable(learner.model, torch.from_numpy(images).permute(0, 3, 1, 2).to(setup.device))


def _epoch(
    learner: Learner,
    setup: TrainingSetup,
    pool: UnlabeledPool | None,
    objective: _Objective,
    batches: Epochs,
) -> EpochResult:
    """The next epoch of ``learner``."""
    recipe, device, count = setup.recipe, setup.device, len(setup.data.labels)
    epoch, started = learner.epoch, time.perf_counter()
    made = batches.of(epoch)
    size, steps = batch_size_of(count, recipe.batch_size), steps_of(count, recipe.batch_size)
    unlabeled = pool.per_step(size, steps) if pool is not None else 0
    total, used, waiting = torch.zeros((), device=device), torch.zeros((), device=device), 0.0
    seeds = [setup.seed, epoch, setup.shard.rank]
    with randomness(device, seeds), quickest_convolutions(device):
        training_mode(learner.model, learner.transfer)
        for step in range(steps):
            asked = time.perf_counter()
            batch = next(made)
            waiting += time.perf_counter() - asked
            if step == steps - 1 and epoch + 1 < recipe.epochs:
                batches.begin(epoch + 1)
            progress = (epoch * steps + step) / (recipe.epochs * steps)
            _set_rates(learner, one_cycle(progress, recipe.warm_up))
            step_loss, step_used = _step(learner, batch, objective)
            total += step_loss
            used += step_used
    loss = float(total) / steps
    if not math.isfinite(loss):
        raise TrainingDivergedError(f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate")
    learner.epoch = epoch + 1
    rates = learner.rates()
    return EpochResult(
        epoch=epoch + 1,
        epochs=recipe.epochs,
        loss=loss,
        learning_rate=max(rates.values()),
        rates=rates,
        images=steps * (size + unlabeled),
        unlabeled=steps * unlabeled,
        weak_views=steps * unlabeled if pool is not None and pool.weak_policy is not None else 0,
        used=float(used) / steps,
        seconds=time.perf_counter() - started,
        waiting=waiting,
        accumulation=learner.accumulation,
    )


def _set_rates(learner: Learner, factor: float) -> None:
    for optimizer, rates in zip(learner.optimizers, learner.full_rates, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor


AskTeacher = Callable[[Batch], Batch]
"""The batch, with the teacher's predictions of the images that the student sees, if it is to be asked."""


@dataclass(frozen=True, slots=True)
class _Objective:
    """What each step minimises."""

    ask_teacher: AskTeacher
    labeled: Loss
    unlabeled: UnlabeledLoss | None


def _objective(learner: Learner, setup: TrainingSetup, pool: UnlabeledPool | None) -> _Objective:
    distillation, smoothing = setup.distillation, setup.recipe.label_smoothing
    data = setup.data
    balance = balance_of(setup.class_balance, data.labels, data.num_classes, setup.device)
    weighted = setup.weights is not None
    labeled = supervised(smoothing, balance, weighted=weighted)
    if distillation:
        labeled = distilled(distillation, smoothing, balance, weighted=weighted)
    unlabeled = pool.loss(learner, setup) if pool is not None else None
    return _Objective(_asking_teacher(setup), labeled, unlabeled)


def _asking_teacher(setup: TrainingSetup) -> AskTeacher:
    teacher, distillation = setup.teacher, setup.distillation
    if distillation is None or distillation.teacher_view == "clean":
        return lambda batch: batch
    if teacher is None:
        raise ValueError("distillation on the same view needs the teacher itself")
    precision = precision_on(setup.device, teacher, setup.recipe.precision)
    temperature = distillation.temperature

    def ask(batch: Batch) -> Batch:
        with torch.no_grad(), autocast(batch.images.device, precision):
            logits = teacher(batch.images)
        return replace(batch, teacher=softened(logits, temperature))

    return ask


def _step(learner: Learner, batch: Batch, objective: _Objective) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of the optimizers, in as many parts as memory wants.

    Returns:
        The loss, and the mean weight of the unlabeled images: (), detached.
    """
    while True:
        for optimizer in learner.optimizers:
            optimizer.zero_grad(set_to_none=True)
        try:
            loss, used = _gradients(learner, batch, objective)
            break
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            at_once = len(batch.images) // learner.accumulation
            if at_once < 4:
                raise does_not_fit(at_once, batch.images.device.type) from None
            if learner.parallel is not None:
                # The other processes wait for this one's gradients, so it can't begin the step anew.
                raise UserError(
                    f"out of memory with {at_once} images at a time; give a larger --accumulation"
                ) from None
        # Outside the handler: the traceback holds what filled the memory.
        learner.accumulation *= 2
        let_go_of_memory(batch.images.device)
    if learner.clip is not None:
        for optimizer in learner.optimizers:
            learner.scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(learner.model.parameters(), learner.clip)
    for optimizer in learner.optimizers:
        learner.scaler.step(optimizer)
    learner.scaler.update()
    if learner.average is not None:
        learner.average.update_parameters(learner.model)
    return loss, used


def _gradients(learner: Learner, batch: Batch, objective: _Objective) -> tuple[torch.Tensor, torch.Tensor]:
    device, unlabeled = batch.images.device, objective.unlabeled
    total, used = torch.zeros((), device=device), torch.zeros((), device=device)
    if batch.unlabeled is not None and unlabeled is not None:
        found = unlabeled.find_targets(batch.unlabeled, learner.accumulation)
        batch = replace(batch, unlabeled=found)
        assert found.targets is not None
        used = found.targets.sum() / len(found.images)
    parts = list(batch.parts(learner.accumulation))
    for part in parts:
        taught = objective.ask_teacher(part)
        with learner.sharing(part is parts[-1]), autocast(device, learner.precision):
            logits = learner.forward(part.all_images)
        own, others = logits[: len(part.images)].float(), logits[len(part.images) :].float()
        loss = objective.labeled(own, taught) * (len(part.images) / len(batch.images))
        if part.unlabeled is not None and batch.unlabeled is not None and unlabeled is not None:
            assert part.unlabeled.targets is not None
            share = len(part.unlabeled.images) / len(batch.unlabeled.images)
            beside = unsupervised(others, part.unlabeled.targets, unlabeled.temperature)
            loss = loss + unlabeled.weight * batch.unlabeled.share * share * beside
        learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total, used
