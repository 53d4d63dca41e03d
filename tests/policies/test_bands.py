"""Images of bands: each is augmented as a grey image by itself, all by the same draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from augsearch.policies import Policy, UserError
from augsearch.policies.bands import seen
from augsearch.policies.regions import Erasing
from augsearch.policies.registry import OPERATIONS
from augsearch.policies.tensor import TensorPolicy

pytestmark = pytest.mark.usefixtures("by_torch")

POLICIES = st.builds(
    Policy,
    num_ops=st.integers(0, 3),
    magnitude=st.just("random") | st.integers(0, 30),
    operations=st.sets(st.sampled_from(sorted(OPERATIONS)), min_size=1).map(tuple),
    crop=st.sampled_from([0.0, 1.0]),
    flip_horizontal=st.sampled_from([0.0, 0.5]),
    erasing=st.none() | st.just(Erasing(probability=1.0)),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    border=st.sampled_from(["fill", "reflect"]),
    fill=st.just((9, 90, 200)),
)
CHANNELS = st.sampled_from([2, 4, 5, 13])


def tiles(count: int, channels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 12, 15, channels), np.uint8)


@given(POLICIES, CHANNELS, st.integers(0, 99))
def test_each_band_is_what_a_grey_image_of_it_becomes(policy: Policy, channels: int, seed: int) -> None:
    images = tiles(5, channels, seed)
    augmented = policy.batch_transform(seed)(images)
    grey = [policy.batch_transform(seed)(band) for band in np.split(images, channels, axis=-1)]
    np.testing.assert_array_equal(augmented, np.concatenate(grey, axis=-1))


@given(POLICIES, CHANNELS, st.integers(0, 99))
def test_arrays_and_tensors_of_bands_become_the_same(policy: Policy, channels: int, seed: int) -> None:
    image = tiles(1, channels, seed)[0]
    array = policy.transform(seed)(image)
    tensor = policy.transform(seed)(torch.from_numpy(image).permute(2, 0, 1))
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), array)
    assert array.shape == image.shape


def test_a_batch_of_tensors_has_its_bands_augmented_alike() -> None:
    policy = Policy(num_ops=2, magnitude=9)
    images = torch.from_numpy(tiles(8, 6)).permute(0, 3, 1, 2)
    augmented = TensorPolicy(policy, seed=1)(images)
    for band in range(6):
        alone = TensorPolicy(policy, seed=1)(images[:, band : band + 1])
        torch.testing.assert_close(augmented[:, band : band + 1], alone, rtol=0, atol=0)


def test_operations_that_move_colours_do_nothing_to_bands() -> None:
    images = tiles(4, 5)
    policy = Policy(num_ops=1, magnitude=30, operations=("color",))
    np.testing.assert_array_equal(policy.batch_transform(0)(images), images)


def test_more_channels_than_any_camera_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"C 1 to 16, got uint8 \(2, 12, 15, 17\)"):
        Policy().batch_transform(0)(tiles(2, 17))


def test_people_see_the_first_three_bands() -> None:
    images = tiles(2, 5)
    assert seen(images).shape == (2, 12, 15, 3)
    assert seen(tiles(2, 2)).shape == (2, 12, 15, 1)
    assert seen(tiles(2, 1)).shape == (2, 12, 15, 1)
