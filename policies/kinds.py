"""The five kinds of thing an operation can do to an image, and how neighbours of one kind fuse.

An operation never loops over pixels. It says which of these it is, as plain numbers, and a backend
(``opencv.py``) does the work:

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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Entries = NDArray[np.uint8]
Histogram = NDArray[np.int64]


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

    def then(self, later: Warp) -> Warp:
        """Both warps in one sampling, ``self`` first."""
        return Warp(self.matrix @ later.matrix)


class Statistic(Enum):
    """What a table must know of the image before it can be written down."""

    NOTHING = "nothing"
    HISTOGRAM = "histogram"
    """Per channel, (C, 256). It can be pushed through a table, so these tables still fuse."""
    GREY_MEAN = "grey mean"
    """Of the luma of the pixels, rounded as PIL does. It needs the pixels themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A change of grey values, known beforehand: ``entries`` (256,) uint8, shared by all channels."""

    entries: Entries


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTable:
    """A table that depends on the image: ``write(measured)`` gives (256,) or (C, 256) uint8 entries."""

    statistic: Statistic
    write: Callable[[NDArray[np.int64]], Entries]


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Neighbouring tables, to be composed into one look-up when the image is at hand."""

    members: tuple[Table | MeasuredTable, ...]

    def entries(self, measure: Callable[[Statistic], NDArray[np.int64]]) -> Entries:
        """The one table that does what all members do in turn: (256,) or (C, 256) uint8.

        ``measure(statistic)`` looks at the image before the first member; a histogram after the
        members so far follows from it without touching a pixel.
        """
        composed = IDENTITY_ENTRIES
        histogram: Histogram | None = None
        for member in self.members:
            if isinstance(member, Table):
                entries = member.entries
            elif member.statistic is Statistic.HISTOGRAM:
                if histogram is None:
                    histogram = measure(Statistic.HISTOGRAM)
                entries = member.write(push_forward(histogram, composed))
            else:
                entries = member.write(measure(member.statistic))
            composed = compose(composed, entries)
        return composed


@dataclass(frozen=True, slots=True, eq=False)
class Colour:
    """A change of colours: ``matrix`` (3, 4) takes (R, G, B, 1) to RGB; grey images are left as they are."""

    matrix: Matrix


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


def compose(first: Entries, second: Entries) -> Entries:
    """The table that looks up in ``first``, then in ``second``; each (256,) or (C, 256)."""
    if second.ndim == 1:
        return second[first]
    if first.ndim == 1:
        return second[:, first]
    return np.take_along_axis(second, first.astype(np.intp), axis=1)


def push_forward(histogram: Histogram, entries: Entries) -> Histogram:
    """The histogram (C, 256) that an image has after its grey values went through ``entries``."""
    channels = histogram.shape[0]
    targets = np.broadcast_to(entries, (channels, 256))
    pushed = np.zeros_like(histogram)
    for channel in range(channels):
        np.add.at(pushed[channel], targets[channel], histogram[channel])
    return pushed


def fuse(effects: Iterable[Effect]) -> tuple[Step, ...]:
    """Join neighbouring warps into one sampling and neighbouring tables into one look-up."""
    steps: list[Step] = []
    for effect in effects:
        last = steps[-1] if steps else None
        if isinstance(effect, Warp) and isinstance(last, Warp):
            steps[-1] = last.then(effect)
        elif isinstance(effect, Table | MeasuredTable):
            # The grey mean after another table can't be derived, so such a table begins a new look-up.
            joins = isinstance(effect, Table) or effect.statistic is not Statistic.GREY_MEAN
            if isinstance(last, Tables) and joins:
                steps[-1] = Tables((*last.members, effect))
            else:
                steps.append(Tables((effect,)))
        else:
            steps.append(effect)
    return tuple(steps)
