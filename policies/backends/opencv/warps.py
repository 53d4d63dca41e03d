"""Warps and shifts of uint8 arrays in OpenCV, alone or many small images at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.backends.opencv.prepared import (
    SMALL_BYTES,
    Image,
    Images,
    PreparedStep,
    fill_all,
    one_by_one,
    output,
    shaped_like,
    stacked,
)
from augsearch.policies.effects import Size, Warp
from augsearch.policies.errors import UserError
from augsearch.policies.nearest import read_rows
from augsearch.policies.sampling import Sampling

MIN_BLOCK = 8
"""Rows that a block must have on average to be copied faster than OpenCV samples them."""

LONGEST_SIDE = 32766
"""OpenCV's warps count pixels in 16 bits."""

_INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}
_BORDERS = {"fill": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}

_Row = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _BlockCopies:
    """A warp that mirrors the image and then only moves blocks of it."""

    mirrored_x: bool
    mirrored_y: bool
    blocks: tuple[tuple[tuple[slice, slice], tuple[slice, slice]], ...]
    """Rows and columns to write, and where they are read."""
    everywhere: bool
    """Every pixel is written."""
    frame: tuple[int, int, int, int] | None = None
    """Where there is one block: the pixels above, below, left and right of it."""


def prepare_warp(warp: Warp, size: Size, channels: int, sampling: Sampling) -> PreparedStep:
    """Make ``warp`` ready for images (H, W, C) of ``size`` with ``channels``.

    Raises:
        UserError: a side is longer than OpenCV can count.
    """
    height, width = size
    interpolation = "bilinear" if warp.enlarges else sampling.interpolation
    x, y, seen = read_rows(warp.matrix, size, nearest=interpolation == "nearest")
    fill = sampling.fill[:channels]
    if seen[0] == seen[1] == 0:
        copies = _mirror_and_shift(x, y, size)
        if copies is None and interpolation == "nearest":
            copies = _shear(x, y, size)
        if copies and (sampling.border == "fill" or copies.everywhere):
            return _prepare_copies(copies, fill, height * width * channels)
        function = cv2.warpAffine
        matrix = np.array((x, y))
    else:
        function = cv2.warpPerspective
        matrix = np.array((x, y, seen))
    if max(size) > LONGEST_SIDE:
        raise UserError(
            f"an image of {height} × {width} pixels is too long to be warped: OpenCV takes sides up to "
            f"{LONGEST_SIDE:,} pixels; make it smaller first"
        )
    flags = _INTERPOLATIONS[interpolation] | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE if warp.enlarges else _BORDERS[sampling.border]

    def on_image(image: Image, out: Image | None = None) -> Image:
        sampled = function(image, matrix, (width, height), output(out), flags, border, fill)
        return shaped_like(image, sampled)

    return one_by_one(on_image)


def _prepare_copies(copies: _BlockCopies, fill: tuple[int, ...], size: int) -> PreparedStep:
    """Make copies of blocks ready for images of ``size`` bytes."""

    def copy(image: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Copy in one image (H, W, C) or in a whole batch."""
        if copies.mirrored_x:
            mirrored = cv2.flip(stacked(image) if image.ndim == 4 else image, 1)
            image = shaped_like(image, mirrored)
        if copies.mirrored_y:
            image = image[..., ::-1, :, :]
        if copies.frame and image.ndim == 3:
            inside = image[copies.blocks[0][1]]
            framed = cv2.copyMakeBorder(inside, *copies.frame, cv2.BORDER_CONSTANT, output(out), fill)
            return shaped_like(image, framed)
        out = np.empty_like(image) if out is None else out
        if not copies.everywhere:
            fill_all(out, fill)
        for to, read in copies.blocks:
            out[..., *to, :] = image[..., *read, :]
        return out

    def on_batch(images: Images, indices: list[int]) -> None:
        if len(indices) == 1:
            copy(images[indices[0]].copy(), images[indices[0]])
        else:
            images[indices] = copy(images[indices])

    return PreparedStep(copy, on_batch) if size <= SMALL_BYTES else one_by_one(copy)


def _mirror_and_shift(x: _Row, y: _Row, size: Size) -> _BlockCopies | None:
    """The warp as one block, where it only mirrors and shifts by whole pixels."""
    (a, b, c), (d, e, f) = x, y
    if not (abs(a) == 1 and abs(e) == 1 and b == d == 0 and c.is_integer() and f.is_integer()):
        return None
    height, width = size
    right = int(c) if a > 0 else width - 1 - int(c)
    down = int(f) if e > 0 else height - 1 - int(f)
    to = slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0))
    read = slice(max(down, 0), height - max(-down, 0)), slice(max(right, 0), width - max(-right, 0))
    frame = max(-down, 0), max(down, 0), max(-right, 0), max(right, 0)
    inside = abs(right) < width and abs(down) < height
    blocks = ((to, read),) if inside else ()
    return _BlockCopies(a < 0, e < 0, blocks, everywhere=not any(frame), frame=frame if inside else None)


def _shear(x: _Row, y: _Row, size: Size) -> _BlockCopies | None:
    """A gentle shear to the nearest pixel: blocks of rows, or of columns, that shift equally far."""
    (a, b, c), (d, e, f) = x, y
    if not (a == e == 1 and (b == 0) != (d == 0)):
        return None
    sideways = d == 0
    (along, length), slope, start, other = (size, b, c, f) if sideways else (size[::-1], d, f, c)
    if not other.is_integer() or abs(slope) * along > along // MIN_BLOCK:
        return None
    shifts = np.rint(slope * np.arange(along) + start).astype(int)
    begins = [0, *(np.flatnonzero(np.diff(shifts)) + 1).tolist(), along]
    blocks = []
    for begin, end in pairwise(begins):
        shift = int(shifts[begin])
        first, last = max(begin, -int(other)), min(end, along - int(other))
        if last > first and abs(shift) < length:
            to = slice(first, last), slice(max(-shift, 0), length - max(shift, 0))
            read = slice(first + int(other), last + int(other)), slice(max(shift, 0), length - max(-shift, 0))
            blocks.append((to, read) if sideways else (to[::-1], read[::-1]))
    return _BlockCopies(False, False, tuple(blocks), everywhere=False)
