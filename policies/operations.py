"""Every operation, one decorated function each.

An operation turns a value (and, where it is random beyond its sign, some noise) into one of the five
kinds of ``effects.py``. To add one, write a function here, anywhere, and say in which sets it is: the search
space, the check of policy files, the preview, the table of operations and the contract tests find it in the
registry.
"""

from __future__ import annotations

import math
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.effects import (
    IDENTITY_ENTRIES,
    LUMA,
    Colour,
    Kernel,
    MeasuredTable,
    Patch,
    Size,
    Statistic,
    Table,
    Warp,
)
from augsearch.policies.regions import REGION_NOISE, cropped, erased
from augsearch.policies.registry import Cases, Noise, Range, operation
from augsearch.policies.table_entries import (
    auto_contrast_entries,
    blend,
    blend_entries,
    equalize_entries,
    equalized,
    stretch,
)

YIQ: NDArray[np.float64] = np.vstack((LUMA, ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))))
"""RGB to brightness and the two colour differences of NTSC, which are zero for every grey."""

NO_BLUR = 0.02
"""Pixels of standard deviation below which float64 holds no weight of a neighbour."""

SHUFFLES: tuple[tuple[int, int, int], ...] = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Every order of the channels but their own."""


def _warp(x: tuple[float, float, float], y: tuple[float, float, float]) -> Warp:
    """The warp whose output point (u, v) is read at (x · (u, v, 1), y · (u, v, 1))."""
    return Warp(np.array((x, y, (0, 0, 1)), dtype=np.float64))


def _rounded(matrix: NDArray[np.float64]) -> Colour:
    """The change of colours by ``matrix`` (3, 3), rounded to the nearest where others are truncated."""
    return Colour(np.column_stack((matrix, np.full(3, 0.5))), rounding=0.5)


_by_a_factor = partial(
    operation,
    standard=Range(0, 0.9, farthest=1),
    wide=Range(0, 0.99, farthest=1),
    unit="± of 1",
    signed=True,
    identity=0,
    sets=("randaugment", "colour", "wide"),
)


@operation("table", sets=("randaugment", "colour", "geometry", "wide"))
def identity() -> None:
    """Leave the image as it is."""


@operation(
    "warp",
    Range(0, 0.3, farthest=2),
    wide=Range(0, 0.99, farthest=2),
    unit="slope",
    signed=True,
    identity=0,
    sets=("randaugment", "geometry", "wide"),
)
def shear_x(slope: float, size: Size) -> Warp:
    """Shift each row in proportion to its height, about the top left corner."""
    return _warp((1, slope, slope * size.height / 2), (0, 1, 0))


@operation(
    "warp",
    Range(0, 0.3, farthest=2),
    wide=Range(0, 0.99, farthest=2),
    unit="slope",
    signed=True,
    identity=0,
    sets=("randaugment", "geometry", "wide"),
)
def shear_y(slope: float, size: Size) -> Warp:
    """Shift each column in proportion to its distance from the left, about the top left corner."""
    return _warp((1, 0, 0), (slope, 1, slope * size.width / 2))


@operation(
    "warp",
    Range(0, 150 / 331, side="width", farthest=1),
    wide=Range(0, 32, farthest=1024),
    unit="px",
    signed=True,
    identity=0,
    sets=("randaugment", "geometry", "wide"),
)
def translate_x(pixels: float) -> Warp:
    """Shift sideways by whole pixels: up to 45 % of the width (standard) or 32 pixels (wide)."""
    return _warp((1, 0, -int(pixels)), (0, 1, 0))


@operation(
    "warp",
    Range(0, 150 / 331, side="height", farthest=1),
    wide=Range(0, 32, farthest=1024),
    unit="px",
    signed=True,
    identity=0,
    sets=("randaugment", "geometry", "wide"),
)
def translate_y(pixels: float) -> Warp:
    """Shift up or down by whole pixels: up to 45 % of the height (standard) or 32 pixels (wide)."""
    return _warp((1, 0, 0), (0, 1, -int(pixels)))


@operation(
    "warp",
    Range(0, 30, farthest=180),
    wide=Range(0, 135, farthest=180),
    unit="°",
    signed=True,
    identity=0,
    sets=("randaugment", "geometry", "wide"),
)
def rotate(degrees: float) -> Warp:
    """Turn about the centre, counter-clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _warp((cosine, -sine, 0), (sine, cosine, 0))


@_by_a_factor("table")
def brightness(change: float) -> Table:
    """Multiply every grey value by 1 + change."""
    return Table(blend_entries(np.zeros((), np.int64), 1 + change), lambda levels: (1 + change) * levels)


@_by_a_factor("colour")
def color(change: float) -> Colour:
    """Move every pixel away from its own grey (more colour) or towards it (less)."""
    factor = 1 + change
    mixed = factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))
    return Colour(np.column_stack((mixed, np.zeros(3))))


@_by_a_factor("table")
def contrast(change: float) -> MeasuredTable:
    """Move every grey value away from the image's mean grey, or towards it."""
    write, curve = partial(blend_entries, factor=1 + change), partial(blend, factor=1 + change)
    return MeasuredTable(Statistic.GREY_MEAN, write, curve)


@_by_a_factor("kernel")
def sharpness(change: float) -> Kernel:
    """Move every pixel away from its smoothed neighbourhood (sharper) or towards it (softer)."""
    # PIL's SMOOTH has weight 5 in the middle of eight ones: 9/13 of the plain mean and 4/13 of the pixel.
    return Kernel(taps=(1 / 3, 1 / 3, 1 / 3), amount=-change * 9 / 13, edges="keep")


@operation(
    "table",
    Range(8, 4, whole=True, farthest=1),
    wide=Range(8, 2, whole=True, farthest=1),
    unit="bits",
    identity=8,
    sets=("randaugment", "colour", "wide"),
)
def posterize(bits: float) -> Table:
    """Keep only the highest bits of every grey value."""
    if int(bits) == 8:  # which is all that 8-bit images have, and no reason to take bits from others
        return Table.of(lambda levels: levels)
    step = 2 ** (8 - int(bits))
    return Table.of(lambda levels: levels // step * step)


@operation(
    "table",
    Range(1, 0),
    wide=Range(1, 0),
    unit="of 255",
    identity=256 / 255,
    sets=("randaugment", "colour", "wide"),
)
def solarize(threshold: float) -> Table:
    """Invert the grey values at or above the threshold."""
    # Of NumPy's own type, so that levels of 32 bits do not round it: 34.000000000000004 parts 34 from 35.
    exact = np.float64(255 * threshold)
    return Table.of(lambda levels: np.where(exact > levels, levels, 255 - levels))


@operation("table", sets=("randaugment", "colour", "wide"))
def auto_contrast() -> MeasuredTable:
    """Stretch each channel so that its darkest value becomes 0 and its brightest 255."""
    return MeasuredTable(Statistic.EXTREMES, auto_contrast_entries, stretch)


@operation("table", sets=("randaugment", "colour", "wide"))
def equalize() -> MeasuredTable:
    """Spread each channel's grey values until all are about equally frequent."""
    return MeasuredTable(Statistic.HISTOGRAM, equalize_entries, equalized)


@operation("table", sets=("colour", "wide"))
def invert() -> Table:
    """Turn every grey value v into 255 − v."""
    return Table.of(lambda levels: 255 - levels)


@operation(
    "table", Range(0, 100, farthest=255), unit="grey levels", signed=True, identity=0, sets=("colour", "wide")
)
def brightness_shift(levels: float) -> Table:
    """Add the same number of grey levels to every channel, clipped to 0–255."""
    return Table.of(partial(np.add, np.round(levels)))


@operation("table", Range(0, 1, farthest=3), unit="octaves", signed=True, identity=0, sets=("colour", "wide"))
def gamma(octaves: float) -> Table:
    """Raise every grey value, as a share of 255, to the power 2^octaves: darker above 0, brighter below."""
    # As torchvision's adjust_gamma does on PIL images.
    entries = (255.999 * (IDENTITY_ENTRIES / 255) ** 2.0**octaves).astype(np.uint8)
    return Table(entries, lambda levels: 255 * (levels / 255) ** 2.0**octaves)


@operation(
    "colour",
    Range(0, 90, farthest=180),
    wide=Range(0, 180),
    unit="°",
    signed=True,
    identity=0,
    sets=("colour", "wide"),
)
def hue(degrees: float) -> Colour:
    """Turn all hues by the same angle at constant brightness: in YIQ, where torchvision turns in HSV."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array(((1, 0, 0), (0, cosine, -sine), (0, sine, cosine)))
    return _rounded(np.linalg.inv(YIQ) @ turn @ YIQ)


@operation("colour", noise=Cases(1, lambda value, size: (len(SHUFFLES),)), sets=("colour", "wide"))
def channel_shuffle(shuffle: Noise) -> Colour:
    """Put red, green and blue in another order."""
    return _rounded(np.eye(3)[list(SHUFFLES[int(shuffle[0])])])


@operation("colour", sets=("colour", "wide"))
def grey() -> Colour:
    """Leave no colour, only brightness."""
    return _rounded(np.tile(LUMA, (3, 1)))


@operation(
    "kernel", Range(0, 0.02, farthest=0.1), unit="of the shorter side", identity=0, sets=("colour", "wide")
)
def gaussian_blur(sigma: float, size: Size) -> Kernel | None:
    """Blur with a Gaussian of that standard deviation."""
    shorter = min(size)
    radius = min(math.ceil(3 * sigma * shorter), shorter - 1)
    if radius == 0 or sigma * shorter < NO_BLUR:
        return None
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (sigma * shorter)) ** 2)
    return Kernel(taps=tuple((weights / weights.sum()).tolist()), amount=1, edges="reflect")


@operation("warp", Range(1, 2, farthest=8), unit="times", identity=1, sets=("geometry", "wide"))
def zoom_in(factor: float) -> Warp:
    """Enlarge about the centre."""
    return _warp((1 / factor, 0, 0), (0, 1 / factor, 0))


@operation("warp", Range(1, 2, farthest=8), unit="times", identity=1, sets=("geometry", "wide"))
def zoom_out(factor: float) -> Warp:
    """Shrink towards the centre."""
    return _warp((factor, 0, 0), (0, factor, 0))


@operation("patch", Range(0, 0.5, farthest=1), unit="of the side", noise=2, identity=0, sets=("wide",))
def cutout(side: float, noise: Noise, size: Size) -> Patch | None:
    """Fill a rectangle, whose centre may lie anywhere (DeVries and Taylor 2017, arXiv:1708.04552)."""
    height, width = round(side * size.height), round(side * size.width)
    top = int(noise[0] * size.height) - height // 2
    left = int(noise[1] * size.width) - width // 2
    bottom, right = min(top + height, size.height), min(left + width, size.width)
    top, left = max(top, 0), max(left, 0)
    return Patch(top, left, bottom - top, right - left) if bottom > top and right > left else None


@operation("warp", sets=("basic",))
def flip_horizontal() -> Warp:
    """Mirror left and right."""
    return _warp((-1, 0, 0), (0, 1, 0))


@operation("warp", sets=("basic",))
def flip_vertical() -> Warp:
    """Mirror top and bottom."""
    return _warp((1, 0, 0), (0, -1, 0))


@operation("warp", sets=("basic",))
def rotate_90() -> Warp:
    """A quarter turn counter-clockwise; the canvas keeps its shape."""
    return _warp((0, -1, 0), (1, 0, 0))


@operation("warp", sets=("basic",))
def rotate_180() -> Warp:
    """Half a turn."""
    return _warp((-1, 0, 0), (0, -1, 0))


@operation("warp", sets=("basic",))
def rotate_270() -> Warp:
    """A quarter turn clockwise; the canvas keeps its shape."""
    return _warp((0, 1, 0), (-1, 0, 0))


def _windows(padding: float, size: Size) -> tuple[int, int]:
    """How many windows there are sideways, and up and down."""
    return 2 * round(padding * size.width) + 1, 2 * round(padding * size.height) + 1


@operation("warp", Range(0, 0.25), unit="of the side", noise=Cases(2, _windows), identity=0, sets=("basic",))
def crop(padding: float, window: Noise, size: Size) -> Warp:
    """Pad every side and cut out a window of the old size: a random shift by whole pixels."""
    shift_x = window[0] - round(padding * size.width)
    shift_y = window[1] - round(padding * size.height)
    return _warp((1, 0, shift_x), (0, 1, shift_y))


@operation("warp", Range(0, 0.25), unit="of the side", noise=6, identity=0, sets=("geometry", "wide"))
def affine(reach: float, noise: Noise, size: Size) -> Warp:
    """Move three points of the image, each sideways and up or down by up to the reach."""
    anchors = np.array([[-0.5, 0.5, -0.5], [-0.5, -0.5, 0.5], [1, 1, 1]])
    moves = reach * (2 * np.asarray(noise).reshape(2, 3) - 1)
    moved = anchors.copy()
    moved[:2] += moves
    unit = moved @ np.linalg.inv(anchors)
    scale = np.diag([size.width, size.height, 1.0])
    return Warp(scale @ unit @ np.linalg.inv(scale))


@operation("warp", Range(0, 0.25), unit="of the side", noise=8, identity=0, sets=("geometry", "wide"))
def perspective(reach: float, noise: Noise, size: Size) -> Warp:
    """Move each corner sideways and up or down by up to the reach, as if seen from another angle."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * (size.width, size.height)
    moves = reach * (2 * np.asarray(noise).reshape(4, 2) - 1) * (size.width, size.height)
    read_from, drawn_at = (corners + moves).astype(np.float32), corners.astype(np.float32)
    return Warp(np.asarray(cv2.getPerspectiveTransform(drawn_at, read_from), dtype=np.float64))


@operation(
    "warp", Range(1, 0.08), unit="of the area or more", noise=REGION_NOISE, identity=1, sets=("basic",)
)
def resized_crop(smallest: float, noise: Noise, size: Size) -> Warp | None:
    """Cut out a random part, of that share of the area at least, and enlarge it to the image's size."""
    left, top, across, down = cropped(size.width, size.height, smallest, noise)
    if smallest == 1 or (across, down) == (size.width, size.height):
        return None
    x = (across / size.width, 0.0, left + (across - size.width) / 2)
    y = (0.0, down / size.height, top + (down - size.height) / 2)
    return Warp(np.array((x, y, (0, 0, 1))), enlarges=True)


@operation(
    "patch",
    Range(0, 1 / 3, farthest=1),
    unit="of the area or less",
    noise=REGION_NOISE,
    identity=0,
    sets=("basic",),
)
def erase(largest: float, noise: Noise, size: Size) -> Patch | None:
    """Fill a random rectangle, of up to that share of the area (Zhong et al. 2020, arXiv:1708.04896)."""
    part = erased(size.width, size.height, largest, noise)
    return None if part is None else Patch(part.top, part.left, part.height, part.width)
