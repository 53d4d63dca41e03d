"""The built-in networks are what they were, however they are computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec

SIDES = (12, 28, 32, 96)


def network(side: int, channels: int = 1) -> nn.Sequential:
    spec = ModelSpec(
        name="tiny",
        channels=channels,
        image_size=side,
        classes=("a", "b", "c"),
        mean=(120.0,) * channels,
        std=(60.0,) * channels,
    )
    built = build_model(spec, seed=0)
    assert isinstance(built, nn.Sequential)
    return built


def pools_last(model: nn.Sequential) -> nn.Sequential:
    """The same modules in the textbook's order: convolution, normalisation, ReLU, pools."""
    ordered: list[nn.Module] = []
    pools: list[nn.Module] = []
    for module in model:
        if isinstance(module, nn.MaxPool2d):
            pools.append(module)
            continue
        ordered.append(module)
        if isinstance(module, nn.ReLU):
            ordered += pools
            pools = []
    return nn.Sequential(*ordered)


def outcome(model: nn.Module, images: Tensor, *, bfloat16: bool) -> list[Tensor]:
    """Logits, gradients and running statistics of a training step, then the logits in evaluation mode."""
    model.train()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(images)
    logits.float().square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    statistics = [buffer.clone() for buffer in model.buffers()]
    model.eval()
    with torch.inference_mode():
        return [logits.detach(), *gradients, *statistics, model(images)]


def images(side: int, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (8, side, side, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_pools_before_relu_change_no_bit_of_logits_and_gradients(side: int, bfloat16: bool) -> None:
    found = outcome(network(side), images(side), bfloat16=bfloat16)
    expected = outcome(pools_last(network(side)), images(side), bfloat16=bfloat16)
    assert len(found) == len(expected) > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("side", "places"),
    [(12, (1, 4, 8, 12, 15)), (28, (1, 4, 8, 12, 15)), (96, (1, 6, 10, 14, 17))],
)
def test_weights_keep_the_names_that_model_files_know(side: int, places: tuple[int, ...]) -> None:
    first, second, third, residual, head = places
    expected = {"0.mean", "0.std", f"{head}.weight", f"{head}.bias"}
    for conv, norm in (
        *((f"{place}", f"{place + 1}") for place in (first, second, third)),
        (f"{residual}.body.0", f"{residual}.body.1"),
    ):
        expected.add(f"{conv}.weight")
        expected |= {f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
        expected.add(f"{norm}.num_batches_tracked")
    assert set(network(side).state_dict()) == expected
