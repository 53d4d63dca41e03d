"""The OpenCV backend: runs fused steps on one uint8 image of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.kinds import Colour, Entries, Kernel, Patch, Statistic, Step, Tables, Warp
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


def run(steps: Sequence[Step], image: Image, sampling: Sampling) -> Image:
    """A new image with ``steps`` applied in order, or ``image`` itself where there are none."""
    for step in steps:
        if isinstance(step, Warp):
            image = _warp(step, image, sampling)
        elif isinstance(step, Tables):
            image = _look_up(step, image)
        elif isinstance(step, Colour):
            image = _recolour(step, image)
        elif isinstance(step, Kernel):
            image = _convolve(step, image)
        else:
            image = _patch(step, image, sampling)
    return image


def _warp(warp: Warp, image: Image, sampling: Sampling) -> Image:
    height, width, channels = image.shape
    # The matrix speaks of pixels from the centre, OpenCV of pixel indices from the top left.
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    (a, b, c), (d, e, f), (g, h, _) = warp.matrix.tolist()
    flags = _INTERPOLATIONS[sampling.interpolation] | cv2.WARP_INVERSE_MAP
    border, fill = _BORDERS[sampling.border], sampling.fill[:channels]
    if g == 0 and h == 0:
        index = np.array(
            (
                (a, b, c + centre_x - a * centre_x - b * centre_y),
                (d, e, f + centre_y - d * centre_x - e * centre_y),
            )
        )
        warped = cv2.warpAffine(
            image, index, (width, height), flags=flags, borderMode=border, borderValue=fill
        )
    else:
        to_centre = np.array(((1, 0, -centre_x), (0, 1, -centre_y), (0, 0, 1)))
        from_centre = np.array(((1, 0, centre_x), (0, 1, centre_y), (0, 0, 1)))
        index = from_centre @ warp.matrix @ to_centre
        warped = cv2.warpPerspective(
            image, index, (width, height), flags=flags, borderMode=border, borderValue=fill
        )
    return _like(warped, image)


def _look_up(tables: Tables, image: Image) -> Image:
    entries = tables.entries(lambda statistic: measure(image, statistic))
    return _like(cv2.LUT(image, _lut(entries, image.shape[2])), image)


def _lut(entries: Entries, channels: int) -> Entries:
    return entries if entries.ndim == 1 else entries.T.reshape(1, 256, channels)


def _recolour(colour: Colour, image: Image) -> Image:
    if image.shape[2] == 1:
        return image
    matrix = colour.matrix.copy()
    matrix[:, 3] += _CUT_OFF
    return _like(cv2.transform(image, matrix), image)


def _convolve(kernel: Kernel, image: Image) -> Image:
    margin = len(kernel.weights) // 2
    filtered = _like(cv2.filter2D(image, -1, kernel.weights, delta=_CUT_OFF), image)
    for edge in (np.s_[:margin], np.s_[-margin:], np.s_[:, :margin], np.s_[:, -margin:]):
        filtered[edge] = image[edge]
    return filtered


def _patch(patch: Patch, image: Image, sampling: Sampling) -> Image:
    patched = image.copy()
    bottom, right = patch.top + patch.height, patch.left + patch.width
    patched[patch.top : bottom, patch.left : right] = sampling.fill[: image.shape[2]]
    return patched


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
