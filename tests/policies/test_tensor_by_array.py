"""Batches of tensors on the CPU: as arrays, with their pixels, in any layout."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from augsearch.policies import Policy
from augsearch.policies.backends.torch import by_kind, runner
from augsearch.policies.registry import OPERATIONS
from augsearch.policies.tensor import TensorPolicy

POLICIES = {
    "RandAugment": Policy(),
    "crop, flip, RandAugment, bilinear": Policy(crop=1.0, flip_horizontal=0.5, interpolation="bilinear"),
    "all operations": Policy(
        num_ops=4, magnitude="random", operations=tuple(OPERATIONS), border="reflect", fill=(9, 99, 200)
    ),
    "AugMix": Policy.named("augmix"),
    "TrivialAugment": Policy.named("trivialaugment"),
}
SHAPES = [(1, 3, 1, 1), (5, 3, 1, 9), (5, 3, 9, 1), (7, 1, 13, 24), (7, 3, 47, 33), (3, 5, 16, 20)]


@pytest.fixture(autouse=True, scope="module")
def never_by_torch() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_engine", "auto")
        patch.setattr(by_kind.RunByKind, "run", None)
        yield


def batch(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def layouts(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same values, lying otherwise in memory."""
    return {
        "planes": images,
        "channels last": images.to(memory_format=torch.channels_last),
        "part of a batch": torch.cat([images, images])[::2][: len(images)],
        "mirrored twice": images.flip(3).flip(3),
        "turned": images.transpose(2, 3).contiguous().transpose(2, 3),
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("what", POLICIES)
def test_they_have_the_pixels_of_arrays(what: str, shape: tuple[int, ...]) -> None:
    for layout, images in layouts(batch(shape)).items():
        given = images.clone()
        arrays = POLICIES[what].batch_transform(seed=5)
        augment = TensorPolicy(POLICIES[what], seed=5)
        for _ in range(2):
            result = augment(images)
            expected = arrays(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
            assert torch.equal(result.permute(0, 2, 3, 1), torch.from_numpy(expected))
            kept = torch.channels_last if layout == "channels last" else torch.contiguous_format
            assert result.is_contiguous(memory_format=kept)
            assert torch.equal(images, given)


def test_floating_ones_are_rounded_to_levels_and_stay_floating() -> None:
    levels = batch((4, 3, 16, 16))
    result = TensorPolicy(Policy(), seed=1)((levels.double() / 255).half())
    expected = TensorPolicy(Policy(), seed=1)(levels)
    assert result.dtype == torch.float16
    assert torch.equal((result.float() * 255).round(), expected.float())
