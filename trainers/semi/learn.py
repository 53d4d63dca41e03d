"""A training whose unlabeled images a model labels: before it begins, or now and then while it learns."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from augsearch.policies import Distillation, Policy
from augsearch.trainers.data.views import TrainingImages
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.semi.pseudo_labels import Labeler, Labeling, labelings
from augsearch.trainers.training.distributed import ALONE, Shard
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult, train
from augsearch.trainers.training.recipe import Recipe


def learn(
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
    labeler: Labeler | None = None,
    shard: Shard = ALONE,
) -> Iterator[EpochResult | Labeling]:
    """``train``; where ``pseudo`` wants it, ``labeler`` labels the pool between its epochs.

    A learner that is taken up again has the pool labeled as it was, each time, if the labeler remembers.
    """
    yield from labeled_until(learner, recipe, teacher, pool, labeler)
    due = labelings(pool.semi, recipe.epochs) if pool else []
    for epoch in train(
        learner,
        data,
        policy,
        recipe,
        seed=seed,
        device=device,
        distillation=distillation,
        teacher=teacher,
        pool=pool,
        shard=shard,
    ):
        yield epoch
        if epoch.epoch in due:
            assert pool is not None
            assert labeler is not None
            yield _labeled(learner, teacher, pool, labeler, epoch.epoch)


def labeled_until(
    learner: Learner, recipe: Recipe, teacher: nn.Module | None, pool: Pool | None, labeler: Labeler | None
) -> Iterator[Labeling]:
    """The labelings that the learner's training had until now, or has at its start."""
    if not pool or labeler is None:  # none, or without images
        return
    for after in labelings(pool.semi, recipe.epochs):
        if after <= learner.epoch:
            yield _labeled(learner, teacher, pool, labeler, after)


def _labeled(
    learner: Learner, teacher: nn.Module | None, pool: Pool, labeler: Labeler, after: int
) -> Labeling:
    model = teacher if pool.semi.asks_teacher else learner.best
    assert model is not None
    return labeler.label(pool, model, f"epoch {after}", after)
