"""Losses: what they are by hand, by NumPy and by torch, and where their gradients go."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from augsearch.policies import Distillation
from augsearch.trainers.training.batch import Batch
from augsearch.trainers.training.losses import Loss, distilled, softened, supervised

FEW = settings(max_examples=50)

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
@given(seeds, temperatures, shares, smoothings)
def test_distillation_and_its_gradient_are_what_torchs_own_losses_make(
    seed: int, temperature: float, alpha: float, smoothing: float
) -> None:
    rng = np.random.default_rng(seed)
    logits, teacher = normals(rng, 6, 4), normals(rng, 6, 4)
    labels = torch.from_numpy(rng.integers(4, size=6))
    divergence = nn.KLDivLoss(reduction="batchmean", log_target=True)
    cross_entropy = nn.CrossEntropyLoss(label_smoothing=smoothing)

    def by_torch(student: Tensor, _: Batch) -> Tensor:
        soft = divergence((student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1))
        return alpha * temperature * temperature * soft + (1 - alpha) * cross_entropy(student, labels)

    batch = batch_of(torch.eye(4)[labels], softened(teacher, temperature))
    loss = distilled(Distillation(temperature=temperature, alpha=alpha), smoothing)
    slack = 1e-6 * max(temperature, 1) ** 2
    torch.testing.assert_close(loss(logits, batch), by_torch(logits, batch), rtol=1e-4, atol=slack)
    torch.testing.assert_close(
        gradient(loss, logits, batch), gradient(by_torch, logits, batch), rtol=1e-3, atol=slack
    )


@FEW
@given(seeds, temperatures, smoothings)
def test_alpha_0_listens_to_the_labels_alone_to_the_last_bit(
    seed: int, temperature: float, smoothing: float
) -> None:
    logits, batch = case(seed)
    deaf = distilled(Distillation(temperature=temperature, alpha=0), smoothing)
    assert torch.equal(deaf(logits, batch), supervised(smoothing)(logits, batch))
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


@FEW
@given(seeds, st.floats(0.1, 3))
def test_at_high_temperatures_the_gradient_matches_centred_logits(seed: int, scale: float) -> None:
    """Hinton's equation 4: (z − v) / (N·K) for logits whose mean is 0, times T² · 1/T² = 1."""
    rng = np.random.default_rng(seed)
    student, teacher = (normals(rng, 6, 5, scale).double() for _ in range(2))
    student, teacher = (each - each.mean(1, keepdim=True) for each in (student, teacher))
    batch = batch_of(torch.eye(5)[torch.arange(6) % 5].double(), (teacher / 100).softmax(1))
    pulled = gradient(distilled(Distillation(temperature=100, alpha=1), 0.0), student, batch)
    # What is left out is of order (z / T)².
    atol = (scale * 5) ** 2 / 100 / 30
    torch.testing.assert_close(pulled, (student - teacher) / 30, rtol=0, atol=atol)


def test_the_pull_on_confident_logits_stays_within_twice_its_size() -> None:
    rng = np.random.default_rng(3)
    student, teacher = normals(rng, 64, 10), normals(rng, 64, 10)

    def pull(temperature: float) -> float:
        batch = batch_of(torch.eye(10)[torch.arange(64) % 10], softened(teacher, temperature))
        loss = distilled(Distillation(temperature=temperature, alpha=1), 0.0)
        return gradient(loss, student, batch).norm().item()

    # Without T² it would fall four-hundredfold from the first to the last.
    pulls = [pull(temperature) for temperature in range(1, 21)]
    assert max(pulls) < 2 * min(pulls)


@FEW
@given(seeds, temperatures)
def test_softened_logits_are_probabilities_at_the_temperature(seed: int, temperature: float) -> None:
    logits = normals(np.random.default_rng(seed), 6, 4)
    logits.requires_grad_()
    soft = softened(logits.bfloat16(), temperature)
    assert soft.dtype == torch.float32
    assert not soft.requires_grad
    powers = (logits.detach().bfloat16().double() / temperature).exp()
    torch.testing.assert_close(soft.double(), powers / powers.sum(1, keepdim=True), rtol=1e-5, atol=1e-7)


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


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(("count", "parts"), [(8, 1), (8, 4), (10, 4), (9, 2), (3, 7), (1, 2)])
def test_the_parts_of_a_batch_are_the_batch_and_differ_by_one_image_at_most(
    count: int, parts: int, heard: bool
) -> None:
    logits, whole = case(2, count)
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    batch = Batch(images, whole.targets, whole.teacher if heard else None)
    found = list(batch.parts(parts))
    sizes = [len(part.images) for part in found]
    assert len(found) == min(parts, count)
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([part.images for part in found]), images)
    assert torch.equal(torch.cat([part.targets for part in found]), whole.targets)
    if heard:
        assert whole.teacher is not None
        teachers = [part.teacher for part in found if part.teacher is not None]
        assert torch.equal(torch.cat(teachers), whole.teacher)
    else:
        assert {part.teacher for part in found} == {None}
    # The mean over the batch is that of its parts, weighted by their sizes.
    loss = distilled(Distillation(temperature=3, alpha=0.7), 0.1) if heard else supervised(0.1)
    weighted = sum(
        loss(own, part) * len(own) / count for own, part in zip(logits.split(sizes), found, strict=True)
    )
    torch.testing.assert_close(weighted, loss(logits, batch))
