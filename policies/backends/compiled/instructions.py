"""From codes to instructions of the compiled core: numbers in arrays, each code written down once."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.effects import (
    IDENTITY_ENTRIES,
    TRUNCATING_OFFSET,
    Colour,
    Effect,
    Kernel,
    MeasuredTable,
    Statistic,
    Table,
    Warp,
)
from augsearch.policies.table_entries import auto_contrast_entries, blend_entries, equalize_entries


class Kind(IntEnum):
    """What an instruction does."""

    FOREIGN = 0
    """The core can't: the image takes the other path."""
    ABSENT = 1
    NOTHING = 2
    """Done, it changes nothing; yet warps before it and after it are two."""
    SHIFT = 3
    """A random shift by whole pixels; numbers: how many there are and the farthest, across and down."""
    WARP = 4
    """To the nearest pixel; numbers: two rows of the matrix."""
    TABLE = 5
    """Known beforehand; entries."""
    BLEND = 6
    """With the mean grey; numbers: the factor."""
    STRETCH = 7
    """From the extremes."""
    EQUALIZE = 8
    """From the histogram."""
    COLOUR = 9
    """Numbers: the matrix (3, 4) in 1,024ths."""
    SMOOTH = 10
    """A mean of 3 × 3 pixels; numbers: weights of the image and of the mean, and what is added."""
    PATCH = 11
    """Numbers: top, left, height, width."""
    ENLARGE = 12
    """A part of the image, read between pixels and by itself; numbers: two rows of the matrix."""


class Instruction(NamedTuple):
    """One line of the book."""

    kind: Kind
    numbers: tuple[float, ...] = ()
    """Up to 12."""
    entries: NDArray[np.uint8] | None = None


LINE = np.dtype([("kind", np.int64), ("numbers", np.float64, 12), ("entries", np.uint8, 256)])
"""An instruction in a book, which is an array of them."""

NUMBERS, ENTRIES, LINE_BYTES = 8, 104, 360
"""Where its parts begin, in bytes, and all of them."""

FOREIGN, ABSENT, NOTHING = (Instruction(kind) for kind in (Kind.FOREIGN, Kind.ABSENT, Kind.NOTHING))


def instruction_of(
    effect: Effect | None, channels: int, *, reads_between: bool, interpolates: bool
) -> Instruction:
    """What the core has to do for ``effect`` on images of 1 or 3 channels.

    ``reads_between``: whether it can; ``interpolates``: whether warps are to be read so.
    """
    if effect is None:
        return ABSENT
    if isinstance(effect, Warp):
        return _warp(effect, reads_between, interpolates)
    if isinstance(effect, Table):
        if (effect.entries == IDENTITY_ENTRIES).all():
            return NOTHING
        return Instruction(Kind.TABLE, entries=effect.entries)
    if isinstance(effect, MeasuredTable):
        return _measured(effect)
    if isinstance(effect, Colour):
        return NOTHING if channels == 1 else _colour(effect)
    if isinstance(effect, Kernel):
        return _kernel(effect)
    return Instruction(Kind.PATCH, (effect.top, effect.left, effect.height, effect.width))


def _warp(warp: Warp, reads_between: bool, interpolates: bool) -> Instruction:
    x, y, seen = warp.matrix.tolist()
    between = warp.enlarges or (interpolates and not moves_whole_pixels((*x, *y)))
    if seen != [0, 0, 1] or (between and not reads_between):
        return FOREIGN
    return Instruction(Kind.ENLARGE if warp.enlarges else Kind.WARP, (*x, *y))


def moves_whole_pixels(matrix: Sequence[float]) -> bool:
    """Whether a warp, two rows of three numbers, only mirrors and shifts by whole pixels.

    Then nothing is read between pixels. The core compiles these lines too.
    """
    mirrors = abs(matrix[0]) == 1 and abs(matrix[4]) == 1 and matrix[1] == 0 and matrix[3] == 0
    return bool(mirrors and matrix[2] % 1 == 0 and matrix[5] % 1 == 0)


def _measured(table: MeasuredTable) -> Instruction:
    write = table.write
    if isinstance(write, partial) and write.func is blend_entries and set(write.keywords) == {"factor"}:
        if table.statistic is Statistic.GREY_MEAN and not write.args:
            return Instruction(Kind.BLEND, (write.keywords["factor"],))
    elif write is auto_contrast_entries and table.statistic is Statistic.EXTREMES:
        return Instruction(Kind.STRETCH)
    elif write is equalize_entries and table.statistic is Statistic.HISTOGRAM:
        return Instruction(Kind.EQUALIZE)
    return FOREIGN


def _colour(colour: Colour) -> Instruction:
    matrix = colour.matrix.astype(np.float64)
    matrix[:, 3] += TRUNCATING_OFFSET
    return _mixing(tuple(matrix.ravel().tolist()))


@lru_cache(maxsize=1024)
def _mixing(matrix: tuple[float, ...]) -> Instruction:
    """OpenCV's mixing of channels, where it mixes as the core does: in 1,024ths."""
    single = np.array(matrix, dtype=np.float32).reshape(3, 4)
    whole = single.copy()
    whole[:, 3] += np.float32(0.5)
    numbers = np.rint(whole * np.float32(1024)).astype(np.int64)
    if np.abs(numbers[:, :3]).max() >= 2**15 or np.abs(numbers[:, 3]).max() >= 2**23:
        return FOREIGN
    mixed = np.clip((_COLOURS.astype(np.int64) @ numbers[:, :3].T + numbers[:, 3]) >> 10, 0, 255)
    opencvs = cv2.transform(_COLOURS, np.array(matrix).reshape(3, 4))
    if (mixed != opencvs).any():
        return FOREIGN
    return Instruction(Kind.COLOUR, tuple(numbers.ravel().tolist()))


def _kernel(kernel: Kernel) -> Instruction:
    if len(kernel.taps) != 3 or len(set(kernel.taps)) > 1 or kernel.edges != "keep":
        return FOREIGN
    return _smoothing(kernel.amount)


@lru_cache(maxsize=256)
def _smoothing(amount: float) -> Instruction:
    """OpenCV's blending, where it comes out as in the core for all pairs of grey values."""
    image, mean = _PAIRS
    kept, added, offset = (float(np.float32(one)) for one in (1 - amount, amount, TRUNCATING_OFFSET))
    weights = np.float32(kept), np.float32(added), np.float32(offset)
    sums = image.astype(np.float32) * weights[0] + mean.astype(np.float32) * weights[1] + weights[2]
    blended = np.rint(np.clip(sums, 0, 255)).astype(np.uint8)
    if (blended != cv2.addWeighted(image, 1 - amount, mean, amount, TRUNCATING_OFFSET)).any():
        return FOREIGN
    return Instruction(Kind.SMOOTH, (kept, added, offset))


_LEVELS = np.arange(256, dtype=np.uint8)
_PAIRS = np.repeat(_LEVELS[:, None], 256, axis=1), np.repeat(_LEVELS[None], 256, axis=0)
_COLOURS = np.random.default_rng(0).integers(0, 256, (64, 129, 3), dtype=np.uint8)
"""As many in a row as no register holds, so that OpenCV's last ones are seen too."""
