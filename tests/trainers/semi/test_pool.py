"""Which unlabeled images are learned from and what of them: by plain NumPy, and by the papers' equations."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from augsearch.policies import Mixing, Policy, Semi
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.semi.fixmatch import FixMatch, aligned, class_thresholds, confident_targets
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.predictions import Predictions
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.training.losses import unsupervised

FEW = settings(max_examples=60)
seeds = st.integers(0, 2**32 - 1)
thresholds = st.floats(0, 1)


def distributions(seed: int, count: int, classes: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.3), count).astype(np.float32)


def predictions_of(probabilities: NDArray[np.float32]) -> Predictions:
    return Predictions.from_logits(np.log(probabilities + 1e-12).astype(np.float32))


def pool_of(count: int, policy: Policy | None = None, **semi: object) -> Pool:
    """Images of which every pixel is the image's number."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    data = LabeledImages(images, np.zeros(count, np.int64), 3)
    return Pool(data, technique_of(Semi.model_validate(semi)), policy or Policy(num_ops=0))


@FEW
@given(seeds, st.integers(0, 40), st.integers(2, 5), thresholds, st.sampled_from([None, 0.2, 0.5, 1.0, 3.0]))
def test_chosen_are_the_confident_and_of_each_class_the_surest_up_to_its_cap(
    seed: int, count: int, classes: int, threshold: float, cap: float | None
) -> None:
    predictions = predictions_of(distributions(seed, count, classes))
    shares = distributions(seed + 1, 1, classes)[0].astype(float)
    shares /= shares.sum()
    semi = PseudoLabels(threshold=threshold, class_cap=cap)
    wanted = []
    for label in range(classes):
        own = [
            (-float(predictions.confidence[row]), row)
            for row in range(count)
            if predictions.hard[row] == label and predictions.confidence[row] >= threshold
        ]
        most = len(own) if cap is None else int(np.ceil(cap * shares[label] * count))
        wanted += [row for _, row in sorted(own)[:most]]
    assert semi.choose(predictions, shares).tolist() == sorted(wanted)


def test_a_cap_keeps_one_class_from_swallowing_all() -> None:
    collapsed = np.full((100, 4), 0.01, np.float32)
    collapsed[:, 2] = 0.97
    semi = PseudoLabels(threshold=0.9, class_cap=1.0)
    assert len(semi.choose(predictions_of(collapsed), np.full(4, 0.25))) == 25
    without = semi.model_copy(update={"class_cap": None})
    assert len(without.choose(predictions_of(collapsed), np.full(4, 0.25))) == 100


def test_shares_are_those_of_the_labels() -> None:
    assert class_shares(np.array([0, 0, 2, 2, 2]), 4).tolist() == [0.4, 0, 0.6, 0]


def test_fixmatch_targets_are_one_hot_where_the_weak_view_is_confident() -> None:
    q = torch.tensor([[0.96, 0.04, 0.0], [0.5, 0.3, 0.2], [0.02, 0.03, 0.95], [0.0, 0.949, 0.051]])
    targets = confident_targets(q, torch.full((3,), 0.95))
    assert targets.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]


@FEW
@given(seeds, thresholds)
def test_fixmatchs_loss_is_the_papers(seed: int, threshold: float) -> None:
    """ℓ_u = 1/(μB) Σ 1(max q_b ≥ τ) H(argmax q_b, p(y | A(u_b))), arXiv:2001.07685, eq. 4."""
    rng = np.random.default_rng(seed)
    weak, strong = rng.normal(0, 3, (2, 7, 4))
    q = np.exp(weak) / np.exp(weak).sum(axis=1, keepdims=True)
    p = np.exp(strong) / np.exp(strong).sum(axis=1, keepdims=True)
    terms = [-log(p[b, q[b].argmax()]) if q[b].max() >= threshold else 0.0 for b in range(7)]
    targets = confident_targets(torch.from_numpy(q), torch.full((4,), threshold, dtype=torch.float64))
    loss = unsupervised(torch.from_numpy(strong), targets.double())
    assert float(loss) == pytest.approx(sum(terms) / 7, rel=1e-6, abs=1e-9)


def test_on_hand_made_logits() -> None:
    # q = (9/10, 1/10) and (1/2, 1/2); p = (1/4, 3/4) both times. Of two images one counts: log 4 / 2.
    q = torch.softmax(torch.tensor([[log(9.0), 0.0], [0.0, 0.0]]), dim=1)
    strong = torch.tensor([[0.0, log(3.0)], [0.0, log(3.0)]])
    loss = unsupervised(strong, confident_targets(q, torch.full((2,), 0.8)))
    assert float(loss) == pytest.approx(log(4) / 2)


@FEW
@given(seeds, st.floats(0.5, 20))
def test_a_teachers_word_gives_the_gradient_of_the_divergence(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    teacher = torch.softmax(torch.from_numpy(rng.normal(0, 3, (5, 4))) / temperature, dim=1)
    ours = torch.from_numpy(rng.normal(0, 3, (5, 4))).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    unsupervised(ours, teacher, temperature).backward()  # type: ignore[no-untyped-call]
    divergence = F.kl_div(F.log_softmax(theirs / temperature, dim=1), teacher, reduction="batchmean")
    (temperature**2 * divergence).backward()  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad)


def test_no_gradient_goes_through_targets() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.softmax(logits, dim=1)
    unsupervised(logits, targets).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    # Of cross-entropy with constant targets t it is (p − t)/B, and here p = t.
    assert torch.allclose(logits.grad, torch.zeros(4, 3), atol=1e-7)


@FEW
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=40), thresholds)
def test_flexmatchs_thresholds_are_the_papers(predicted: list[int], threshold: float) -> None:
    sigma = np.array([predicted.count(label) for label in range(4)])
    beta = sigma / max(sigma.max(), len(predicted) - sigma.sum(), 1)
    wanted = threshold * beta / (2 - beta)
    found = class_thresholds(torch.tensor(predicted), 4, threshold)
    assert found.numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def test_a_class_that_is_learned_less_has_a_lower_threshold() -> None:
    predicted = torch.tensor([0] * 8 + [1] * 4)
    # β = (1, 1/2): T = τ·(1, (1/2)/(3/2)) = τ·(1, 1/3).
    assert class_thresholds(predicted, 3, 0.9).tolist() == pytest.approx([0.9, 0.3, 0.0])


def test_alignment_lifts_the_classes_that_are_named_too_rarely() -> None:
    q = torch.tensor([[0.6, 0.4], [0.9, 0.1]])
    # Weights p/p̃ = (0.5/0.8, 0.5/0.2): (0.375, 1.0) and (0.5625, 0.25) before they are normalised.
    found = aligned(q, torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5]))
    assert found.numpy() == pytest.approx(np.array([[0.375, 1.0], [0.5625, 0.25]]) / [[1.375], [0.8125]])


@FEW
@given(seeds)
def test_alignment_changes_nothing_where_the_classes_are_named_as_often_as_they_should(seed: int) -> None:
    q = torch.from_numpy(distributions(seed, 6, 4))
    mean = q.mean(dim=0)
    assert torch.allclose(aligned(q, mean, mean), q, atol=1e-5)


def test_the_weak_view_keeps_what_changes_no_label() -> None:
    policy = Policy(
        num_ops=3, magnitude=20, crop=1.0, flip_horizontal=0.5, mixing=Mixing(kind="mixup", alpha=1.0)
    )
    assert FixMatch().weak_policy(policy) == Policy(num_ops=0, magnitude=20, crop=1.0, flip_horizontal=0.5)


def test_a_pool_begins_with_all_images_or_with_those_that_were_labeled() -> None:
    assert len(pool_of(9, technique="fixmatch").rows) == 9
    assert len(pool_of(9, technique="distillation").rows) == 9
    pool = pool_of(9, technique="pseudo", threshold=0.5)
    assert len(pool.rows) == 0
    assert pool.per_step(16, 4) == 0
    sure = np.full((3, 3), 0.05, np.float32)
    sure[[0, 1, 2], [0, 1, 1]] = 0.9
    sure[2] = [0.3, 0.4, 0.3]
    pool.relabel(np.array([2, 5, 7]), predictions_of(sure), np.full(3, 1 / 3))
    assert pool.rows.tolist() == [2, 5]
    targets = pool.targets(np.array([5, 2]))
    assert targets is not None
    assert targets.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_soft_labels_are_the_models_probabilities() -> None:
    probabilities = distributions(3, 6, 3)
    pool = pool_of(6, technique="self-training", threshold=0, labels="soft")
    pool.relabel(np.arange(6), predictions_of(probabilities), np.full(3, 1 / 3))
    targets = pool.targets(np.array([4, 0]))
    assert targets is not None
    assert targets == pytest.approx(probabilities[[4, 0]], abs=1e-5)


@pytest.mark.parametrize(
    ("ratio", "labeled", "steps", "count"),
    [(2, 16, 3, 32), (0.5, 15, 6, 8), (7, 16, 6, 17), (7, 16, 1000, 1)],
)
def test_unlabeled_images_come_up_no_more_often_than_labeled_ones(
    ratio: float, labeled: int, steps: int, count: int
) -> None:
    assert pool_of(100, technique="fixmatch", ratio=ratio).per_step(labeled, steps) == count


@FEW
@given(seeds, st.integers(1, 50), st.integers(1, 12), st.integers(1, 6))
def test_all_unlabeled_images_come_up_before_any_comes_up_again(
    seed: int, size: int, count: int, steps: int
) -> None:
    pool = pool_of(size, technique="fixmatch")
    drawn = [pool.drawn(count, epoch, steps, seed) for epoch in range(4)]
    assert all([len(step) for step in epoch] == [count] * steps for epoch in drawn)
    stream = np.concatenate([np.concatenate(epoch) for epoch in drawn])
    for start in range(0, len(stream) - size + 1, size):
        assert sorted(stream[start : start + size]) == list(range(size))
    again = pool.drawn(count, 2, steps, seed)
    assert all(np.array_equal(one, other) for one, other in zip(again, drawn[2], strict=True))
