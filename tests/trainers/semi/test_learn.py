"""Labeling a pool in rounds: when, what is said of it, and what a training makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augsearch.policies import Mixing, Policy, Semi
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Decoded, LabeledImages
from augsearch.trainers.models.build import Normalise, build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.semi.distillation import UnlabeledDistillation
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeler import (
    Labeler,
    Labeling,
    predict_in_memory,
    predictor,
    rightly_labeled,
)
from augsearch.trainers.semi.learn import labeled_until, learn
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.semi.predictions import Predictions
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.semi.self_training import SelfTraining
from augsearch.trainers.semi.technique import Technique
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult, train
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

CPU = torch.device("cpu")
PLAIN = Policy(num_ops=0)
MIXED = Policy(num_ops=1, magnitude=5, crop=0.5, mixing=Mixing(kind="cutmix"))
SHORT = Recipe(epochs=3, precision="float32", batch_size=16)
THIRDS = np.full(3, 1 / 3)
TECHNIQUES: dict[str, Technique] = {
    "pseudo": PseudoLabels(threshold=0.3),
    "pseudo, soft labels": PseudoLabels(threshold=0.3, labels="soft"),
    "pseudo of a teacher": PseudoLabels(threshold=0.3, labeler="teacher"),
    "self-training": SelfTraining(),
    "fixmatch": FixMatch(threshold=0.3),
    "fixmatch with thresholds of classes": FixMatch(threshold=0.3, per_class=True),
    "distillation": UnlabeledDistillation(),
}


def images(count: int, seed: int = 0) -> LabeledImages:
    """Images in three colours, under noise, each of them another."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    colours = np.array([[150, 60, 60], [60, 150, 60], [60, 60, 150]])[labels]
    noisy = colours[:, None, None] + rng.normal(20, 30, (count, 8, 8, 3))
    return LabeledImages(noisy.clip(0, 255).astype(np.uint8), labels, 3)


def network(seed: int = 0) -> nn.Module:
    spec = ModelSpec(
        name="tiny", channels=3, image_size=8, classes=("a", "b", "c"), mean=(100.0,) * 3, std=(50.0,) * 3
    )
    return build_model(spec, seed)


class Small(nn.Module):
    """Without statistics: what it says of an image depends on no other image."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.normalise = Normalise((100.0,) * 3, (50.0,) * 3, 8)
            self.stem = nn.Conv2d(3, 6, 4, stride=4)
            self.head = nn.Linear(24, 3)

    def forward(self, given: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.stem(self.normalise(given)).relu().flatten(1))


def predictions(*rows: tuple[int, float]) -> Predictions:
    """(class, how sure) of each image, of three classes; the rest goes to the next class."""
    labels = np.array([[label, (label + 1) % 3, (label + 2) % 3] for label, _ in rows], np.int32)
    sure = np.array([[share, 1 - share, 0] for _, share in rows], np.float32)
    return Predictions(labels, sure, 3)


def pool_of(count: int, semi: Technique, policy: Policy = PLAIN, seed: int = 9) -> Pool:
    return Pool(images(count, seed), semi, policy)


def asked(pool: Pool, truth: npt.NDArray[np.int64] | None = None) -> Labeler:
    return Labeler(lambda model, _: predict_in_memory(model, pool.images.images, CPU), THIRDS, truth)


def run(
    semi: Technique | None,
    count: int,
    learner: Learner | None = None,
    labeler: Labeler | None = None,
    recipe: Recipe = SHORT,
    policy: Policy = MIXED,
) -> tuple[list[EpochResult | Labeling], Learner]:
    learner = learner or Learner.prepare(network(), recipe)
    pool = None if semi is None else pool_of(count, semi, policy)
    if pool is not None and labeler is None:
        labeler = asked(pool)
    options: dict[str, Any] = {"seed": 0, "device": CPU, "teacher": network(1).eval()}
    events = list(
        learn(learner, TrainingSetup(images(60), policy, recipe, **options), pool=pool, labeler=labeler)
    )
    return events, learner


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, others = one.state_dict(), other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in mine.items())


@pytest.mark.parametrize(
    ("rounds", "epochs", "due"),
    [
        (1, 10, [5]),
        (3, 12, [3, 6, 9]),
        (3, 30, [7, 15, 22]),
        (3, 3, [1, 2]),
        (3, 2, [1]),
        (100, 5, [1, 2, 3, 4]),
        (3, 1, []),
    ],
)
def test_pseudo_labels_evenly_and_never_before_the_first_epoch_or_after_the_last(
    rounds: int, epochs: int, due: list[int]
) -> None:
    assert PseudoLabels(rounds=rounds).labelings(epochs) == due


@pytest.mark.parametrize("technique", ["self-training", "fixmatch", "distillation"])
def test_others_are_not_labeled_between_epochs(
    technique: Literal["self-training", "fixmatch", "distillation"],
) -> None:
    assert technique_of(Semi.model_validate({"technique": technique})).labelings(30) == []


def test_a_teacher_labels_once_before_it_begins() -> None:
    assert PseudoLabels(labeler="teacher").labelings(30) == [0]


def test_a_labeling_says_what_has_changed_since_the_one_before() -> None:
    said = iter(
        [
            # The second of five images can't be read.
            (np.array([0, 2, 3, 4]), predictions((0, 0.9), (1, 0.99), (1, 0.6), (2, 0.95))),
            (np.array([0, 2, 3, 4]), predictions((0, 0.97), (2, 0.99), (1, 0.92), (2, 0.5))),
        ]
    )
    pool = pool_of(5, PseudoLabels(threshold=0.9))
    labeler = Labeler(lambda *_: next(said), THIRDS, truth=np.array([0, 0, 1, -1, 1]))
    first = labeler.label(pool, network(), "first", after=2)
    assert (first.number, first.after) == (1, 2)
    assert first.labels.tolist() == [0, -1, 1, 1, 2]
    assert first.confidence.tolist() == pytest.approx([0.9, 0, 0.99, 0.6, 0.95])
    assert first.chosen.tolist() == [0, 2, 4]
    assert first.by_class.tolist() == first.gained.tolist() == [1, 1, 1]
    assert first.changed is None
    assert first.accuracy == pytest.approx(2 / 3)  # right, right, wrong

    second = labeler.label(pool, network(), "second", after=4)
    assert (second.number, second.after) == (2, 4)
    assert second.chosen.tolist() == pool.rows.tolist() == [0, 2, 3]
    assert second.by_class.tolist() == [1, 1, 1]
    assert second.gained.tolist() == [0, 0, 0]
    assert second.changed == pytest.approx(1 / 4)  # one of the four that can be read
    assert second.accuracy == pytest.approx(1 / 2)  # right, wrong, and one whose truth is not known


def test_classes_may_lose_what_they_had() -> None:
    said = iter([predictions((0, 1.0), (0, 1.0), (1, 1.0)), predictions((0, 1.0), (2, 1.0), (1, 0.2))])
    pool = pool_of(3, PseudoLabels(threshold=0.9))
    labeler = Labeler(lambda *_: (np.arange(3), next(said)), THIRDS)
    labeler.label(pool, network(), "first")
    second = labeler.label(pool, network(), "second")
    assert second.gained.tolist() == [-1, -1, 1]
    assert second.accuracy is None


def test_of_images_whose_truth_is_not_known_nothing_is_said() -> None:
    labels, rows = np.array([1, 1]), np.array([0, 2])
    assert rightly_labeled(labels, None, rows) is None
    assert rightly_labeled(labels, np.array([-1, 1, -1]), rows) is None
    assert rightly_labeled(labels[:0], np.array([1, 1, 1]), rows[:0]) is None
    assert rightly_labeled(labels, np.array([1, 0, -1]), rows) == 1.0


def test_what_a_model_is_asked_about_are_places_among_the_chosen(tmp_path: Path) -> None:
    data = images(12, seed=4)
    chosen = np.array([1, 4, 7, 10])
    unlabeled = Unlabeled(
        "some",
        Decoded(data.images),
        chosen,
        data.labels,
        0,
        12,
        "f",
        [str(row) for row in range(12)],
        None,
        None,
    )
    model = network()
    with LabelStore(tmp_path / "labels.db") as store:
        ask = predictor(unlabeled, CPU, store=store, prefix="a study's ")
        rows, said = ask(model, "first")
        assert rows.tolist() == [0, 1, 2, 3]
        _, expected = predict_in_memory(model, data.images[chosen], CPU)
        assert said.probabilities == pytest.approx(expected.probabilities, rel=1e-5)
        # Under its name it is known, whoever asks, and under no other.
        again, others = ask(network(5), "first")[1], ask(network(5), "second")[1]
        assert again.probabilities.tolist() == said.probabilities.tolist()
        assert others.probabilities.tolist() != said.probabilities.tolist()
        assert store.num_classes("a study's first") == 3


@pytest.mark.parametrize("name", TECHNIQUES)
def test_without_unlabeled_images_it_is_the_plain_training_to_the_last_bit(name: str) -> None:
    _, plain = run(None, 0)
    pool = pool_of(0, TECHNIQUES[name])
    learner = Learner.prepare(network(), SHORT)
    options: dict[str, Any] = {"seed": 0, "device": CPU, "teacher": network(1).eval()}
    events = list(
        learn(learner, TrainingSetup(images(60), MIXED, SHORT, **options), pool=pool, labeler=asked(pool))
    )
    assert [event.unlabeled for event in events if isinstance(event, EpochResult)] == [0, 0, 0]
    assert len(events) == 3
    assert same(learner.model, plain.model)


def test_where_the_model_is_sure_of_none_it_is_the_plain_training_to_the_last_bit() -> None:
    _, plain = run(None, 0)
    events, learner = run(PseudoLabels(threshold=1.0), 40)
    assert [event.chosen.tolist() for event in events if isinstance(event, Labeling)] == [[], []]
    assert same(learner.model, plain.model)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_the_seed_decides_what_is_learned_of_unlabeled_images_to_the_last_bit(name: str) -> None:
    events, learner = run(TECHNIQUES[name], 40)
    again, other = run(TECHNIQUES[name], 40)
    assert same(learner.model, other.model)
    assert len(events) == len(again)


@pytest.mark.parametrize("name", [name for name in TECHNIQUES if name != "self-training"])
def test_a_training_that_is_taken_up_ends_as_if_it_had_not_stopped(name: str) -> None:
    semi, recipe = TECHNIQUES[name], SHORT.model_copy(update={"epochs": 4, "ema": 0.9})
    kept: dict[str, tuple[npt.NDArray[np.int64], Predictions]] = {}

    def remembering(pool: Pool) -> Labeler:
        def ask(model: nn.Module, labeler: str) -> tuple[npt.NDArray[np.int64], Predictions]:
            if labeler not in kept:
                kept[labeler] = predict_in_memory(model, pool.images.images, CPU)
            return kept[labeler]

        return Labeler(ask, THIRDS)

    def events(learner: Learner) -> Iterator[EpochResult | Labeling]:
        pool = pool_of(40, semi, MIXED)
        options: dict[str, Any] = {"seed": 0, "device": CPU, "teacher": network(1).eval()}
        return learn(
            learner, TrainingSetup(images(60), MIXED, recipe, **options), pool=pool, labeler=remembering(pool)
        )

    def told(event: Labeling) -> tuple[object, ...]:
        return (event.number, event.after, event.labels.tolist(), event.gained.tolist(), event.changed)

    whole = Learner.prepare(network(), recipe)
    said = list(events(whole))
    labeled = [told(event) for event in said if isinstance(event, Labeling)]
    for stop in range(1, len(said)):
        kept.clear()
        learner = Learner.prepare(network(), recipe)
        running = events(learner)
        state = learner.state_dict()
        for _ in range(stop):
            if isinstance(next(running), EpochResult):
                state = _copied(learner.state_dict())
        taken_up = Learner.prepare(network(), recipe)
        taken_up.load_state_dict(state)
        again = list(events(taken_up))
        assert same(taken_up.model, whole.model)
        assert same(taken_up.best, whole.best)
        assert [told(event) for event in again if isinstance(event, Labeling)] == labeled


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list) else state


def test_labelings_from_before_are_those_up_to_where_a_learner_stands() -> None:
    semi, recipe = PseudoLabels(), Recipe(epochs=12)
    learner = Learner.prepare(network(), recipe)
    setup = TrainingSetup(images(60), MIXED, recipe, seed=0, device=CPU)
    for epoch, due in ((0, []), (2, []), (3, [3]), (5, [3]), (6, [3, 6]), (12, [3, 6, 9])):
        learner.epoch = epoch
        pool = pool_of(8, semi)
        said = labeled_until(learner, setup, pool, asked(pool))
        assert [labeling.after for labeling in said] == due
    assert list(labeled_until(learner, setup, None, None)) == []


class Spied(Small):
    """Remembers, of the last step, what it was given in which mode, and its weights until then."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Tensor, bool, bool, dict[str, Tensor]]] = []

    def forward(self, given: Tensor) -> Tensor:
        """Logits."""
        self.steps.append(
            (given.clone(), self.training, torch.is_grad_enabled(), _copied(dict(self.state_dict())))
        )
        return super().forward(given)


@pytest.mark.parametrize("technique", ["fixmatch", "distillation"])
def test_no_gradient_goes_through_what_is_to_be_learned(
    technique: Literal["fixmatch", "distillation"],
) -> None:
    data, recipe = images(30), Recipe(epochs=1, precision="float32", batch_size=8)
    fields = {"technique": technique, "threshold": 0.0, "weight": 3.0, "ratio": 2, "temperature": 2.0}
    semi = technique_of(Semi.model_validate(fields))
    model, teacher = Spied(), Small(3).eval()
    learner = Learner.prepare(model, recipe)
    setup = TrainingSetup(data, PLAIN, recipe, seed=0, device=CPU, teacher=teacher)
    (epoch,) = train(learner, setup, pool_of(50, semi))
    steps = len(data.labels) // 8
    beside = epoch.unlabeled // steps
    assert all(parameter.grad is None for parameter in teacher.parameters())
    given, training, with_gradient, weights = model.steps[-1]
    assert training
    assert with_gradient
    if technique == "fixmatch":
        weak, training, with_gradient, before = model.steps[-2]
        assert len(model.steps) == 2 * steps
        assert not training
        assert not with_gradient
        assert all(torch.equal(before[name], tensor) for name, tensor in weights.items())
        # Nothing is done to these images: the weak view is the other one.
        assert torch.equal(weak, given[8:])

    by_hand = Small()
    by_hand.load_state_dict(weights)
    others = given[8:]
    assert len(others) == beside > 0
    labels = torch.tensor([_label(data, one) for one in given[:8]])
    logits = by_hand(others)
    if technique == "fixmatch":
        constant, temperature = F.one_hot(by_hand(others).detach().argmax(1), 3).float(), 1.0
    else:
        constant, temperature = torch.softmax(teacher(others).detach() / 2, dim=1), 2.0
    entropy = -(constant * F.log_softmax(logits / temperature, dim=1)).sum(1).mean() * temperature**2
    smoothing = recipe.label_smoothing
    loss = F.cross_entropy(by_hand(given[:8]), labels, label_smoothing=smoothing) + 3.0 * entropy
    loss.backward()
    for mine, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def _label(data: LabeledImages, image: Tensor) -> int:
    pixels = image.permute(1, 2, 0).numpy()
    (row,) = np.flatnonzero((data.images == pixels).all(axis=(1, 2, 3)))
    return int(data.labels[row])
