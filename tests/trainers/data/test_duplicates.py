"""Copies are told by their content."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from augsearch.trainers.data.duplicates import copies_among, groups_of_copies
from augsearch.trainers.system.hashing import NO_KEY, content_key, hashed_files

FEW = settings(max_examples=60)
Picked = tuple[NDArray[np.uint8], list[int]]


@st.composite
def picked(draw: st.DrawFn) -> Picked:
    """Images that are copies of one another where their number is the same, some alike but for one corner."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    originals = rng.integers(0, 256, (4, 8, 8, draw(st.sampled_from([1, 3]))), dtype=np.uint8)
    alike = originals.copy()
    alike[:, 0, 0] ^= 1
    numbers = draw(st.lists(st.integers(0, 7), min_size=1, max_size=12))
    return np.concatenate([originals, alike])[numbers], numbers


@FEW
@given(picked(), st.randoms(use_true_random=False))
def test_images_are_in_one_group_where_all_pixels_are_the_same(made: Picked, order: random.Random) -> None:
    images, numbers = made
    rows = np.array(order.sample(range(len(images)), len(images)))
    groups = groups_of_copies(images, rows)
    for first, group in zip(rows, groups, strict=True):
        for second, other in zip(rows, groups, strict=True):
            assert (group == other) == (numbers[first] == numbers[second])


@FEW
@given(picked(), st.integers(1, 12))
def test_a_copy_is_one_of_the_others_whatever_is_not_asked_about(made: Picked, cut: int) -> None:
    images, numbers = made
    rows, others = np.arange(len(images))[:cut], np.arange(len(images))[cut:]
    found = copies_among(images, rows, images, others)
    assert found.tolist() == [numbers[row] in {numbers[other] for other in others} for row in rows]


@pytest.mark.parametrize("shape", [(3, 9, 9, 3), (3, 8, 8, 1)])
def test_images_of_another_shape_are_no_copies(shape: tuple[int, ...]) -> None:
    plain, others = np.zeros((2, 8, 8, 3), np.uint8), np.zeros(shape, np.uint8)
    assert not copies_among(plain, np.arange(2), others, np.arange(3)).any()


def test_a_file_that_cannot_be_opened_has_no_key(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "missing", "c")]
    for path, content in zip(paths, (b"one", b"two", None, b"one"), strict=True):
        if content is not None:
            path.write_bytes(content)
    keys = hashed_files(paths)
    assert keys[0] == keys[3] == content_key(b"one")
    assert keys[1] not in (keys[0], NO_KEY)
    assert keys[2] == NO_KEY
