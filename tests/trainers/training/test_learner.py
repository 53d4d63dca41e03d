"""A learner: what it starts with, what it averages, and that it goes on where it was kept."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augsearch.policies import Distillation, Mixing, Policy, Transfer
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.models.build import Normalise
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult, train
from augsearch.trainers.training.optimizers import Muon
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

CPU = torch.device("cpu")
POLICY = Policy(num_ops=2, magnitude=9, crop=0.5, mixing=Mixing(kind="mixup", probability=0.7))
FULL = Transfer(mode="full", backbone_lr_scale=0.5, layer_decay=0.8)


class Network(nn.Module):
    """Statistics, dropout, a convolution for Muon and a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((100.0,) * 3, (60.0,) * 3, 12)
        self.stem = nn.Conv2d(3, 8, 4, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(72, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        stem = self.norm(self.stem(self.normalise(images))).relu()
        return self.head(self.drop(self.body(stem).relu().flatten(1)))


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network()


def noise(count: int = 36) -> LabeledImages:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)
    teacher = rng.normal(size=(count, 3)).astype(np.float32)
    return LabeledImages(images, np.arange(count) % 3, 3, teacher)


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit, all the way down."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def kept(learner: Learner) -> bytes:
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    return file.getvalue()


def told(epoch: EpochResult) -> tuple[Any, ...]:
    """All that an epoch says but how long it took."""
    return epoch.epoch, epoch.loss, epoch.learning_rate, epoch.rates, epoch.images, epoch.accumulation


CASES: dict[str, tuple[dict[str, Any], Transfer | None, Distillation | None]] = {
    "from scratch": ({}, None, None),
    "averaged, in parts": ({"ema": 0.6, "accumulation": 2}, None, None),
    "all of the weights": ({"ema": 0.9}, FULL, None),
    "the last layer": ({}, Transfer(mode="head"), None),
    "float16": ({"precision": "float16"}, None, None),
    "the teacher on the same view": ({}, None, Distillation(temperature=3, alpha=0.5)),
    "the teacher on the clean view": (
        {"accumulation": 3},
        FULL,
        Distillation(temperature=3, alpha=0.5, teacher_view="clean"),
    ),
}


@pytest.mark.parametrize(("settings", "transfer", "distillation"), CASES.values(), ids=CASES.keys())
def test_a_training_taken_up_again_is_the_training_that_never_stopped(
    settings: dict[str, Any], transfer: Transfer | None, distillation: Distillation | None
) -> None:
    recipe = Recipe(epochs=4, batch_size=6, **settings)
    teacher = network(5).eval()

    def prepared(seed: int) -> tuple[Learner, Any]:
        learner = Learner.prepare(network(seed), recipe, transfer)
        training = train(
            learner,
            TrainingSetup(
                noise(), POLICY, recipe, seed=4, device=CPU, distillation=distillation, teacher=teacher
            ),
        )
        return learner, training

    learner, training = prepared(0)
    states, epochs = [], []
    for epoch in training:
        states.append(kept(learner))
        epochs.append(told(epoch))
    for done, state in enumerate(states, start=1):
        # Of other weights, in between which anything may happen to everybody's generator.
        again, rest = prepared(100 + done)
        torch.rand(done)
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert again.epoch == done
        assert [told(epoch) for epoch in rest] == epochs[done:]
        assert same(again.state_dict(), learner.state_dict())
        assert same(again.best.state_dict(), learner.best.state_dict())


def test_a_state_says_everything_that_changes() -> None:
    recipe = Recipe(epochs=2, batch_size=6, ema=0.5)
    learner = Learner.prepare(network(0), recipe)
    before = torch.load(io.BytesIO(kept(learner)), weights_only=True)
    learner.accumulation = 2
    for _ in train(learner, TrainingSetup(noise(), POLICY, recipe, seed=0, device=CPU)):
        pass
    after = learner.state_dict()
    assert {key for key in after if not same(after[key], before[key])} == {
        "model",
        "optimizers",
        "average",
        "accumulation",
        "epoch",
    }
    assert (after["epoch"], after["accumulation"]) == (2, 2)
    again = Learner.prepare(network(1), recipe)
    again.load_state_dict(after)
    assert (again.epoch, again.accumulation) == (2, 2)


@pytest.mark.parametrize(("before", "now"), [("float32", "float16"), ("float16", "float32")])
def test_a_training_goes_on_in_another_precision(before: Any, now: Any) -> None:
    one = Learner.prepare(network(0), Recipe(precision=before))
    one.epoch = 1
    other = Learner.prepare(network(1), Recipe(precision=now))
    fresh = dict(other.scaler.state_dict())
    other.load_state_dict(torch.load(io.BytesIO(kept(one)), weights_only=True))
    assert other.epoch == 1
    assert same(other.model.state_dict(), one.model.state_dict())
    assert other.scaler.state_dict() == fresh


def test_a_finished_training_has_nothing_left() -> None:
    recipe = Recipe(epochs=1)
    learner = Learner.prepare(network(0), recipe)
    learner.epoch = 1
    before = kept(learner)
    assert list(train(learner, TrainingSetup(noise(), POLICY, recipe, seed=0, device=CPU))) == []
    assert kept(learner) == before


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_the_average_is_the_exponential_one_of_weights_and_statistics_after_every_step(decay: float) -> None:
    recipe = Recipe(epochs=2, batch_size=6, ema=decay, precision="float32")
    learner = Learner.prepare(network(0), recipe)
    steps: list[dict[str, Tensor]] = []

    def note(*_: Any) -> None:
        state = learner.model.state_dict()
        steps.append({name: tensor.double() for name, tensor in state.items() if tensor.is_floating_point()})

    learner.optimizers[-1].register_step_post_hook(note)
    for _ in train(learner, TrainingSetup(noise(), POLICY, recipe, seed=0, device=CPU)):
        pass
    assert len(steps) == 12
    expected = steps[0]
    for step in steps[1:]:
        expected = {name: decay * expected[name] + (1 - decay) * tensor for name, tensor in step.items()}
    found = learner.best.state_dict()
    assert learner.best is not learner.model
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name].double(), tensor, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(found[name], tensor) for name, tensor in learner.model.state_dict().items())


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.9999])
def test_whole_numbers_are_not_averaged(decay: float) -> None:
    model = network(0)
    index, known = torch.arange(300), torch.arange(5) > 2
    model.register_buffer("index", index.clone())
    model.register_buffer("known", known.clone())
    average = Learner.prepare(model, Recipe(ema=decay)).average
    assert average is not None
    for _ in range(20):
        average.update_parameters(model)
    kept = dict(average.module.named_buffers())
    assert torch.equal(kept["index"], index)
    assert torch.equal(kept["known"], known)


def test_an_average_changes_nothing_about_the_training() -> None:
    found = []
    for ema in (None, 0.9):
        recipe = Recipe(epochs=2, batch_size=6, ema=ema)
        learner = Learner.prepare(network(0), recipe)
        losses = [
            epoch.loss for epoch in train(learner, TrainingSetup(noise(), POLICY, recipe, seed=0, device=CPU))
        ]
        found.append((losses, learner.model.state_dict()))
    assert same(*found)


def test_without_an_average_the_network_itself_is_kept() -> None:
    model = network(0)
    learner = Learner.prepare(model, Recipe())
    assert learner.average is None
    assert learner.best is learner.forward is learner.model is model


def test_gradients_go_through_what_shares_them() -> None:
    learner = Learner.prepare(network(0), Recipe(epochs=1))
    learner.parallel = wrapped = nn.Sequential(learner.model)
    calls: list[int] = []
    wrapped.register_forward_pre_hook(lambda *_: calls.append(1))
    list(train(learner, TrainingSetup(noise(), POLICY, Recipe(epochs=1), seed=0, device=CPU)))
    assert len(calls) == 4
    assert learner.best is learner.model


def test_a_learner_starts_as_the_recipe_says() -> None:
    recipe = Recipe(learning_rate=0.04, weight_decay=0.3, momentum=0.7, accumulation=5, precision="bfloat16")
    learner = Learner.prepare(network(0), recipe)
    muon, adamw = learner.optimizers
    assert isinstance(muon, Muon)
    assert (muon.param_groups[0]["momentum"], muon.param_groups[0]["weight_decay"]) == (0.7, 0.3)
    assert learner.full_rates == [[0.04], [0.02]]
    assert learner.rates() == {"convolutions": 0.04, "other": 0.02}
    assert isinstance(adamw, torch.optim.AdamW)
    assert (learner.accumulation, learner.epoch, learner.precision) == (5, 0, torch.bfloat16)
    assert not learner.scaler.is_enabled()
    assert Learner.prepare(network(0), Recipe(precision="float16")).scaler.is_enabled()


def test_only_what_learns_is_given_to_an_optimizer_and_has_gradients() -> None:
    model = network(0)
    learner = Learner.prepare(model, Recipe(), Transfer(mode="head"))
    groups = chain.from_iterable(one.param_groups for one in learner.optimizers)
    given = {id(weight) for group in groups for weight in group["params"]}
    assert given == {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == {
        "head.weight",
        "head.bias",
    }
    assert learner.rates() == {"head": 0.002}
