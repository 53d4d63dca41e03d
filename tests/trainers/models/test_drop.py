"""The noise of students: what it drops and how often, and that it is nowhere but in their training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from augsearch.policies import Transfer
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.drop import add_noise, residual_branches
from augsearch.trainers.models.layers import head_of
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.training.transfer import training_mode

NETWORKS = [
    pytest.param("tiny", 8, 1, id="tiny"),
    pytest.param("torchvision:resnet18", 8, 8, id="torchvision:resnet18"),
    pytest.param("torchvision:resnet50", 8, 16, id="torchvision:resnet50"),
    pytest.param("timm:resnet18", 8, 8, id="timm:resnet18"),
    # Two branches a block: attention and perceptron.
    pytest.param("timm:test_vit", 160, 12, id="timm:test_vit"),
]


def network(name: str, side: int = 8) -> nn.Module:
    spec = ModelSpec(
        name=name,
        channels=3,
        image_size=side,
        classes=tuple("abcde"),
        mean=(120.0,) * 3,
        std=(60.0,) * 3,
        stem_halvings=2 if "resnet" in name else 0,
    )
    model = build_model(spec, seed=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm begins with branches that are nought
    return model


def images(count: int, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def seeded(model: nn.Module, batch: Tensor, seed: int = 0) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        output: Tensor = model(batch)
    return output


class Branches:
    """What leaves each residual branch of a network: before the noise, and after it."""

    def __init__(self, model: nn.Module, **noise: float) -> None:
        self.before: list[Tensor] = []
        self.after: list[Tensor] = []
        for branch in residual_branches(model):
            branch.register_forward_hook(self._kept(self.before))
        add_noise(model, **noise)
        for branch in residual_branches(model):
            branch.register_forward_hook(self._kept(self.after))

    @staticmethod
    def _kept(where: list[Tensor]) -> Any:
        # A copy: blocks go on in place.
        return lambda module, inputs, output: where.append(output.clone())


@pytest.mark.parametrize(("name", "side", "branches"), NETWORKS)
def test_each_branch_is_left_out_image_by_image_the_later_the_more_often(
    name: str, side: int, branches: int
) -> None:
    model = network(name, side)
    seen = Branches(model, dropout=0.0, stochastic_depth=0.6)
    assert len(residual_branches(model)) == branches
    model.train()
    count, batch = 0, images(24 if side > 8 else 120, side)
    dropped = torch.zeros(branches)
    for seed in range(6 if side > 8 else 3):
        seen.before.clear()
        seen.after.clear()
        seeded(model, batch, seed)
        assert len(seen.after) == branches
        count += len(batch)
        for place, (before, after) in enumerate(zip(seen.before, seen.after, strict=True)):
            kept = after.flatten(1).abs().sum(1) > 0
            dropped[place] += (~kept).sum()
            rate = 0.6 * (place + 1) / branches
            torch.testing.assert_close(after[kept], before[kept] / (1 - rate), rtol=1e-4, atol=1e-5)
    expected = 0.6 * torch.arange(1, branches + 1) / branches
    deviation = (expected * (1 - expected) / count).sqrt()
    assert ((dropped / count - expected).abs() < 4.5 * deviation).all()


@pytest.mark.parametrize(("name", "side", "branches"), NETWORKS)
def test_nothing_changes_in_evaluation_mode_nor_in_what_is_saved(name: str, side: int, branches: int) -> None:
    model, batch = network(name, side).eval(), images(4, side)
    before, keys = seeded(model, batch), list(model.state_dict())
    add_noise(model, dropout=0.5, stochastic_depth=0.5)
    assert torch.equal(seeded(model, batch), before)
    assert list(model.state_dict()) == keys
    assert [type(module) for module in model.modules()] == [
        type(one) for one in network(name, side).modules()
    ]
    model.train()
    assert not torch.equal(seeded(model, batch), seeded(model, batch, seed=1))
    assert torch.equal(seeded(model, batch), seeded(model, batch))


def test_the_last_layer_loses_the_share_of_its_inputs_that_it_is_told_to() -> None:
    model = network("torchvision:resnet18")
    inputs: list[Tensor] = []
    head = head_of(model)[1]
    head.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    add_noise(model, dropout=0.3, stochastic_depth=0.0)
    head.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    model.train()
    seeded(model, images(100))
    before, after = inputs
    kept = after != 0
    assert (~kept)[before != 0].float().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(after[kept], before[kept] / 0.7)


def test_without_noise_there_is_none() -> None:
    model = network("tiny").train()
    before = seeded(model, images(8))
    add_noise(model, dropout=0.0, stochastic_depth=0.0)
    assert torch.equal(seeded(model, images(8)), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_mode_of_a_copy_is_its_own() -> None:
    model = network("tiny")
    add_noise(model, dropout=0.5, stochastic_depth=0.5)
    average = copy.deepcopy(model).eval()
    model.train()
    # As an average of the weights is: looked at while the network learns.
    assert torch.equal(seeded(average, images(8)), seeded(average, images(8), seed=1))
    model.eval()
    average.train()
    assert torch.equal(seeded(model, images(8)), seeded(model, images(8), seed=1))
    assert not torch.equal(seeded(average, images(8)), seeded(average, images(8), seed=1))


def test_a_transfer_of_all_layers_is_noisy_though_its_normalisations_are_in_evaluation_mode() -> None:
    model = network("torchvision:resnet18")
    seen = Branches(model, dropout=0.0, stochastic_depth=0.9)
    training_mode(model, Transfer(mode="full"))
    seeded(model, images(50))
    assert (seen.after[-1].flatten(1).abs().sum(1) == 0).float().mean() > 0.7


def test_a_frozen_backbone_is_not_noisy_but_its_new_last_layer_is() -> None:
    model = network("torchvision:resnet18")
    seen = Branches(model, dropout=0.5, stochastic_depth=0.9)
    training_mode(model, Transfer(mode="head"))
    outputs = [seeded(model, images(8), seed) for seed in (0, 1)]
    assert all(torch.equal(*pair) for pair in zip(seen.before, seen.after, strict=True))
    assert not torch.equal(*outputs)


def test_a_network_that_comes_with_stochastic_depth_keeps_its_own() -> None:
    import timm

    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5)
    assert residual_branches(model) == []


def test_a_block_that_is_only_called_like_a_resnets_has_no_branch_to_drop() -> None:
    class BasicBlock(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images

    assert residual_branches(nn.Sequential(BasicBlock())) == []
