"""Losses: what they are by hand, by NumPy and by torch, and where their gradients go."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from augsearch.policies import Distillation
from augsearch.trainers.losses import Batch, Loss, distilled, supervised

FEW = settings(max_examples=50, deadline=None)

seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1)
smoothings = st.floats(0, 0.9)
temperatures = st.floats(0.5, 50)


def distributions(rng: np.random.Generator, count: int, classes: int) -> Tensor:
    return torch.from_numpy(rng.dirichlet(np.ones(classes), count).astype(np.float32))


def normals(rng: np.random.Generator, count: int, classes: int, scale: float = 3.0) -> Tensor:
    return torch.from_numpy(rng.normal(0, scale, (count, classes)).astype(np.float32))


def batch_of(targets: Tensor, teacher: Tensor | None = None) -> Batch:
    """A batch whose images no loss should look at."""
    return Batch(torch.zeros(len(targets), 1, 1, 1, dtype=torch.uint8), targets, teacher)


def case(seed: int, count: int = 6, classes: int = 4) -> tuple[Tensor, Batch]:
    rng = np.random.default_rng(seed)
    batch = batch_of(distributions(rng, count, classes), distributions(rng, count, classes))
    return normals(rng, count, classes), batch


def gradient(loss: Loss, logits: Tensor, batch: Batch) -> Tensor:
    leaf = logits.clone().requires_grad_()
    loss(leaf, batch).backward()
    assert leaf.grad is not None
    return leaf.grad


def test_supervised_is_the_mean_negative_log_probability_of_the_label() -> None:
    # Probabilities (1/4, 3/4) and (1/2, 1/2).
    logits = torch.tensor([[0.0, log(3)], [5.0, 5.0]])
    batch = batch_of(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert supervised(0.0)(logits, batch).item() == pytest.approx((log(4) + log(2)) / 2)


def test_distillation_equals_a_case_worked_by_hand() -> None:
    # At T = 2 the student says (1/4, 3/4), the teacher (1/2, 1/2): KL = ½·ln 2 + ½·ln ⅔ = ½·ln 4/3.
    # At T = 1 the student says (1/10, 9/10), and the label is the first class: CE = ln 10.
    logits = torch.tensor([[0.0, 2 * log(3)]])
    batch = batch_of(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
    loss = distilled(Distillation(temperature=2, alpha=0.25), 0.0)(logits, batch)
    assert loss.item() == pytest.approx(0.25 * 4 * 0.5 * log(4 / 3) + 0.75 * log(10))


@FEW
@given(seeds, temperatures, shares, smoothings)
def test_distillation_is_the_weighted_sum_of_its_two_parts(
    seed: int, temperature: float, alpha: float, smoothing: float
) -> None:
    logits, batch = case(seed)
    loss = distilled(Distillation(temperature=temperature, alpha=alpha), smoothing)(logits, batch)

    assert batch.teacher is not None
    teacher = batch.teacher.double()
    divergence = (teacher * (teacher.log() - (logits.double() / temperature).log_softmax(1))).sum(1).mean()
    hard = F.cross_entropy(logits.double(), batch.targets.double(), label_smoothing=smoothing)
    expected = alpha * temperature**2 * divergence + (1 - alpha) * hard
    # float32 leaves an error of about 1e-7 in a divergence that T² then multiplies.
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6 * temperature**2)


@FEW
@given(seeds, temperatures, smoothings)
def test_alpha_0_listens_to_the_labels_alone(seed: int, temperature: float, smoothing: float) -> None:
    logits, batch = case(seed)
    deaf = distilled(Distillation(temperature=temperature, alpha=0), smoothing)
    torch.testing.assert_close(deaf(logits, batch), supervised(smoothing)(logits, batch))
    torch.testing.assert_close(
        gradient(deaf, logits, batch), gradient(supervised(smoothing), logits, batch), rtol=0, atol=0
    )


@FEW
@given(seeds, temperatures, smoothings)
def test_alpha_1_listens_to_the_teacher_alone(seed: int, temperature: float, smoothing: float) -> None:
    logits, batch = case(seed)
    other_labels = batch_of(batch.targets.flip(0, 1), batch.teacher)
    loss = distilled(Distillation(temperature=temperature, alpha=1), smoothing)
    assert loss(logits, batch) == loss(logits, other_labels)


@FEW
@given(seeds, temperatures)
def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn_from_it(
    seed: int, temperature: float
) -> None:
    logits, batch = case(seed)
    agreeing = batch_of(batch.targets, (logits / temperature).softmax(1))
    loss = distilled(Distillation(temperature=temperature, alpha=1), 0.0)
    assert abs(loss(logits, agreeing).item()) < 1e-6 * temperature**2
    assert gradient(loss, logits, agreeing).abs().max() < 1e-6 * temperature


def test_the_teachers_pull_does_not_change_size_with_the_temperature() -> None:
    rng = np.random.default_rng(0)
    student, teacher = normals(rng, 32, 10, 0.05), normals(rng, 32, 10, 0.05)

    def pull(temperature: float) -> float:
        batch = batch_of(torch.eye(10)[torch.arange(32) % 10], (teacher / temperature).softmax(1))
        loss = distilled(Distillation(temperature=temperature, alpha=1), 0.0)
        return gradient(loss, student, batch).norm().item()

    for temperature in (2, 5, 20):
        assert pull(temperature) == pytest.approx(pull(1), rel=0.03)
    # And that size is (z − v) / (N·K), Hinton's equation 4.
    by_hand = ((student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))) / 320
    assert pull(20) == pytest.approx(by_hand.norm().item(), rel=0.03)


def test_no_gradient_reaches_the_teacher() -> None:
    logits, batch = case(0)
    assert batch.teacher is not None
    teacher = batch.teacher.clone().requires_grad_()
    student = logits.clone().requires_grad_()
    loss = distilled(Distillation(temperature=4, alpha=0.5), 0.1)
    loss(student, batch_of(batch.targets, teacher)).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_distillation_without_a_teacher_is_refused() -> None:
    logits, batch = case(0)
    with pytest.raises(ValueError, match="needs a batch with the teacher's probabilities"):
        distilled(Distillation(temperature=4, alpha=0.5), 0.0)(logits, batch_of(batch.targets))


@FEW
@given(seeds, smoothings)
def test_label_smoothing_is_torchs(seed: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = normals(rng, 7, 5), torch.from_numpy(rng.integers(5, size=7))
    # torch takes class numbers on a path of their own.
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(supervised(smoothing)(logits, batch_of(torch.eye(5)[labels])), expected)


@FEW
@given(seeds, shares, smoothings)
def test_a_mixed_label_costs_what_its_parts_cost(seed: int, share: float, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    logits = normals(rng, 7, 5)
    own, other = (torch.eye(5)[torch.from_numpy(rng.integers(5, size=7))] for _ in range(2))
    loss = supervised(smoothing)
    mixed = loss(logits, batch_of(share * own + (1 - share) * other))
    parts = share * loss(logits, batch_of(own)) + (1 - share) * loss(logits, batch_of(other))
    torch.testing.assert_close(mixed, parts, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "loss", [supervised(0.1), distilled(Distillation(temperature=3, alpha=0.7), 0.1)], ids=["hard", "soft"]
)
def test_a_loss_is_a_mean_so_that_the_batch_size_does_not_matter(loss: Loss) -> None:
    logits, batch = case(1)
    assert batch.teacher is not None
    twice = batch_of(batch.targets.repeat(2, 1), batch.teacher.repeat(2, 1))
    torch.testing.assert_close(loss(logits.repeat(2, 1), twice), loss(logits, batch))
