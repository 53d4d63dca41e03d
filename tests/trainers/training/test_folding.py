"""Convolutions folded with their normalisations: the same function and gradients, and nothing is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augsearch.policies import Policy, Transfer
from augsearch.trainers import LabeledImages, Learner, Recipe, design, train
from augsearch.trainers.models.build import build_model
from augsearch.trainers.training.folding import foldable, folded
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.training.transfer import training_mode


def norm(channels: int) -> nn.BatchNorm2d:
    """With statistics and parameters that are no identity."""
    made = nn.BatchNorm2d(channels)
    for tensor in (made.running_mean, made.running_var, made.weight, made.bias):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.5, 1.5)
    return made


class Branches(nn.Module):
    """Convolutions that may be folded, with and without a bias, and some that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.after_plain = nn.Conv2d(3, 4, 3, bias=False), norm(4)
        self.grouped, self.after_grouped = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4), norm(4)
        self.twice, self.after_twice = nn.Conv2d(4, 4, 1), norm(4)
        self.shared, self.after_shared = nn.Conv2d(4, 4, 1), norm(4)
        self.before = norm(4)

    def forward(self, images: Tensor) -> Tensor:
        first = torch.relu(self.after_plain(self.plain(images)))
        second = self.after_grouped(self.grouped(first))
        used_elsewhere = self.twice(self.before(second))
        third = self.after_twice(used_elsewhere) + used_elsewhere
        fourth = self.after_shared(self.shared(self.after_shared(self.shared(third))))
        return fourth.mean((2, 3))


@pytest.fixture
def network() -> Branches:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Branches().double().eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 9 * 9, dtype=torch.float64).reshape(2, 3, 9, 9).sin()


def outcome(network: nn.Module) -> list[Tensor]:
    """What it says, and the gradients of everything."""
    network.zero_grad()
    images = IMAGES.clone().requires_grad_()
    logits = network(images)
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    return [logits.detach(), *(one.clone() for one in (images.grad, *gradients) if one is not None)]


def test_a_convolution_is_folded_where_its_normalisation_alone_takes_what_it_gives(network: Branches) -> None:
    pairs = foldable(network, IMAGES)
    assert pairs == [(network.plain, network.after_plain), (network.grouped, network.after_grouped)]


def test_folded_it_is_the_same_function_with_the_same_gradients(network: Branches) -> None:
    before = outcome(network)
    with folded(foldable(network, IMAGES)):
        within = outcome(network)
    assert len(before) == len(within) == 2 + len(list(network.parameters()))
    for one, other in zip(before, within, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_normalisations_are_not_computed(network: Branches, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = foldable(network, IMAGES)
    computed: list[Any] = []
    usual = nn.BatchNorm2d.forward

    def forward(self: nn.BatchNorm2d, images: Tensor) -> Tensor:
        computed.append(self)
        return usual(self, images)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", forward)
    with folded(pairs):
        network(IMAGES)
    assert computed == [network.before, network.after_twice, network.after_shared, network.after_shared]


def test_nothing_is_left_of_it(network: Branches) -> None:
    network.plain.requires_grad_(False)
    states = [dict(vars(module)) for module in network.modules()]
    names = list(network.state_dict())
    pairs = foldable(network, IMAGES)

    def stopped() -> None:
        with folded(pairs):
            network(IMAGES)
            assert list(network.state_dict()) == names
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [dict(vars(module)) for module in network.modules()] == states
    asked = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert asked == {"plain.weight"}


def test_a_kind_of_normalisation_that_nobody_knows_is_left_alone(network: Branches) -> None:
    class Another(nn.BatchNorm2d):
        pass

    network.after_plain.__class__ = Another
    assert foldable(network, IMAGES) == [(network.grouped, network.after_grouped)]


def test_what_a_network_remembers_is_not_of_the_looking() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm, self.bias = nn.Conv2d(3, 2, 1), norm(2), nn.Parameter(torch.zeros(2))
            self.remembered: Tensor | None = None

        def forward(self, images: Tensor) -> Tensor:
            self.remembered = self.bias.exp() if self.remembered is None else self.remembered
            found: Tensor = self.norm(self.convolution(images)).mean((2, 3)) + self.remembered
            return found

    made = Remembering().double().eval()
    assert foldable(made, IMAGES) == [(made.convolution, made.norm)]
    assert made.remembered is None


def test_a_convolution_that_computes_with_another_weight_is_left_alone(network: Branches) -> None:
    class Standardised(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            return self._conv_forward(images, self.weight / self.weight.std(), self.bias)

    network.plain.__class__ = Standardised
    nn.utils.parametrizations.spectral_norm(network.grouped)
    assert foldable(network, IMAGES) == []


def test_all_of_lite0_is_folded() -> None:
    spec = design(
        "lite0",
        channels=3,
        image_size=32,
        classes=("a", "b"),
        statistics=((0.5,) * 3, (0.2,) * 3),
        weights="hub",
        input_size=32,
    )
    model = build_model(spec, 0)
    training_mode(model, Transfer(mode="full"))
    pairs = foldable(model, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert len(pairs) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 49


def residual() -> nn.Module:
    """uint8 images to logits; it tells nobody whether it is folded."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm, self.classifier = nn.Conv2d(1, 4, 3), norm(4), nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.classifier(self.norm(self.convolution(images.float())).mean((2, 3)))  # type: ignore[no-any-return]

    return Network()


@pytest.mark.parametrize(
    ("transfer", "folds"), [(None, False), (Transfer(mode="head"), True), (Transfer(mode="full"), True)]
)
def test_a_training_folds_where_statistics_are_kept_and_only_within_its_epochs(
    transfer: Transfer | None, folds: bool
) -> None:
    model = residual()
    seen: list[bool] = []
    state = vars(model.norm)
    model.register_forward_hook(lambda *_: seen.append("forward" in state))
    data = LabeledImages(np.zeros((8, 9, 9, 1), np.uint8), np.arange(8) % 2, 2)
    recipe = Recipe(epochs=2, batch_size=4, precision="float32")
    cpu = torch.device("cpu")
    learner = Learner.prepare(model, recipe, transfer, cpu)
    setup = TrainingSetup(data, Policy(num_ops=0), recipe, seed=0, device=cpu)
    for _ in train(learner, setup):
        assert "forward" not in state
    steps = seen[-4:]
    assert steps == [folds] * len(steps)
