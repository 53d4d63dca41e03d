"""Every operation, one decorated function each.

An operation turns a value (and, where it is random beyond its sign, some noise) into one of the five
kinds of ``kinds.py``. To add one, write a function here: the search space, the policy file's schema, the
preview, the table of operations and the contract tests pick it up from the registry.

Magnitudes: a user says 0–30; an operation sees the physical value. The operations that torchvision's
``RandAugment`` and ``TrivialAugmentWide`` also have mean at every magnitude what torchvision's mean;
their ranges are ``standard`` and ``wide``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.kinds import (
    IDENTITY_ENTRIES,
    Colour,
    Effect,
    Entries,
    Histogram,
    Kernel,
    MeasuredTable,
    Patch,
    Size,
    Statistic,
    Table,
    Warp,
)

MAX_MAGNITUDE = 30
"""Magnitudes are whole numbers from 0 to this, RandAugment's scale."""

Ranges = Literal["standard", "wide"]
"""``standard``: RandAugment's values for magnitudes 0–30. ``wide``: TrivialAugment's."""

Noise = Sequence[float]
"""Independent draws from [0, 1)."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values that magnitudes 0 and 30 stand for; those between are evenly spaced."""

    weakest: float
    strongest: float
    side: Literal["height", "width"] | None = None
    """Values are multiplied by this side of the image, to give pixels."""
    whole: bool = False
    """Values are rounded to whole numbers, halves to the even one, as torchvision does."""

    def value(self, magnitude: int, size: Size) -> float:
        """What ``magnitude`` (0–30) means for an image of ``size``."""
        scale = getattr(size, self.side) if self.side else 1
        return _spaced(self.weakest * scale, self.strongest * scale, self.whole)[magnitude]


@cache
def _spaced(weakest: float, strongest: float, whole: bool) -> tuple[float, ...]:
    """31 evenly spaced values, in the arithmetic of ``torch.linspace``: float32, fused multiply-add.

    The last bit matters: a translation is cut to whole pixels, and 16.0 and 15.999999 differ by one.
    """
    start, end = np.float32(weakest), np.float32(strongest)
    step = np.float64((end - start) / np.float32(MAX_MAGNITUDE))
    counts = np.arange(MAX_MAGNITUDE + 1, dtype=np.float64)
    half = (MAX_MAGNITUDE + 1) // 2
    values = np.where(counts < half, start + step * counts, end - step * counts[::-1]).astype(np.float32)
    if whole:
        values = np.round(values)
    return tuple(float(value) for value in values)


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the registry."""

    name: str
    kind: str
    """``warp``, ``table``, ``colour``, ``kernel`` or ``patch``."""
    effect: Callable[[float, Noise, Size], Effect | None]
    """``effect(value, noise, size)``; None where it would change nothing."""
    standard: Range | None
    """None: the operation has no magnitude."""
    wide: Range | None
    unit: str
    signed: bool
    """Half of the time the value is negated."""
    noise: int
    """How many independent random numbers it takes beside its value."""
    identity: float | None
    """The value at which it changes nothing, where there is one."""
    summary: str

    def value(self, magnitude: int, ranges: Ranges, size: Size) -> float:
        """The physical value of ``magnitude`` (0–30), before its sign; 0 without a magnitude."""
        chosen = self.wide if ranges == "wide" else self.standard
        return chosen.value(magnitude, size) if chosen else 0.0


OPERATIONS: dict[str, Operation] = {}
"""Every operation by name, in the order in which they are declared below."""


def operation(
    kind: Literal["warp", "table", "colour", "kernel", "patch"],
    standard: Range | None = None,
    *,
    wide: Range | None = None,
    unit: str = "",
    signed: bool = False,
    noise: int = 0,
    identity: float | None = None,
) -> Callable[[Callable[..., Effect | None]], Callable[..., Effect | None]]:
    """Register the function below: it takes the value if there is a ``standard`` range, then the noise
    if ``noise`` asks for any, then the image's size if it has a parameter ``size``.
    """

    def register(function: Callable[..., Effect | None]) -> Callable[..., Effect | None]:
        wants_size = "size" in function.__code__.co_varnames[: function.__code__.co_argcount]

        def effect(value: float, draws: Noise, size: Size) -> Effect | None:
            arguments: list[Any] = [value] if standard else []
            if noise:
                arguments.append(draws)
            if wants_size:
                arguments.append(size)
            return function(*arguments)

        name = function.__name__
        OPERATIONS[name] = Operation(
            name=name,
            kind=kind,
            effect=effect,
            standard=standard,
            wide=wide or standard,
            unit=unit,
            signed=signed,
            noise=noise,
            identity=identity,
            summary=" ".join((function.__doc__ or "").split()),
        )
        return function

    return register


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
    return Table(_blend(0, 1 + change))


@operation("colour", Range(0, 0.9), wide=Range(0, 0.99), unit="± of 1", signed=True, identity=0)
def color(change: float) -> Colour:
    """Move every pixel away from its own grey (more colour) or towards it (less)."""
    factor = 1 + change
    mixed = factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))
    return Colour(np.column_stack((mixed, np.zeros(3))))


@operation("table", Range(0, 0.9), wide=Range(0, 0.99), unit="± of 1", signed=True, identity=0)
def contrast(change: float) -> MeasuredTable:
    """Move every grey value away from the image's mean grey, or towards it."""
    return MeasuredTable(Statistic.GREY_MEAN, partial(_contrast_entries, factor=1 + change))


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
    return MeasuredTable(Statistic.HISTOGRAM, _auto_contrast_entries)


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


@operation("warp", Range(0, 0.25), unit="of the side", noise=2, identity=0)
def crop(padding: float, noise: Noise, size: Size) -> Warp:
    """Pad every side and cut out a window of the old size: a random shift by whole pixels."""
    reach_x, reach_y = round(padding * size.width), round(padding * size.height)
    shift_x = int(noise[0] * (2 * reach_x + 1)) - reach_x
    shift_y = int(noise[1] * (2 * reach_y + 1)) - reach_y
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


LUMA: NDArray[np.float64] = np.array([19595, 38470, 7471]) / 65536
"""Weights of R, G, B in grey: ITU-R 601 in the fixed point of PIL's ``convert("L")``."""


def _blend(grey: int, factor: float) -> Entries:
    """PIL's ``Image.blend`` of a constant grey and each grey value, float32 and truncated as there."""
    values = np.arange(256, dtype=np.float32)
    blended = np.float32(grey) + np.float32(factor) * (values - np.float32(grey))
    return np.asarray(np.clip(blended, 0, 255), dtype=np.uint8)


def _contrast_entries(grey_mean: NDArray[np.int64], factor: float) -> Entries:
    return _blend(int(grey_mean), factor)


def _auto_contrast_entries(histogram: Histogram) -> Entries:
    """PIL's ``ImageOps.autocontrast``, per channel."""
    entries = np.tile(IDENTITY_ENTRIES, (len(histogram), 1))
    for channel, counts in enumerate(histogram):
        present = np.flatnonzero(counts)
        low, high = int(present[0]), int(present[-1])
        if high > low:
            scale = 255.0 / (high - low)
            stretched = np.arange(256) * scale + -low * scale
            entries[channel] = np.clip(stretched, 0, 255).astype(np.uint8)
    return entries


def _equalize_entries(histogram: Histogram) -> Entries:
    """PIL's ``ImageOps.equalize``, per channel."""
    entries = np.tile(IDENTITY_ENTRIES, (len(histogram), 1))
    for channel, counts in enumerate(histogram):
        present = np.flatnonzero(counts)
        step = (int(counts.sum()) - int(counts[present[-1]])) // 255
        if len(present) > 1 and step:
            before = np.concatenate(([0], np.cumsum(counts)[:-1]))
            entries[channel] = np.minimum((step // 2 + before) // step, 255)
    return entries
