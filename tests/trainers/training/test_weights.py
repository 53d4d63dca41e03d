"""A weight an image in the loss: what it does there, in batches and mixed, and that one of all is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augsearch.policies import Distillation, Mixing, Policy
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.training.balance import balance_of
from augsearch.trainers.training.batch import Batch
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loader import batches
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.losses import Loss, distilled, supervised
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup
from tests.trainers.training.test_losses import batch_of, case, seeds, smoothings

CPU = torch.device("cpu")
COUNT = 60
LABELS = np.arange(COUNT) % 3


def losses(smoothing: float, *, weighted: bool) -> list[Loss]:
    balance = balance_of("loss", np.array([0, 0, 0, 1, 2, 3]), 4, CPU)
    distillation = Distillation(temperature=3.0, alpha=0.4)
    return [
        supervised(smoothing, weighted=weighted),
        supervised(smoothing, balance, weighted=weighted),
        distilled(distillation, smoothing, weighted=weighted),
    ]


@given(seeds, smoothings)
def test_weights_that_are_all_one_change_nothing(seed: int, smoothing: float) -> None:
    logits, batch = case(seed)
    for plain, weighted in zip(
        losses(smoothing, weighted=False), losses(smoothing, weighted=True), strict=True
    ):
        assert weighted(logits, batch).item() == pytest.approx(plain(logits, batch).item(), rel=1e-4)


@given(seeds, smoothings, st.integers(1, 5))
def test_a_weight_is_that_many_copies(seed: int, smoothing: float, times: int) -> None:
    logits, batch = case(seed, count=4)
    rows = torch.tensor([0] * times + [1, 2, 3])
    assert batch.teacher is not None
    copies = batch_of(batch.targets[rows], batch.teacher[rows])
    weights = torch.tensor([times, 1.0, 1.0, 1.0]) * 4 / (times + 3)
    heavy = batch_of(batch.targets * weights[:, None], batch.teacher)
    for plain, weighted in zip(
        losses(smoothing, weighted=False), losses(smoothing, weighted=True), strict=True
    ):
        expected = plain(logits[rows], copies).item()
        assert weighted(logits, heavy).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def setup_of(weights: Any, policy: Policy | None = None, epochs: int = 1) -> TrainingSetup:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 1), dtype=np.uint8)
    # Each image is known by its grey, so that a batch says which it has.
    images[:] = (np.arange(COUNT) * 4)[:, None, None, None]
    recipe = Recipe(epochs=epochs, batch_size=10, label_smoothing=0.1)
    data = LabeledImages(images, LABELS, 3)
    return TrainingSetup(data, policy or Policy(num_ops=0), recipe, seed=0, device=CPU, weights=weights)


def test_a_batch_has_targets_times_weights() -> None:
    weights = np.linspace(0.5, 1.5, COUNT)
    for batch in batches(setup_of(weights), 0):
        rows = batch.images[:, 0, 0, 0].long() // 4
        assert torch.allclose(batch.targets.sum(dim=1), torch.from_numpy(weights).float()[rows])
        assert torch.equal(batch.targets.argmax(dim=1), torch.from_numpy(LABELS)[rows])


def test_what_is_mixed_has_a_share_of_each_weight() -> None:
    weights = np.where(LABELS == 0, 0.5, 1.25)
    policy = Policy(num_ops=0, mixing=Mixing(kind="mixup", alpha=1.0, probability=1.0))
    for batch in batches(setup_of(weights, policy), 0):
        shares = batch.targets / torch.tensor([0.5, 1.25, 1.25])
        assert torch.allclose(shares.sum(dim=1), torch.ones(len(shares)), atol=1e-5)


def trained(setup: TrainingSetup) -> list[torch.Tensor]:
    spec = ModelSpec(
        name="tiny", channels=1, image_size=8, classes=("a", "b", "c"), mean=(120.0,), std=(70.0,)
    )
    learner = Learner.prepare(build_model(spec, 0), setup.recipe)
    list(train(learner, setup))
    return [parameter.detach().clone() for parameter in learner.model.parameters()]


def test_a_training_follows_its_weights() -> None:
    plain, ones = trained(setup_of(None)), trained(setup_of(np.ones(COUNT)))
    for first, second in zip(plain, ones, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)
    others = trained(setup_of(np.where(LABELS == 0, 2.8, 0.1)))
    assert any((first - second).abs().max() > 1e-2 for first, second in zip(plain, others, strict=True))


def test_parts_of_a_batch_have_the_weights_of_their_images() -> None:
    targets = torch.eye(3)[[0, 1, 2, 0]] * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None]
    batch = Batch(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), targets)
    parts = [part.targets.sum(dim=1).tolist() for part in batch.parts(2)]
    assert parts == [[1.0, 2.0], [3.0, 4.0]]
