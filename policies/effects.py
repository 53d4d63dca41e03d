"""The five kinds of thing an operation can do to an image, and how neighbours of one kind fuse.

An operation never loops over pixels. It says which of these it is, as plain numbers, and a backend
(``backends/opencv`` or ``backends/torch``) does the work:

======== ==================================================================
Warp     where each output pixel is read from (a 3×3 matrix)
Table    what each grey value becomes (256 entries, shared or per channel)
Colour   what each RGB triple becomes (a 3×4 matrix)
Kernel   a small separable convolution, blended with the image
Patch    a rectangle that is filled
======== ==================================================================

Warps multiply and tables compose, so a run of either costs one pass over the image.
Colour matrices and kernels don't: each clips to 0–255, and a product would skip the clipping between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

LUMA_65536THS = (19595, 38470, 7471)
"""Weights of R, G, B in grey, in units of 1 / 65,536: ITU-R 601 as in PIL's ``convert("L")``."""
LUMA: NDArray[np.float64] = np.array(LUMA_65536THS) / 65536
"""The same as shares of 1."""

Matrix = NDArray[np.float64]
Entries = NDArray[np.uint8]
Histogram = NDArray[np.int64]
Levels = NDArray[Any]
"""Floating grey levels, 0 to 255 whatever the depth of the image."""


class Size(NamedTuple):
    """Height and width of an image in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A change of geometry.

    ``matrix`` (3, 3) maps an output point to the input point it is read from, both in pixels from the
    image's centre, x to the right and y down. Reading backwards needs no inversion when it runs.
    """

    matrix: Matrix
    enlarges: bool = False
    """A part of the image fills all of it: read between pixels and never outside, whatever the policy's
    sampling is, and by itself, so that nothing later brings back what was cut off."""

    def then(self, later: Warp) -> Warp:
        """Both warps in one sampling, ``self`` first."""
        # Not as a product of BLAS's, which rounds by processor: the compiled core comes to the same numbers.
        x, y, seen = self.matrix.T[:, :, np.newaxis] * later.matrix[:, np.newaxis]
        return Warp(x + y + seen)


class Statistic(Enum):
    """What a table must know of the image before it can be written down."""

    HISTOGRAM = "histogram"
    """Per channel, (C, 256). It can be pushed through a table, so these tables still fuse."""
    EXTREMES = "extremes"
    """The lowest and the highest grey value of each channel, (C, 2). A histogram has them too."""
    GREY_MEAN = "grey mean"
    """The mean luma of the pixels, rounded as PIL does. It needs the pixels themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A change of grey values, known beforehand: ``entries`` (256,) uint8, shared by all channels."""

    entries: Entries
    curve: Callable[[Levels], Levels] | None = None
    """The same for images of more than 8 bits, at any level, clipped to 0–255 afterwards; None: straight
    lines between the entries."""

    @classmethod
    def of(cls, curve: Callable[[Levels], Levels]) -> Table:
        """The table of ``curve``, clipped to 0–255 and truncated to whole grey levels."""
        return cls(np.clip(curve(np.arange(256.0)), 0, 255).astype(np.uint8), curve)


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTable:
    """A table that depends on the image.

    ``write(measured)`` takes int64 measurements of any number of images, (..., C, 256), (..., C, 2) or
    (...,), and gives (..., C, 256) or (..., 256) uint8 entries. It is written against the array API
    standard, so that NumPy arrays and tensors on a device go through the same lines.
    """

    statistic: Statistic
    write: Callable[[Any], Any]
    curve: Callable[[NDArray[Any], Levels], Levels] | None = None
    """``curve(measured, levels)``: the same for an image (H, W, C) of more than 8 bits, of which extremes and
    grey mean are not rounded; None: straight lines between the entries."""


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Neighbouring tables, to be composed into one look-up when the image is at hand."""

    members: tuple[Table | MeasuredTable, ...]

    def entries(self, measure: Callable[[Statistic], NDArray[np.int64]]) -> Entries:
        """The one table that does what all members do in turn: (256,), or (..., C, 256), or (..., 256).

        ``measure(statistic)`` looks at the images before the first member; what a member needs to know
        after the members before it follows from the histogram without touching a pixel.
        """
        first, *others = self.members
        composed = first.entries if isinstance(first, Table) else first.write(measure(first.statistic))
        histogram: Histogram | None = None
        for member in others:
            if isinstance(member, Table):
                entries = member.entries
            else:
                if histogram is None:
                    histogram = measure(Statistic.HISTOGRAM)
                pushed = push_forward(histogram, composed)
                entries = member.write(
                    pushed if member.statistic is Statistic.HISTOGRAM else extremes(pushed)
                )
            composed = compose(composed, entries)
        return composed


@dataclass(frozen=True, slots=True, eq=False)
class Colour:
    """A change of colours: ``matrix`` (3, 4) takes (R, G, B, 1) to RGB; grey images are left as they are."""

    matrix: Matrix
    rounding: float = 0.0
    """What of the last column only makes whole grey levels of it, and means nothing at another depth."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A smoothing, and how far to go towards it or away from it: image + amount · (smoothed − image)."""

    taps: tuple[float, ...]
    """Weights of a row of pixels and, in turn, of a column: k of them, k odd, with the sum 1."""
    amount: float
    edges: Literal["keep", "reflect"]
    """``keep``: the outermost k // 2 pixels stay as they are. ``reflect``: the image is mirrored there."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle, in pixels from the top left, that is filled with the policy's fill colour."""

    top: int
    left: int
    height: int
    width: int


Effect = Warp | Table | MeasuredTable | Colour | Kernel | Patch
Step = Warp | Tables | Colour | Kernel | Patch

IDENTITY_ENTRIES: Entries = np.arange(256, dtype=np.uint8)

TRUNCATING_OFFSET = -0.498
"""Colours and kernels are truncated to whole numbers, as in PIL and torchvision, where OpenCV rounds. Adding
this before it rounds truncates too, and a hair less than a half leaves whole values as they are."""


def compose(first: Entries, second: Entries) -> Entries:
    """The table that looks up in ``first``, then in ``second``; each (256,) or (..., 256)."""
    if second.ndim == 1:
        return second[first]
    if first.ndim == 1:
        return second[..., first]
    if first.ndim < second.ndim:
        # One table for all channels of an image meets one for each.
        first = np.broadcast_to(first[..., np.newaxis, :], second.shape)
    elif second.ndim < first.ndim:
        second = np.broadcast_to(second[..., np.newaxis, :], first.shape)
    return np.take_along_axis(second, first.astype(np.intp), axis=-1)


def push_forward(histogram: Histogram, entries: Entries) -> Histogram:
    """The histogram (..., C, 256) that images have after their grey values went through ``entries``."""
    if 1 < entries.ndim < histogram.ndim:
        entries = entries[..., np.newaxis, :]
    rows = np.arange(histogram.size // 256).reshape(*histogram.shape[:-1], 1)
    bins = rows * 256 + entries
    # The weights are counts, far below 2**53: float64 holds them exactly.
    pushed = np.bincount(bins.ravel(), weights=histogram.ravel(), minlength=histogram.size)
    return pushed.astype(np.int64).reshape(histogram.shape)


def extremes(histogram: Histogram) -> NDArray[np.int64]:
    """The lowest and highest grey value (..., 2) that occur in a histogram (..., 256)."""
    present = histogram > 0
    return np.stack((present.argmax(axis=-1), 255 - present[..., ::-1].argmax(axis=-1)), axis=-1)


def fusable_groups(
    effects: Iterable[Effect], *, tables: bool = True, warps: bool = True
) -> Iterator[list[Effect]]:
    """Split ``effects`` into groups of neighbours that one pass over the image can do.

    Warps fuse unless ``warps`` is False or one enlarges, and tables unless ``tables`` is False; all else is a
    group of its own.
    """
    group: list[Effect] = []
    for effect in effects:
        if group and not (_fuses(group[-1], effect) and (warps if isinstance(effect, Warp) else tables)):
            yield group
            group = []
        group.append(effect)
    if group:
        yield group


def _fuses(last: Effect, effect: Effect) -> bool:
    if isinstance(effect, Warp):
        return isinstance(last, Warp) and not (last.enlarges or effect.enlarges)
    # The grey mean after another table can't be derived, so such a table begins a new look-up.
    joinable = isinstance(effect, Table) or (
        isinstance(effect, MeasuredTable) and effect.statistic is not Statistic.GREY_MEAN
    )
    return joinable and isinstance(last, Table | MeasuredTable)


def fuse_group(group: Sequence[Effect]) -> Step:
    """The one step that does what a group of ``fusable_groups`` does in turn."""
    first = group[0]
    if isinstance(first, Warp):
        for later in group[1:]:
            first = first.then(cast(Warp, later))
        return first
    if isinstance(first, Table | MeasuredTable):
        return Tables(cast(tuple[Table | MeasuredTable, ...], tuple(group)))
    return first


def fuse(effects: Iterable[Effect], *, warps: bool = True) -> tuple[Step, ...]:
    """Fuse neighbouring warps into one sampling and neighbouring tables into one look-up."""
    return tuple(fuse_group(group) for group in fusable_groups(effects, warps=warps))
