"""Whether the core reads between pixels as this OpenCV does on this processor."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.backends.compiled.bilinear import FILL
from augsearch.policies.backends.compiled.core import augment, room_for
from augsearch.policies.backends.compiled.instructions import LINE, LINE_BYTES, Kind
from augsearch.policies.effects import Size
from augsearch.policies.nearest import read_rows

_BLOCKS = 16, 32, 8
"""Columns that OpenCV may do at once: with AVX2, with AVX-512, and with SSE or NEON."""

_TRIED = Size(40, 31), Size(60, 95), Size(256, 256)
"""Images on which they are told apart: of each block, some columns are left over."""

_LEVELS = 2**20
"""As many of each size: of two ways of rounding, one level in some 5,000 tells."""


@lru_cache(maxsize=2)
def block_of_columns(channels: int) -> int | None:
    """How many columns OpenCV does at once; None: its pixels are others than the core's in any case."""
    return next((block for block in _BLOCKS if _agree(block, channels)), None)


def _agree(block: int, channels: int) -> bool:
    return all(_same_pixels(block, size, channels) for size in _TRIED)


def _same_pixels(block: int, size: Size, channels: int) -> bool:
    height, width = size
    count = _LEVELS // (height * width * channels)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    matrices = _some_warps(count, size, rng)
    book = np.zeros(count, dtype=LINE)
    book["kind"], book["numbers"][:, :6] = Kind.WARP, matrices.reshape(count, 6)
    settings = np.array([0, FILL, 0, 1, width - width % block], dtype=np.int64)
    drawn, results = np.arange(count, dtype=np.int64)[:, None], np.empty_like(images)
    lines = book.view(np.uint8).reshape(-1, LINE_BYTES)
    memory = np.empty(room_for(1, images.shape[1:]) + count, dtype=np.uint8)
    augment(images, results, drawn, np.empty((count, 1, 0)), 0, lines, settings, memory)
    return all(
        (_opencvs(image, matrix) == result).all()
        for image, matrix, result in zip(images, matrices, results, strict=True)
    )


def _some_warps(count: int, size: Size, rng: np.random.Generator) -> NDArray[np.float64]:
    """Turns, shears and shifts, (count, 2, 3)."""
    angles, shears = rng.uniform(-0.6, 0.6, (2, count))
    shifts = rng.uniform(-0.1, 0.1, (2, count)) * np.array(size[::-1])[:, None]
    x = np.cos(angles), np.sin(angles) + shears, shifts[0]
    y = -np.sin(angles), np.cos(angles), shifts[1]
    return np.moveaxis(np.array((x, y)), 2, 0)


def _opencvs(image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    x, y, _ = read_rows(np.vstack((matrix, (0, 0, 1))), Size(height, width), nearest=False)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, np.array((x, y)), (width, height), None, flags, cv2.BORDER_CONSTANT, (0,))
    return np.asarray(warped, dtype=np.uint8).reshape(image.shape)
