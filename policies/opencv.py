"""The OpenCV backend: runs fused steps on one uint8 image of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.kinds import Colour, Kernel, Patch, Size, Statistic, Step, Table, Tables, Warp
from augsearch.policies.operations import LUMA

Image = NDArray[np.uint8]
"""(H, W, C), C = 1 or 3, RGB."""

Interpolation = Literal["nearest", "bilinear"]
Border = Literal["fill", "reflect"]

_INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}
_BORDERS = {"fill": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}

# OpenCV rounds where PIL and torchvision cut off. Taking this off first cuts off too, and a hair less than
# a half leaves values that are whole already as they are.
_CUT_OFF = -0.498


@dataclass(frozen=True, slots=True)
class Sampling:
    """How warps and patches meet pixels that do not exist."""

    interpolation: Interpolation = "nearest"
    border: Border = "fill"
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB; grey images take the first."""


Part = Callable[[Image], Image]
Program = tuple[Part, ...]
"""Steps made ready for images of one size: nothing is computed twice that does not depend on the pixels."""


def prepare(steps: Sequence[Step], size: Size, channels: int, sampling: Sampling) -> Program:
    """Make ``steps`` ready for images (H, W, C) of ``size`` with ``channels``."""
    return tuple(_prepared(step, size, channels, sampling) for step in steps)


def run(program: Program, image: Image) -> Image:
    """A new image with the program's parts applied in order, or ``image`` itself where there are none."""
    for part in program:
        image = part(image)
    return image


def _prepared(step: Step, size: Size, channels: int, sampling: Sampling) -> Part:
    if isinstance(step, Warp):
        return _warp(step, size, channels, sampling)
    if isinstance(step, Tables):
        return _look_up(step, channels)
    if isinstance(step, Colour):
        return _recolour(step, channels)
    if isinstance(step, Kernel):
        return _convolve(step)
    return _patch(step, channels, sampling)


def _warp(warp: Warp, size: Size, channels: int, sampling: Sampling) -> Part:
    height, width = size
    # The matrix speaks of pixels from the centre, OpenCV of pixel indices from the top left.
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    (a, b, c), (d, e, f), (g, h, _) = warp.matrix.tolist()
    if g == 0 and h == 0:
        function = cv2.warpAffine
        x = (a, b, c + centre_x - a * centre_x - b * centre_y)
        y = (d, e, f + centre_y - d * centre_x - e * centre_y)
        matrix = np.array((x, y))
    else:
        function = cv2.warpPerspective
        to_centre = np.array(((1, 0, -centre_x), (0, 1, -centre_y), (0, 0, 1)))
        from_centre = np.array(((1, 0, centre_x), (0, 1, centre_y), (0, 0, 1)))
        matrix = from_centre @ warp.matrix @ to_centre
    flags = _INTERPOLATIONS[sampling.interpolation] | cv2.WARP_INVERSE_MAP
    border, fill = _BORDERS[sampling.border], sampling.fill[:channels]

    def part(image: Image) -> Image:
        return _like(function(image, matrix, (width, height), None, flags, border, fill), image)

    return part


def _look_up(tables: Tables, channels: int) -> Part:
    if all(isinstance(member, Table) for member in tables.members):
        known = tables.entries(_never)
        return lambda image: _like(cv2.LUT(image, known), image)

    def part(image: Image) -> Image:
        entries = tables.entries(lambda statistic: measure(image, statistic))
        lut = entries if entries.ndim == 1 else entries.T.reshape(1, 256, channels)
        return _like(cv2.LUT(image, lut), image)

    return part


def _never(statistic: Statistic) -> NDArray[np.int64]:
    raise AssertionError("a table that is known beforehand asked for a statistic")


def _recolour(colour: Colour, channels: int) -> Part:
    if channels == 1:
        return lambda image: image
    matrix = colour.matrix.copy()
    matrix[:, 3] += _CUT_OFF
    return lambda image: _like(cv2.transform(image, matrix), image)


def _convolve(kernel: Kernel) -> Part:
    taps, amount = np.array(kernel.taps), kernel.amount
    shape, uniform = (len(taps), len(taps)), len(set(kernel.taps)) == 1
    margin = len(taps) // 2
    edges = (np.s_[:margin], np.s_[-margin:], np.s_[:, :margin], np.s_[:, -margin:])

    def part(image: Image) -> Image:
        # A running mean costs the same at any width, and half of a general filter at 3 × 3.
        if uniform:
            smoothed = cv2.boxFilter(image, -1, shape)
        else:
            smoothed = cv2.sepFilter2D(image, -1, taps, taps)
        if amount != 1:
            smoothed = cv2.addWeighted(image, 1 - amount, _like(smoothed, image), amount, _CUT_OFF)
        filtered = _like(smoothed, image)
        if kernel.edges == "keep":
            for edge in edges:
                filtered[edge] = image[edge]
        return filtered

    return part


def _patch(patch: Patch, channels: int, sampling: Sampling) -> Part:
    rows = slice(patch.top, patch.top + patch.height)
    columns = slice(patch.left, patch.left + patch.width)

    def part(image: Image) -> Image:
        patched = image.copy()
        patched[rows, columns] = sampling.fill[:channels]
        return patched

    return part


def _like(result: Any, image: Image) -> Image:
    """OpenCV's result with the channel axis that it drops from grey images."""
    return cast(Image, result.reshape(image.shape))


def measure(image: Image, statistic: Statistic) -> NDArray[np.int64]:
    """The histogram (C, 256), or the mean grey value as a 0-d array."""
    channels = image.shape[2]
    if statistic is Statistic.GREY_MEAN:
        grey = image if channels == 1 else cv2.transform(image, LUMA.reshape(1, 3))
        return np.array(int(cv2.mean(grey)[0] + 0.5))
    if image.shape[0] * image.shape[1] < 2**24:  # calcHist counts in float32
        counts = [
            cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel() for channel in range(channels)
        ]
        return np.stack(counts).astype(np.int64)
    return np.stack([np.bincount(image[:, :, channel].ravel(), minlength=256) for channel in range(channels)])
