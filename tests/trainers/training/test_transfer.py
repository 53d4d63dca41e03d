"""Transfer: what learns, how fast at every step, and that nothing else moves by a bit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augsearch.policies import Mixing, Policy, Transfer, UserError
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.models.build import Normalise, build_model, design, plain
from augsearch.trainers.models.layers import head_of, heads_of, layers_of
from augsearch.trainers.models.weights import load_weights
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.recipe import Recipe, one_cycle
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.training.transfer import freeze, parameter_groups, training_mode

CPU = torch.device("cpu")
GREY = ((120.0,) * 3, (60.0,) * 3)
HEAD, FULL = Transfer(mode="head"), Transfer(mode="full", backbone_lr_scale=0.5, layer_decay=0.8)
POLICY = Policy(num_ops=1, magnitude=9, mixing=Mixing(kind="cutmix"))


NETWORKS = [
    "tiny",
    "torchvision:resnet18",
    "torchvision:mobilenet_v3_small",
    "torchvision:squeezenet1_1",
    "timm:test_resnet",
    "timm:test_vit",
]


def built(name: str, side: int = 32) -> nn.Module:
    spec = design(name, channels=3, image_size=side, classes=("a", "b", "c"), statistics=GREY)
    return build_model(spec, seed=1)


def noise(count: int = 8, side: int = 32) -> LabeledImages:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return LabeledImages(images, np.arange(count) % 3, 3)


class Dropping(nn.Module):
    """A network with dropout in its backbone, and with statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(*GREY, 8)
        self.stem = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(54, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.drop(self.norm(self.stem(self.normalise(images))).relu().flatten(1)))


def dropping() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Dropping()


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def statistics_of(model: nn.Module) -> set[str]:
    return {name for name in model.state_dict() if "running_" in name or name.endswith("tracked")}


def parameters_of(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def run(model: nn.Module, transfer: Transfer | None, data: LabeledImages, **recipe: Any) -> Learner:
    settings = Recipe(epochs=2, batch_size=8, **recipe)
    learner = Learner.prepare(model, settings, transfer)
    for _ in train(learner, TrainingSetup(data, POLICY, settings, seed=0, device=CPU)):
        pass
    return learner


@pytest.mark.parametrize("name", [*NETWORKS, "dropping"])
def test_head_changes_the_last_layer_and_leaves_everything_else_to_the_last_bit(name: str) -> None:
    model = dropping() if name == "dropping" else built(name)
    # As it begins in earnest: with a new last layer, which must be able to learn.
    load_weights(plain(model), plain(model).state_dict(), keep_head=False, where="itself")
    before = copied(model)
    head, layer = head_of(model)
    learner = run(model, HEAD, noise(), ema=0.5)
    expected = {f"{head}.{own}" for own, _ in layer.named_parameters()}
    assert changed(model, before) == expected
    # What is kept of the average is as frozen.
    assert changed(learner.best, before) == expected


@pytest.mark.parametrize("name", ["tiny", "torchvision:resnet18", "dropping"])
def test_full_changes_every_weight_and_no_statistic(name: str) -> None:
    model = dropping() if name == "dropping" else built(name)
    before = copied(model)
    assert statistics_of(model)
    run(model, FULL, noise(), learning_rate=0.01)
    assert changed(model, before) == parameters_of(model)


def test_a_network_from_scratch_does_learn_statistics() -> None:
    model = dropping()
    before = copied(model)
    run(model, None, noise())
    assert statistics_of(model) <= changed(model, before)


def test_a_frozen_backbone_has_no_dropout() -> None:
    model = dropping()
    images = torch.from_numpy(noise(side=8).images).permute(0, 3, 1, 2)
    model.eval()
    with torch.no_grad():
        calm = model(images)
        training_mode(model, HEAD)
        assert torch.equal(model(images), calm)
        training_mode(model, FULL)
        assert not torch.equal(model(images), model(images))


def test_modes_follow_what_learns() -> None:
    model = dropping()

    def training(transfer: Transfer | None) -> set[str]:
        training_mode(model, transfer)
        return {name for name, module in model.named_modules() if module.training and name}

    everything = {"normalise", "stem", "norm", "drop", "head"}
    assert training(None) == everything
    assert training(FULL) == everything - {"norm"}
    assert training(HEAD) == {"head"}
    assert training(None) == everything


def test_freezing_is_for_gradients_and_can_be_taken_back() -> None:
    model = dropping()

    def learning() -> set[str]:
        return {name for name, weight in model.named_parameters() if weight.requires_grad}

    freeze(model, HEAD)
    assert learning() == {"head.weight", "head.bias"}
    model(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).sum().backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == learning()
    freeze(model, FULL)
    assert learning() == parameters_of(model)
    freeze(model, HEAD)
    freeze(model, None)
    assert learning() == {"head.weight", "head.bias"}


@pytest.mark.parametrize("name", ["tiny", "torchvision:resnet18", "timm:test_vit"])
@pytest.mark.parametrize(("scale", "decay"), [(0.1, 1.0), (0.5, 0.6)])
def test_every_layer_learns_at_its_rate_at_every_step(name: str, scale: float, decay: float) -> None:
    model, data = built(name), noise(16)
    transfer = Transfer(mode="full", backbone_lr_scale=scale, layer_decay=decay)
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=0.004, warm_up=0.3)
    learner = Learner.prepare(model, recipe, transfer)
    (optimizer,) = learner.optimizers
    used: list[dict[int, float]] = []

    def spy(stepped: torch.optim.Optimizer, *_: Any) -> None:
        used.append({id(weight): group["lr"] for group in stepped.param_groups for weight in group["params"]})
        for weight in model.parameters():  # so that only the schedule is run
            weight.grad = None

    optimizer.register_step_pre_hook(spy)
    epochs = list(train(learner, TrainingSetup(data, POLICY, recipe, seed=0, device=CPU)))

    _, head = head_of(model)
    layers = layers_of(model)
    shares = {id(weight): 1.0 for weight in head.parameters()}
    for depth, (_, weights) in enumerate(layers, start=1):
        shares |= {id(weight): scale * decay ** (len(layers) - depth) for weight in weights}
    assert shares.keys() == {id(weight) for weight in model.parameters()}
    assert len(used) == 4
    for step, rates in enumerate(used):
        factor = one_cycle(step / 4, 0.3)
        assert rates == pytest.approx({weight: 0.004 * factor * share for weight, share in shares.items()})
    for epoch, step in zip(epochs, (1, 3), strict=True):
        last = {depth: name for depth, (name, _) in enumerate(layers, start=1)}
        expected = {head_of(model)[0]: 0.004 * one_cycle(step / 4, 0.3)}
        for depth, layer in last.items():
            share = scale * decay ** (len(layers) - depth)
            expected[layer] = 0.004 * one_cycle(step / 4, 0.3) * share
        assert epoch.rates == pytest.approx(expected)
        assert epoch.learning_rate == max(epoch.rates.values())


def run_order(model: nn.Module) -> dict[int, int]:
    """When each parameter's own module first runs, by the parameter's id."""
    order: dict[int, int] = {}

    def note(module: nn.Module, *_: Any) -> None:
        for weight in module.parameters(recurse=False):
            order.setdefault(id(weight), len(order))

    hooks = [
        module.register_forward_pre_hook(note) for module in model.modules() if not list(module.children())
    ]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    return order


@pytest.mark.parametrize("name", [*NETWORKS, "timm:test_convnext", "timm:test_efficientnet"])
def test_layers_have_every_weight_once_in_the_order_in_which_they_run(name: str) -> None:
    model = built(name)
    layers = layers_of(model)
    _, head = head_of(model)
    found = [id(weight) for _, weights in layers for weight in weights]
    assert len(found) == len(set(found))
    of_head = {id(weight) for weight in head.parameters()}
    assert set(found) == {id(weight) for weight in model.parameters()} - of_head
    assert len({name for name, _ in layers}) == len(layers)
    order = run_order(model)
    spans = [[order[id(weight)] for weight in weights if id(weight) in order] for _, weights in layers]
    # Of a layer that has only free parameters, such as a class token, no module runs.
    spans = [span for span in spans if span]
    assert len(spans) >= 4
    assert all(max(before) < min(after) for before, after in pairwise(spans))


def test_a_layer_is_a_block_or_a_convolution_with_its_normalisation() -> None:
    assert [name for name, _ in layers_of(built("torchvision:resnet18"))] == [
        "network.conv1",
        *(f"network.layer{stage}.{block}" for stage in range(1, 5) for block in range(2)),
    ]
    (first, weights), *_ = layers_of(built("tiny"))
    assert first == "1"
    assert [weight.ndim for weight in weights] == [4, 1, 1]


class Sharing(nn.Module):
    """Two blocks with one bias in common, as some transformers share their position embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.blocks[2].bias = self.blocks[0].bias
        self.head = nn.Linear(4, 2)


def test_what_layers_share_belongs_to_the_first_of_them() -> None:
    model = Sharing()
    layers = layers_of(model)
    assert [(name, len(weights)) for name, weights in layers] == [
        ("blocks.0", 2),
        ("blocks.1", 2),
        ("blocks.2", 1),
    ]
    Learner.prepare(model, Recipe(), FULL)


def test_groups_go_from_the_last_layer_to_the_first() -> None:
    model = built("tiny")
    groups = parameter_groups(model, FULL)
    assert [group.name for group in groups[1:]] == [name for name, _ in reversed(layers_of(model))]
    assert [group.lr_scale for group in groups] == pytest.approx(
        [1.0, *(0.5 * 0.8**up for up in range(len(groups) - 1))]
    )
    (head,) = parameter_groups(model, Transfer(mode="head", backbone_lr_scale=0.5))
    assert (head.name, head.lr_scale) == (head_of(model)[0], 1.0)
    assert head.parameters == list(head_of(model)[1].parameters())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        pytest.param("torchvision:resnet18", "network.fc", id="linear"),
        pytest.param("torchvision:squeezenet1_1", "network.classifier.1", id="convolution"),
        pytest.param("torchvision:mobilenet_v3_small", "network.classifier.3", id="after another linear"),
    ],
)
def test_the_head_is_the_layer_that_speaks_of_classes(name: str, head: str) -> None:
    found, layer = head_of(built(name))
    assert found == head
    assert len(layer.weight) == 3


def test_a_network_without_a_last_layer_is_refused() -> None:
    with pytest.raises(UserError, match="Sequential has no last layer that could be replaced"):
        head_of(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()))


@pytest.mark.parametrize("name", ["timm:deit_tiny_distilled_patch16_224", "timm:levit_128s"])
def test_of_networks_with_two_heads_both_are_fresh_and_learn(name: str) -> None:
    network = built(name, side=224)
    last = heads_of(plain(network))
    assert len(last) == 2
    given = {key: torch.ones_like(tensor) for key, tensor in plain(network).state_dict().items()}
    load_weights(plain(network), given, keep_head=False, where="here")
    assert all(not head.weight.any() for _, head in last)
    freeze(plain(network), HEAD)
    learning = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for _, head in last for parameter in head.parameters()}
    deep = {id(parameter) for _, own in layers_of(plain(network)) for parameter in own}
    assert not deep & learning
    assert len(heads_of(plain(built("tiny")))) == 1
