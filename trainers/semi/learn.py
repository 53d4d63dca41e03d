"""A training whose unlabeled images are labeled: before it begins, or now and then while it learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from augsearch.trainers.semi.labeler import Labeler, Labeling
from augsearch.trainers.semi.pool import Pool

if TYPE_CHECKING:
    from torch import nn

    from augsearch.trainers.training.learner import Learner
    from augsearch.trainers.training.loop import EpochResult
    from augsearch.trainers.training.setup import TrainingSetup


def learn(
    learner: Learner, setup: TrainingSetup, pool: Pool | None = None, labeler: Labeler | None = None
) -> Iterator[EpochResult | Labeling]:
    """``train``; where the technique wants it, ``labeler`` labels the pool between its epochs.

    A learner that is taken up again has the pool labeled as it was, each time, if the labeler remembers.
    """
    # Here and not above: it imports torch, which the driver of a search does without.
    from augsearch.trainers.training.loop import train

    yield from labeled_until(learner, setup, pool, labeler)
    due = pool.technique.labelings(setup.recipe.epochs) if pool else []
    for epoch in train(learner, setup, pool):
        yield epoch
        if epoch.epoch in due:
            assert pool is not None
            assert labeler is not None
            yield _labeled(learner, setup.teacher, pool, labeler, epoch.epoch)


def labeled_until(
    learner: Learner, setup: TrainingSetup, pool: Pool | None, labeler: Labeler | None
) -> Iterator[Labeling]:
    """The labelings that the learner's training had until now, or has at its start."""
    if not pool or labeler is None:  # none, or without images
        return
    for after in pool.technique.labelings(setup.recipe.epochs):
        if after <= learner.epoch:
            yield _labeled(learner, setup.teacher, pool, labeler, after)


def _labeled(
    learner: Learner, teacher: nn.Module | None, pool: Pool, labeler: Labeler, after: int
) -> Labeling:
    model = teacher if pool.technique.asks_teacher else learner.best
    assert model is not None
    return labeler.label(pool, model, f"epoch {after}", after)
