"""Every operation, one decorated function each.

An operation turns a value (and, where it is random beyond its sign, some noise) into one of the five
kinds of ``effects.py``. To add one, write a function here: the search space, the policy file's schema, the
preview, the table of operations and the contract tests pick it up from the registry.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import cv2
import numpy as np
from array_api_compat import array_namespace, device
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
from augsearch.policies.registry import OPERATIONS, Noise, Range, operation


def _warp(x: tuple[float, float, float], y: tuple[float, float, float]) -> Warp:
    """The warp whose output point (u, v) is read at (x · (u, v, 1), y · (u, v, 1))."""
    return Warp(np.array((x, y, (0, 0, 1)), dtype=np.float64))


@operation("table")
def identity() -> None:
    """Leave the image as it is."""


@operation("warp", Range(0, 0.3), wide=Range(0, 0.99), unit="slope", signed=True, identity=0)
def shear_x(slope: float, size: Size) -> Warp:
    """Shift each row in proportion to its height, about the top left corner."""
    return _warp((1, slope, slope * size.height / 2), (0, 1, 0))


@operation("warp", Range(0, 0.3), wide=Range(0, 0.99), unit="slope", signed=True, identity=0)
def shear_y(slope: float, size: Size) -> Warp:
    """Shift each column in proportion to its distance from the left, about the top left corner."""
    return _warp((1, 0, 0), (slope, 1, slope * size.width / 2))


@operation("warp", Range(0, 150 / 331, side="width"), wide=Range(0, 32), unit="px", signed=True, identity=0)
def translate_x(pixels: float) -> Warp:
    """Shift sideways by whole pixels: up to 45 % of the width (standard) or 32 pixels (wide)."""
    return _warp((1, 0, -int(pixels)), (0, 1, 0))


@operation("warp", Range(0, 150 / 331, side="height"), wide=Range(0, 32), unit="px", signed=True, identity=0)
def translate_y(pixels: float) -> Warp:
    """Shift up or down by whole pixels: up to 45 % of the height (standard) or 32 pixels (wide)."""
    return _warp((1, 0, 0), (0, 1, -int(pixels)))


@operation("warp", Range(0, 30), wide=Range(0, 135), unit="°", signed=True, identity=0)
def rotate(degrees: float) -> Warp:
    """Turn about the centre, counter-clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _warp((cosine, -sine, 0), (sine, cosine, 0))


@operation("table", Range(0, 0.9), wide=Range(0, 0.99), unit="± of 1", signed=True, identity=0)
def brightness(change: float) -> Table:
    """Multiply every grey value by 1 + change."""
    return Table(_blend(np.zeros((), np.int64), 1 + change))


@operation("colour", Range(0, 0.9), wide=Range(0, 0.99), unit="± of 1", signed=True, identity=0)
def color(change: float) -> Colour:
    """Move every pixel away from its own grey (more colour) or towards it (less)."""
    factor = 1 + change
    mixed = factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))
    return Colour(np.column_stack((mixed, np.zeros(3))))


@operation("table", Range(0, 0.9), wide=Range(0, 0.99), unit="± of 1", signed=True, identity=0)
def contrast(change: float) -> MeasuredTable:
    """Move every grey value away from the image's mean grey, or towards it."""
    return MeasuredTable(Statistic.GREY_MEAN, partial(_blend, factor=1 + change))


@operation("kernel", Range(0, 0.9), wide=Range(0, 0.99), unit="± of 1", signed=True, identity=0)
def sharpness(change: float) -> Kernel:
    """Move every pixel away from its smoothed neighbourhood (sharper) or towards it (softer)."""
    # PIL's SMOOTH has weight 5 in the middle of eight ones: 9/13 of the plain mean and 4/13 of the pixel.
    return Kernel(taps=(1 / 3, 1 / 3, 1 / 3), amount=-change * 9 / 13, edges="keep")


@operation("table", Range(8, 4, whole=True), wide=Range(8, 2, whole=True), unit="bits", identity=8)
def posterize(bits: float) -> Table:
    """Keep only the highest bits of every grey value."""
    return Table(IDENTITY_ENTRIES & np.uint8(256 - 2 ** (8 - int(bits))))


@operation("table", Range(1, 0), wide=Range(1, 0), unit="of 255", identity=256 / 255)
def solarize(threshold: float) -> Table:
    """Invert the grey values at or above the threshold."""
    return Table(np.where(255 * threshold > IDENTITY_ENTRIES, IDENTITY_ENTRIES, 255 - IDENTITY_ENTRIES))


@operation("table")
def auto_contrast() -> MeasuredTable:
    """Stretch each channel so that its darkest value becomes 0 and its brightest 255."""
    return MeasuredTable(Statistic.EXTREMES, _auto_contrast_entries)


@operation("table")
def equalize() -> MeasuredTable:
    """Spread each channel's grey values until all are about equally frequent."""
    return MeasuredTable(Statistic.HISTOGRAM, _equalize_entries)


RANDAUGMENT: tuple[str, ...] = tuple(OPERATIONS)
"""RandAugment's fourteen operations (Cubuk et al. 2019, arXiv:1909.13719)."""


@operation("table")
def invert() -> Table:
    """Turn every grey value v into 255 − v."""
    return Table(255 - IDENTITY_ENTRIES)


@operation("table", Range(0, 100), unit="grey levels", signed=True, identity=0)
def brightness_shift(levels: float) -> Table:
    """Add the same number of grey levels to every channel, clipped to 0–255."""
    return Table(np.clip(IDENTITY_ENTRIES + np.round(levels), 0, 255).astype(np.uint8))


@operation("table", Range(0, 1), unit="octaves", signed=True, identity=0)
def gamma(octaves: float) -> Table:
    """Raise every grey value, as a share of 255, to the power 2^octaves: darker above 0, brighter below."""
    # As torchvision's adjust_gamma does on PIL images.
    return Table((255.999 * (IDENTITY_ENTRIES / 255) ** 2.0**octaves).astype(np.uint8))


@operation("colour", Range(0, 90), wide=Range(0, 180), unit="°", signed=True, identity=0)
def hue(degrees: float) -> Colour:
    """Turn all hues by the same angle at constant brightness: in YIQ, where torchvision turns in HSV."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array(((1, 0, 0), (0, cosine, -sine), (0, sine, cosine)))
    return _rounded(np.linalg.inv(YIQ) @ turn @ YIQ)


@operation("colour", noise=1, cases=lambda value, size: (len(SHUFFLES),))
def channel_shuffle(shuffle: Noise) -> Colour:
    """Put red, green and blue in another order."""
    return _rounded(np.eye(3)[list(SHUFFLES[int(shuffle[0])])])


@operation("colour")
def grey() -> Colour:
    """Leave no colour, only brightness."""
    return _rounded(np.tile(LUMA, (3, 1)))


@operation("kernel", Range(0, 0.02), unit="of the shorter side", identity=0)
def gaussian_blur(sigma: float, size: Size) -> Kernel | None:
    """Blur with a Gaussian of that standard deviation."""
    shorter = min(size)
    radius = min(math.ceil(3 * sigma * shorter), shorter - 1)
    if radius == 0:
        return None
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (sigma * shorter)) ** 2)
    return Kernel(taps=tuple((weights / weights.sum()).tolist()), amount=1, edges="reflect")


@operation("warp", Range(1, 2), unit="times", identity=1)
def zoom_in(factor: float) -> Warp:
    """Enlarge about the centre."""
    return _warp((1 / factor, 0, 0), (0, 1 / factor, 0))


@operation("warp", Range(1, 2), unit="times", identity=1)
def zoom_out(factor: float) -> Warp:
    """Shrink towards the centre."""
    return _warp((factor, 0, 0), (0, factor, 0))


@operation("patch", Range(0, 0.5), unit="of the side", noise=2, identity=0)
def cutout(side: float, noise: Noise, size: Size) -> Patch | None:
    """Fill a rectangle, whose centre may lie anywhere (DeVries and Taylor 2017, arXiv:1708.04552)."""
    height, width = round(side * size.height), round(side * size.width)
    top = int(noise[0] * size.height) - height // 2
    left = int(noise[1] * size.width) - width // 2
    bottom, right = min(top + height, size.height), min(left + width, size.width)
    top, left = max(top, 0), max(left, 0)
    return Patch(top, left, bottom - top, right - left) if bottom > top and right > left else None


@operation("warp")
def flip_horizontal() -> Warp:
    """Mirror left and right."""
    return _warp((-1, 0, 0), (0, 1, 0))


@operation("warp")
def flip_vertical() -> Warp:
    """Mirror top and bottom."""
    return _warp((1, 0, 0), (0, -1, 0))


@operation("warp")
def rotate_90() -> Warp:
    """A quarter turn counter-clockwise; the canvas keeps its shape."""
    return _warp((0, -1, 0), (1, 0, 0))


@operation("warp")
def rotate_180() -> Warp:
    """Half a turn."""
    return _warp((-1, 0, 0), (0, -1, 0))


@operation("warp")
def rotate_270() -> Warp:
    """A quarter turn clockwise; the canvas keeps its shape."""
    return _warp((0, 1, 0), (-1, 0, 0))


def _windows(padding: float, size: Size) -> tuple[int, int]:
    """How many windows there are sideways, and up and down."""
    return 2 * round(padding * size.width) + 1, 2 * round(padding * size.height) + 1


@operation("warp", Range(0, 0.25), unit="of the side", noise=2, cases=_windows, identity=0)
def crop(padding: float, window: Noise, size: Size) -> Warp:
    """Pad every side and cut out a window of the old size: a random shift by whole pixels."""
    shift_x = window[0] - round(padding * size.width)
    shift_y = window[1] - round(padding * size.height)
    return _warp((1, 0, shift_x), (0, 1, shift_y))


@operation("warp", Range(0, 0.25), unit="of the side", noise=6, identity=0)
def affine(reach: float, noise: Noise, size: Size) -> Warp:
    """Move three points of the image, each sideways and up or down by up to the reach."""
    anchors = np.array([[-0.5, 0.5, -0.5], [-0.5, -0.5, 0.5], [1, 1, 1]])
    moves = reach * (2 * np.asarray(noise).reshape(2, 3) - 1)
    moved = anchors.copy()
    moved[:2] += moves
    unit = moved @ np.linalg.inv(anchors)
    scale = np.diag([size.width, size.height, 1.0])
    return Warp(scale @ unit @ np.linalg.inv(scale))


@operation("warp", Range(0, 0.25), unit="of the side", noise=8, identity=0)
def perspective(reach: float, noise: Noise, size: Size) -> Warp:
    """Move each corner sideways and up or down by up to the reach, as if seen from another angle."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * (size.width, size.height)
    moves = reach * (2 * np.asarray(noise).reshape(4, 2) - 1) * (size.width, size.height)
    read_from, drawn_at = (corners + moves).astype(np.float32), corners.astype(np.float32)
    return Warp(np.asarray(cv2.getPerspectiveTransform(drawn_at, read_from), dtype=np.float64))


BASIC: tuple[str, ...] = (
    "crop",
    "flip_horizontal",
    "flip_vertical",
    "rotate_90",
    "rotate_180",
    "rotate_270",
)
"""Operations that a ``Policy`` also has as basic transforms, each with a probability of its own."""

OPERATION_SETS: dict[str, tuple[str, ...]] = {
    "randaugment": RANDAUGMENT,
    "colour": tuple(name for name, one in OPERATIONS.items() if one.kind in ("table", "colour", "kernel")),
    "geometry": tuple(
        name
        for name, one in OPERATIONS.items()
        if name == "identity" or (one.kind == "warp" and name not in BASIC)
    ),
    "wide": tuple(name for name in OPERATIONS if name not in BASIC),
}
"""Operations by what they are good for. All have the identity, which leaves an image as it is."""


YIQ: NDArray[np.float64] = np.vstack((LUMA, ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))))
"""RGB to brightness and the two colour differences of NTSC, which are zero for every grey."""

SHUFFLES: tuple[tuple[int, int, int], ...] = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Every order of the channels but their own."""


def _rounded(matrix: NDArray[np.float64]) -> Colour:
    """The change of colours by ``matrix`` (3, 3), rounded to the nearest where others cut off."""
    return Colour(np.column_stack((matrix, np.full(3, 0.5))))


# The tables below are written against the array API standard, over any leading axes and on any device.


def _blend(grey: Any, factor: float) -> Any:
    """PIL's ``Image.blend`` of constant greys (...,) and each grey value, float32 and truncated as there."""
    xp = array_namespace(grey)
    values = xp.arange(256, dtype=xp.float32, device=device(grey))
    greys = xp.astype(grey, xp.float32)[..., None]
    # The factor as float32 before it meets anything, as in PIL.
    blended = greys + float(np.float32(factor)) * (values - greys)
    return xp.astype(_clipped(xp, blended), xp.uint8)


def _auto_contrast_entries(extremes: Any) -> Any:
    """PIL's ``ImageOps.autocontrast`` from the lowest and highest grey values (..., 2)."""
    xp = array_namespace(extremes)
    low, high = extremes[..., :1], extremes[..., 1:]
    values = xp.arange(256, dtype=xp.float64, device=device(extremes))
    span = xp.astype(xp.maximum(high - low, xp.ones_like(low)), xp.float64)
    scale = xp.full_like(span, 255.0) / span  # of 255.0 / span, torch makes a product that rounds twice
    stretched = _clipped(xp, values * scale + -xp.astype(low, xp.float64) * scale)
    return xp.astype(xp.where(high > low, stretched, values), xp.uint8)


def _equalize_entries(histogram: Any) -> Any:
    """PIL's ``ImageOps.equalize`` from histograms (..., 256)."""
    xp = array_namespace(histogram)
    values = xp.arange(256, dtype=xp.int64, device=device(histogram))
    counted = xp.cumulative_sum(histogram, axis=-1)
    without_last = xp.max(xp.where(counted < counted[..., -1:], counted, 0), axis=-1, keepdims=True)
    # Zero for a single grey value, and where there are fewer pixels than grey values: left as they are.
    step = without_last // 255
    # Whole numbers below 2**53: the division rounds down correctly, and is faster than that of integers.
    before = xp.astype(counted - histogram + step // 2, xp.float64)
    spread = before / xp.astype(xp.where(step > 0, step, 1), xp.float64)
    spread = xp.where(spread < 255, spread, 255.0)
    return xp.astype(xp.where(step > 0, spread, values), xp.uint8)


def _clipped(xp: Any, values: Any) -> Any:
    """Clip to 0–255; the library's own ``clip`` first makes sure of much that is known here."""
    return xp.where(values < 0, 0.0, xp.where(values > 255, 255.0, values))
