"""Images of 16 bits and floating ones: the same policy, at their own depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PILImage
from torchvision import tv_tensors

from augsearch.policies import OPERATIONS, Policy, UserError
from augsearch.policies.backends.opencv import deep
from augsearch.policies.chains import Chains
from augsearch.policies.effects import MeasuredTable, Statistic, Table
from augsearch.policies.table_entries import equalize_entries

DTYPES = [np.uint16, np.float16, np.float32, np.float64]
IMAGES = [(23, 37, 3), (40, 31, 1), (24, 25, 5), (32, 32), (1, 9, 3), (6, 1, 1)]

SAMPLINGS: dict[str, Any] = {
    "border": st.sampled_from(["fill", "reflect"]),
    "fill": st.just((9, 90, 200)),
    "ranges": st.sampled_from(["standard", "wide"]),
    "magnitude": st.just("random") | st.integers(0, 30),
}
MOVES = [name for name, one in OPERATIONS.items() if one.kind in ("warp", "patch") and name != "resized_crop"]


def photo(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    """Smooth, noisy or of few greys, as ``seed`` has it."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, shape)
    ramp = np.add.outer(np.arange(shape[0]) * 3, np.arange(shape[1]) * 2).reshape(
        *shape[:2], *[1] * len(shape[2:])
    )
    return np.asarray(
        [noise, ramp + noise // 16, 40 + noise // 8, np.full(shape, 77)][seed % 4] % 256, np.uint8
    )


def at_depth(image: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    """The same picture."""
    return image.astype(np.uint16) * 257 if dtype == np.uint16 else (image / 255).astype(dtype)


def in_levels(image: NDArray[Any]) -> NDArray[np.float64]:
    return image.astype(np.float64) * (1 / 257 if image.dtype == np.uint16 else 255)


@given(
    st.sampled_from(sorted(OPERATIONS)),
    st.fixed_dictionaries(SAMPLINGS | {"interpolation": st.sampled_from(["nearest", "bilinear"])}),
    st.sampled_from(IMAGES),
    st.sampled_from([np.uint16, np.float32, np.float64]),
    st.integers(0, 99),
)
def test_an_operation_does_at_any_depth_what_it_does_in_8_bits(
    name: str, fields: dict[str, Any], shape: tuple[int, ...], dtype: Any, seed: int
) -> None:
    policy = Policy(num_ops=1, operations=(name,), **fields)
    image = photo(shape, seed)
    given_image = at_depth(image, dtype)
    augmented = policy.transform(seed)(given_image)
    np.testing.assert_array_equal(given_image, at_depth(image, dtype))
    assert augmented.dtype == dtype
    assert augmented.shape == shape
    assert not np.may_share_memory(augmented, given_image)
    np.testing.assert_allclose(np.rint(in_levels(augmented)), policy.transform(seed)(image), rtol=0, atol=1)


@given(
    st.sets(st.sampled_from(MOVES), min_size=1).map(tuple),
    st.integers(0, 3),
    st.fixed_dictionaries(SAMPLINGS),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from(IMAGES),
    st.sampled_from([np.uint16, np.float16, np.float32]),
    st.integers(0, 99),
)
def test_what_only_moves_pixels_moves_the_same_ones_unchanged(
    operations: tuple[str, ...],
    num_ops: int,
    fields: dict[str, Any],
    crop: float,
    shape: tuple[int, ...],
    dtype: Any,
    seed: int,
) -> None:
    policy = Policy(num_ops=num_ops, operations=operations, crop=crop, flip_horizontal=0.5, **fields)
    image = photo(shape, seed)
    augmented = policy.transform(seed)(at_depth(image, dtype))
    np.testing.assert_array_equal(augmented, at_depth(policy.transform(seed)(image), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_is_its_images_one_by_one(dtype: Any) -> None:
    images = np.stack([at_depth(photo((20, 18, 4), seed), dtype) for seed in range(6)])
    before = images.copy()
    policy = Policy(num_ops=2, magnitude="random", operations=tuple(OPERATIONS))
    batch = policy.batch_transform(3)(images)
    assert batch.dtype == dtype
    draws = policy.draw(6, np.random.default_rng(3))
    alone = [
        deep.augment_image(drawn, image, policy.ranges, policy.sampling)
        for drawn, image in zip(draws.images(), images, strict=True)
    ]
    np.testing.assert_array_equal(policy.augment(images, np.random.default_rng(3)), np.stack(alone))
    np.testing.assert_array_equal(images, before)


def test_values_between_grey_levels_are_kept_apart() -> None:
    scan = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    for name in ("brightness", "contrast", "gamma", "auto_contrast", "equalize", "invert", "sharpness"):
        augmented = Policy(num_ops=1, magnitude=15, operations=(name,)).transform(seed=1)(scan)
        assert len(np.unique(augmented)) > 1500, f"{name}: 8 bits have 256"


def test_colours_that_change_places_keep_their_values() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (20, 20, 3), np.uint16)
    augmented = Policy(num_ops=1, operations=("channel_shuffle",)).transform(seed=1)(image)
    assert (augmented != image).any()
    np.testing.assert_array_equal(np.sort(augmented, axis=2), np.sort(image, axis=2))


def test_a_mixture_of_chains_is_one_of_values() -> None:
    policy = Policy(num_ops=2, operations=("rotate", "flip_vertical"), chains=Chains())
    image = photo((30, 30, 3), 1)
    for dtype in (np.uint16, np.float32):
        augmented = policy.transform(seed=5)(at_depth(image, dtype))
        np.testing.assert_allclose(in_levels(augmented), policy.transform(seed=5)(image), rtol=0, atol=1)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_pil_images_of_more_than_8_bits_come_back_as_they_are(mode: str) -> None:
    image = photo((30, 41), 1)
    dtype = {"I;16B": ">u2", "I": np.int32, "F": np.float32}.get(mode, np.uint16)
    values = at_depth(image, np.float32 if mode == "F" else np.uint16)
    given_image = PILImage.fromarray(values.astype(dtype))
    assert given_image.mode == mode
    policy = Policy(num_ops=2, magnitude=9)
    augmented = policy.transform(seed=4)(given_image)
    assert augmented.mode == mode
    np.testing.assert_array_equal(np.asarray(augmented), policy.transform(seed=4)(values))


def test_a_tensor_of_16_bits_is_what_its_array_becomes_and_masks_move_with_it() -> None:
    policy = Policy(num_ops=2, magnitude=9, crop=1.0)
    image = at_depth(photo((30, 41, 3), 1), np.uint16)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    augmented = policy.transform(seed=4)(tensor)
    assert augmented.dtype == torch.uint16
    np.testing.assert_array_equal(augmented.permute(1, 2, 0).numpy(), policy.transform(seed=4)(image))
    mask = tv_tensors.Mask(torch.ones(30, 41, dtype=torch.uint8))
    with_mask, moved = policy.transform(seed=4)(tv_tensors.Image(tensor), mask)
    np.testing.assert_array_equal(with_mask.numpy(), augmented.numpy())
    assert moved.shape == mask.shape


def test_tables_that_say_nothing_of_depth_are_read_between_their_entries() -> None:
    levels = np.array([[[0.0], [10.5], [254.25]]], np.float32)
    halves = Table((np.arange(256) // 2 * 2).astype(np.uint8))
    np.testing.assert_allclose(deep._looked_up(halves, levels), [[[0.0], [10.0], [254.0]]])
    measured = MeasuredTable(Statistic.HISTOGRAM, equalize_entries)
    many = np.random.default_rng(0).uniform(50, 90, (40, 40, 3)).astype(np.float32)
    spread = deep._looked_up(measured, many)
    assert spread.shape == many.shape
    assert spread.min() < 10 < 245 < spread.max()


def test_refuses_a_batch_that_is_not_in_0_to_1() -> None:
    with pytest.raises(UserError, match=r"must lie in \[0, 1\], got 0 to 255") as caught:
        Policy().batch_transform(0)(
            np.stack([np.zeros((8, 8, 3)), np.full((8, 8, 3), 255.0)]).reshape(1, 16, 8, 3)
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_threshold_at_a_grey_level_parts_the_same_levels(dtype: Any) -> None:
    # 255 · (1 − 26/30) is 34 and the last bit of a double more.
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for magnitude in range(31):
        policy = Policy(num_ops=1, operations=("solarize",), magnitude=magnitude)
        augmented = in_levels(policy.transform(0)(at_depth(levels, dtype)))
        np.testing.assert_array_equal(np.rint(augmented), policy.transform(0)(levels))
