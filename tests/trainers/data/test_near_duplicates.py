"""Images that look alike are found, others are not, however few or many there are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.near_duplicates import (
    Looks,
    groups_alike,
    looks_at,
    looks_of,
    near_hashes,
    pairs_alike,
)


def scenes(count: int, seed: int = 0, side: int = 48) -> np.ndarray:
    """Coloured blobs, each a picture of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in coarse])


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.2)


def saved_again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((24, 24), Image.Resampling.BICUBIC).resize(image.size)


def noisier(image: Image.Image) -> Image.Image:
    values = np.asarray(image) + np.random.default_rng(1).normal(0, 8, np.asarray(image).shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("count", [12, 40, 300])
@pytest.mark.parametrize("edited", [brighter, saved_again, smaller, noisier])
def test_what_was_edited_is_alike_and_nothing_else(
    edited: Callable[[Image.Image], Image.Image], count: int
) -> None:
    images = scenes(count)
    copies = np.stack([np.asarray(edited(Image.fromarray(image)).convert("RGB")) for image in images[:5]])
    both = np.concatenate([images, copies])
    groups = groups_alike(looks_of(both, np.arange(len(both))), np.arange(len(both)) % 3)
    assert (groups[count:] == groups[:5]).all()
    assert len(set(groups)) == count


def test_images_that_have_nearly_everything_in_common_are_not_alike(tmp_path: Path) -> None:
    data = open_images(None, image_size=None, cache=tmp_path)
    groups = groups_alike(looks_of(data.images, np.arange(2000)), data.labels[:2000])
    assert (np.bincount(groups)[groups] > 1).mean() < 0.05


def test_images_without_a_picture_are_nobodys_near_duplicates() -> None:
    plain = np.repeat(np.arange(200, dtype=np.uint8), 16 * 16).reshape(200, 16, 16, 1)
    looks = looks_of(plain, np.arange(200))
    assert len(set(groups_alike(looks, np.zeros(200, np.int64)))) == 200


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_images_are_enough(count: int) -> None:
    images = np.repeat(scenes(1), count, axis=0)
    looks = (
        looks_of(images, np.arange(count))
        if count
        else Looks(np.zeros(0, np.uint64), np.zeros((0, 192), np.uint8))
    )
    assert len(groups_alike(looks, np.zeros(count, np.int64))) == count


def test_grey_images_and_coloured_ones_of_grey_look_the_same() -> None:
    grey = scenes(1)[0][..., :1]
    looks = looks_at([grey, np.repeat(grey, 3, axis=-1)])
    assert looks.hashes[0] == looks.hashes[1]
    np.testing.assert_array_equal(*looks.thumbs)


@pytest.mark.parametrize("side", [8, 32, 64, 97])
def test_hashes_are_those_of_imagehash(side: int) -> None:
    images = [cv2.resize(image, (side, side)) for image in scenes(40)]
    expected = [
        int(str(imagehash.phash(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))), 16)
        for image in images
    ]
    assert looks_at(images).hashes.tolist() == expected


def test_all_hashes_that_differ_in_few_bits_are_found() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 400, dtype=np.uint64)
    for number in range(200):
        flips = rng.choice(64, int(rng.integers(1, 13)), replace=False).tolist()
        hashes[200 + number] = hashes[number] ^ np.uint64(sum(1 << bit for bit in flips))
    distances = np.bitwise_count(hashes[:, np.newaxis] ^ hashes)
    expected = {(i, j) for i, j in zip(*np.nonzero(distances <= 8), strict=True) if i < j}
    found = {tuple(pair) for pairs in near_hashes(hashes) for pair in pairs.tolist()}
    assert len(expected) > 100
    assert found == expected


def test_pairs_come_in_the_same_order_each_time() -> None:
    images = np.concatenate([scenes(30), scenes(30) // 2 + 60])
    looks = looks_of(images, np.arange(60))
    first, second = (pairs_alike(looks, np.arange(60) % 2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first[:, 0] < first[:, 1]).all()
