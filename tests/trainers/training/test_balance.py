"""What is done for rare classes: weights, offsets, and the order of an epoch."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augsearch.policies import Distillation, Policy
from augsearch.policies.training import ClassBalance
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.training.balance import balance_of, order_of
from augsearch.trainers.training.batch import Batch
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loader import batches
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.losses import distilled, supervised
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

CPU = torch.device("cpu")
LABELS = np.array([0] * 90 + [1] * 9 + [2])
KINDS = get_args(ClassBalance)


def batch_of(labels: list[int], classes: int) -> Batch:
    images = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    return Batch(images, torch.eye(classes)[labels])


def test_the_loss_weighs_a_class_by_its_effective_number_of_images() -> None:
    weights = balance_of("loss", LABELS, 3, CPU).weights
    assert weights is not None
    expected = np.array([(1 - 0.999) / (1 - 0.999**count) for count in (90, 9, 1)])
    assert (weights / weights[0]).tolist() == pytest.approx((expected / expected[0]).tolist(), rel=1e-5)
    assert weights[LABELS].mean().item() == pytest.approx(1.0, rel=1e-5)


def test_logits_are_adjusted_by_the_shares_of_classes() -> None:
    balance = balance_of("logit-adjustment", LABELS, 3, CPU)
    assert balance.offsets is not None
    assert balance.offsets.tolist() == pytest.approx([log(0.9), log(0.09), log(0.01)], rel=1e-5)
    # Equal logits are as sure of each class as its share is: the loss of a rare one is large.
    loss = supervised(0.0, balance)(torch.zeros(1, 3), batch_of([2], 3))
    assert loss.item() == pytest.approx(-log(0.01), rel=1e-5)


@pytest.mark.parametrize("kind", ["loss", "logit-adjustment"])
def test_a_class_that_a_fold_lacks_leaves_everything_finite(kind: ClassBalance) -> None:
    balance = balance_of(kind, np.array([0, 0, 2]), 4, CPU)
    values = balance.weights if balance.offsets is None else balance.offsets
    assert values is not None
    assert values.shape == (4,)
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("kind", [None, "sampling"])
def test_otherwise_the_loss_is_what_it_was(kind: ClassBalance | None) -> None:
    balance = balance_of(kind, LABELS, 3, CPU)
    logits, batch = torch.randn(4, 3), batch_of([0, 1, 2, 0], 3)
    assert torch.equal(supervised(0.1, balance)(logits, batch), supervised(0.1)(logits, batch))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 99))
def test_sampling_takes_all_classes_alike_and_repeats_no_image_before_its_class_is_used_up(
    labels: list[int], seed: int
) -> None:
    rows = order_of("sampling", np.array(labels), np.random.default_rng(seed))
    assert len(rows) == len(labels)
    drawn = Counter(labels[row] for row in rows)
    assert set(drawn) == set(labels)
    assert max(drawn.values()) - min(drawn.values()) <= 1
    often = Counter(rows.tolist())
    for label in set(labels):
        times = [often[row] for row, own in enumerate(labels) if own == label]
        assert max(times) - min(times) <= 1


@pytest.mark.parametrize("kind", [None, "loss", "logit-adjustment"])
def test_otherwise_each_image_comes_once_in_the_order_of_before(kind: ClassBalance | None) -> None:
    rows = order_of(kind, LABELS, np.random.default_rng(3))
    assert np.array_equal(rows, np.random.default_rng(3).permutation(len(LABELS)))


def setup_of(kind: ClassBalance | None, **more: Any) -> TrainingSetup:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(LABELS), 8, 8, 1), dtype=np.uint8)
    data = LabeledImages(images, LABELS, 3)
    recipe = Recipe(epochs=1, batch_size=20)
    return TrainingSetup(data, Policy(num_ops=0), recipe, seed=0, device=CPU, class_balance=kind, **more)


def test_batches_of_an_epoch_are_sampled() -> None:
    targets = torch.cat([batch.targets for batch in batches(setup_of("sampling"), 0)])
    counts = targets.sum(dim=0)
    assert counts.sum() == 96  # six batches of 16
    assert counts.max() - counts.min() <= 5  # what the last incomplete batch leaves out


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_changes_what_is_learned(kind: ClassBalance) -> None:
    def trained(kind: ClassBalance | None) -> list[torch.Tensor]:
        spec = ModelSpec(
            name="tiny", channels=1, image_size=8, classes=("a", "b", "c"), mean=(99,), std=(50,)
        )
        setup = setup_of(kind)
        learner = Learner.prepare(build_model(spec, 0), setup.recipe)
        list(train(learner, setup))
        return [parameter.detach().clone() for parameter in learner.model.parameters()]

    pairs = zip(trained(kind), trained(None), strict=True)
    assert any(not torch.equal(ours, plain) for ours, plain in pairs)


def test_a_teacher_is_followed_as_it_is_and_only_labels_are_balanced() -> None:
    balance = balance_of("loss", LABELS, 3, CPU)
    teacher = torch.softmax(torch.randn(2, 3), dim=1)
    logits = torch.randn(2, 3)
    batch = batch_of([0, 2], 3)
    taught = Batch(batch.images, batch.targets, teacher)
    all_teacher, all_labels = Distillation(temperature=2, alpha=1), Distillation(temperature=2, alpha=0)
    plain, balanced = distilled(all_teacher, 0.0), distilled(all_teacher, 0.0, balance)
    assert torch.equal(balanced(logits, taught), plain(logits, taught))
    alone = supervised(0.0, balance)(logits, batch)
    assert torch.equal(distilled(all_labels, 0.0, balance)(logits, taught), alone)
