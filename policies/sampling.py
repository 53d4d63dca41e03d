"""Warps on OpenCV: as copies of rows and blocks where that is what they are, else as a sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.errors import UserError
from augsearch.policies.kinds import Size, Warp
from augsearch.policies.parts import SMALL, Image, Images, Part, alone, filled, like, plane, tall

Interpolation = Literal["nearest", "bilinear"]
Border = Literal["fill", "reflect"]

MIN_BLOCK = 8
"""Rows that a block must have on average to be copied faster than OpenCV samples them."""

LONGEST_SIDE = 32766
"""OpenCV's warps count pixels in 16 bits."""

_INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}
_BORDERS = {"fill": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}

_Row = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How warps and patches meet pixels that do not exist."""

    interpolation: Interpolation = "nearest"
    border: Border = "fill"
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB; grey images take the first."""


def warped(warp: Warp, size: Size, channels: int, sampling: Sampling) -> Part:
    """Make ``warp`` ready for images (H, W, C) of ``size`` with ``channels``.

    Raises:
        UserError: a side is longer than OpenCV can count.
    """
    height, width = size
    # The matrix speaks of pixels from the centre, OpenCV of pixel indices from the top left.
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    (a, b, c), (d, e, f), (g, h, _) = warp.matrix.tolist()
    fill = sampling.fill[:channels]
    if g == 0 and h == 0:
        x = (a, b, c + centre_x - a * centre_x - b * centre_y)
        y = (d, e, f + centre_y - d * centre_x - e * centre_y)
        copied = _mirror_and_shift(x, y, size, sampling.border, fill)
        if not copied and sampling.interpolation == "nearest" and sampling.border == "fill":
            copied = _shear(x, y, size, fill)
        if copied:
            return _copied(copied, height * width * channels)
        function = cv2.warpAffine
        matrix = np.array((x, y))
    else:
        function = cv2.warpPerspective
        to_centre = np.array(((1, 0, -centre_x), (0, 1, -centre_y), (0, 0, 1)))
        from_centre = np.array(((1, 0, centre_x), (0, 1, centre_y), (0, 0, 1)))
        matrix = from_centre @ warp.matrix @ to_centre
    if max(size) > LONGEST_SIDE:
        raise UserError(
            f"an image of {height} × {width} pixels is too long to be warped: OpenCV takes sides up to "
            f"{LONGEST_SIDE:,} pixels; make it smaller first"
        )
    flags = _INTERPOLATIONS[sampling.interpolation] | cv2.WARP_INVERSE_MAP
    border = _BORDERS[sampling.border]

    def one(image: Image) -> Image:
        return like(function(image, matrix, (width, height), None, flags, border, fill), image)

    def within(images: Images, indices: list[int]) -> None:
        for index in indices:
            image = images[index]
            function(image.copy(), matrix, (width, height), plane(image), flags, border, fill)

    return Part(one, within) if height * width * channels <= SMALL else alone(one)


def _copied(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], size: int) -> Part:
    """A part of copies (..., H, W, C) to copies."""
    if size > SMALL:
        return alone(change)

    def within(images: Images, indices: list[int]) -> None:
        if len(indices) == 1:
            images[indices[0]] = change(images[indices[0]])
        else:
            images[indices] = change(images[indices])

    return Part(change, within)


def _mirror_and_shift(
    x: _Row, y: _Row, size: Size, border: Border, fill: tuple[int, ...]
) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None:
    """The warp by copying whole rows, where it only mirrors and shifts by whole pixels."""
    (a, b, c), (d, e, f) = x, y
    if not (abs(a) == 1 and abs(e) == 1 and b == d == 0 and c.is_integer() and f.is_integer()):
        return None
    right = int(c) if a > 0 else size.width - 1 - int(c)
    down = int(f) if e > 0 else size.height - 1 - int(f)
    if border == "reflect" and not (2 * abs(right) < size.width and 2 * abs(down) < size.height):
        return None  # what was cut away would have to be mirrored in
    outside = abs(right) >= size.width or abs(down) >= size.height
    rows = slice(max(down, 0), size.height + min(down, 0))
    columns = slice(max(right, 0), size.width + min(right, 0))
    top, bottom, left, beyond = max(-down, 0), max(down, 0), max(-right, 0), max(right, 0)

    def shifted(image: Image) -> Image:
        cut = image[rows, columns]
        padded = cv2.copyMakeBorder(cut, top, bottom, left, beyond, _BORDERS[border], value=fill)
        return like(padded, image)

    def change(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if outside:
            return filled(image, fill)
        if a < 0:
            image = like(cv2.flip(tall(image) if image.ndim == 4 else image, 1), image)
        if e < 0:
            image = np.ascontiguousarray(image[..., ::-1, :, :])
        if not right and not down:
            return image
        if image.ndim == 3:
            return shifted(image)
        if border == "reflect":
            return np.stack([shifted(own) for own in image])
        result = filled(image, fill)
        result[:, top : size.height - bottom, left : size.width - beyond] = image[:, rows, columns]
        return result

    return change


def _shear(
    x: _Row, y: _Row, size: Size, fill: tuple[int, ...]
) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None:
    """A gentle shear to the nearest pixel by copying blocks: rows (or columns) that shift equally far."""
    (a, b, c), (d, e, f) = x, y
    if not (a == e == 1 and (b == 0) != (d == 0)):
        return None
    sideways = d == 0
    along, slope, start, other = (size.height, b, c, f) if sideways else (size.width, d, f, c)
    length = size.width if sideways else size.height
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

    def change(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        result = filled(image, fill)
        for to, read in blocks:
            result[..., *to, :] = image[..., *read, :]
        return result

    return change
