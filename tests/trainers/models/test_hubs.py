"""Hubs' networks: known by name, and fitted to small images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from augsearch.policies import UserError
from augsearch.trainers.models.hubs import (
    Native,
    halvings_to_take_out,
    native,
    plain_network,
    takes,
)

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@pytest.mark.parametrize(
    ("name", "side", "fixed_side", "levels"),
    [
        ("torchvision:resnet18", 224, False, IMAGENET),
        ("torchvision:efficientnet_b3", 300, False, IMAGENET),
        ("torchvision:vit_b_16", 224, True, IMAGENET),
        ("torchvision:maxvit_t", 224, True, IMAGENET),
        ("timm:resnet18.a1_in1k", 224, False, IMAGENET),
        ("timm:test_vit", 160, True, ((127.5,) * 3, (127.5,) * 3)),
        ("timm:vit_tiny_patch16_384", 384, True, ((127.5,) * 3, (127.5,) * 3)),
    ],
)
def test_a_network_is_known_with_how_it_was_trained(
    name: str, side: int, fixed_side: bool, levels: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    mean, std = levels
    assert native(name) == Native(side=side, mean=mean, std=std, fixed_side=fixed_side)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnt18", "torchvision has no classifier 'resnt18'; did you mean resnet18 or "),
        ("torchvision:ResNet18", "torchvision has no classifier 'ResNet18'; did you mean resnet18?"),
        ("torchvision:fcn_resnet50", "torchvision has no classifier 'fcn_resnet50'; did you mean resnet50"),
        ("torchvision:xyz", "torchvision has no classifier 'xyz'"),
        ("timm:resnt18", "timm has no model 'resnt18'; did you mean resnet18 or "),
        ("timm:hf-hub:someone/code", "timm has no model 'hf-hub:someone/code'"),
        (
            "timm:tf_efficientnet_b0_ns",
            "timm has another name now for 'tf_efficientnet_b0_ns'; did you ",
        ),
        ("timm:resnet18.a1_in2k", "timm has no weights 'resnet18.a1_in2k'; did you mean resnet18.a1_in1k"),
    ],
)
@pytest.mark.parametrize("ask", [native, lambda name: plain_network(name, 2, 0)])
def test_an_unknown_network_is_refused_with_names_like_it(ask: Any, name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        ask(name)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "image_size", "halvings"),
    [
        ("torchvision:resnet18", 224, 0),
        ("torchvision:resnet18", 113, 0),
        ("torchvision:resnet18", 112, 1),
        ("torchvision:resnet18", 57, 1),
        ("torchvision:resnet18", 56, 2),
        ("torchvision:resnet18", 32, 2),
        ("torchvision:resnet18", 8, 2),
        ("torchvision:resnet18", 640, 0),
        ("torchvision:mobilenet_v3_small", 20, 2),
        # Its stem has one stride; the next two are of branches that meet again.
        ("torchvision:regnet_y_400mf", 32, 1),
        ("timm:test_resnet", 32, 2),
        ("timm:repvgg_a0", 96, 0),
    ],
)
def test_as_many_strides_are_taken_out_as_the_image_is_smaller(
    name: str, image_size: int, halvings: int
) -> None:
    before = torch.get_rng_state()
    halvings_to_take_out.cache_clear()
    assert halvings_to_take_out(name, image_size) == halvings
    assert torch.equal(torch.get_rng_state(), before)
    assert takes(plain_network(name, 3, halvings), image_size)


def last_map(network: nn.Module, side: int) -> int:
    """The side of what the last convolution that looks beyond one pixel gives."""
    sides: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            module.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    assert takes(network, side)
    return sides[-1]


@pytest.mark.parametrize("side", [32, 64, 100])
@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:mobilenet_v3_small"])
def test_a_small_image_leaves_the_network_at_least_half_as_large_as_a_native_one(
    name: str, side: int
) -> None:
    usual = last_map(plain_network(name, 3, 0), 224)
    fitted = last_map(plain_network(name, 3, halvings_to_take_out(name, side)), side)
    assert usual // 2 <= fitted <= usual + 1


def test_a_resnet_for_32_pixels_has_neither_stride_nor_pooling_in_its_stem() -> None:
    network: Any = plain_network("torchvision:resnet18", 3, 2)
    usual: Any = plain_network("torchvision:resnet18", 3, 0)
    assert (network.conv1.stride, network.maxpool.stride) == ((1, 1), 1)
    assert (usual.conv1.stride, usual.maxpool.stride) == ((2, 2), 2)
    assert strides_of(network.layer2) == strides_of(usual.layer2)


def strides_of(network: nn.Module) -> list[int]:
    return [module.stride[0] for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_a_stride_of_4_counts_as_two(halvings: int) -> None:
    stem, *rest = strides_of(plain_network("timm:test_convnext", 3, halvings))
    assert stem == 4 // 2**halvings
    assert rest == strides_of(plain_network("timm:test_convnext", 3, 0))[1:]


@pytest.mark.parametrize(
    "name",
    [
        "torchvision:squeezenet1_1",
        "torchvision:googlenet",
        "torchvision:mobilenet_v3_small",
        "timm:test_vit",
        "timm:test_byobnet",
    ],
)
def test_a_network_has_one_output_for_each_class_and_follows_the_generator(name: str) -> None:
    side = 160 if "vit" in name else 64
    outputs, images = [], torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            outputs.append(plain_network(name, 7, 0).eval()(images))
    assert outputs[0].shape == (2, 7)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_a_network_that_is_no_classifier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As timm's encoders for language models, which have hundreds of millions of weights.
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 768))
    monkeypatch.setattr("timm.create_model", lambda *_, **__: network)
    with pytest.raises(UserError, match="model timm:test_vit is no plain classifier"):
        plain_network("timm:test_vit", 5, 0)


def test_whether_a_network_takes_a_side_is_tried_without_changing_it() -> None:
    network = plain_network("torchvision:mobilenet_v3_small", 2, 0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert takes(network, 32)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not takes(nn.Sequential(nn.Conv2d(3, 2, 9)), 8)
    assert takes(nn.Sequential(nn.Conv2d(3, 2, 9)), 9)


def test_a_vision_transformer_takes_its_own_side_alone() -> None:
    network = plain_network("timm:vit_tiny_patch16_224", 2, 0)
    assert takes(network, 224)
    assert not takes(network, 32)
