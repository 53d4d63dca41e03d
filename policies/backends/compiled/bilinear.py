"""Warps that read between pixels, with OpenCV's own arithmetic: float32, products and sums in its order.

A product and a sum are rounded once on processors that can. OpenCV works on blocks of columns, and sums up
coordinates in another order in the columns that are left over. How wide its blocks are hangs on the
processor and the version, so ``agreement`` tries which width comes to OpenCV's pixels; where none does, such
warps are left to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from augsearch.policies.backends.compiled.geometry import (
    MOST_PIXELS,
    paint_row,
    reflected,
    seen_from_corner,
)
from augsearch.policies.backends.compiled.instructions import moves_whole_pixels
from augsearch.policies.backends.compiled.jit import compiled, part_of_its_caller
from augsearch.policies.backends.compiled.vectors import blend_pixel, bytes_at, fused, singles_at, words_at

Bytes = Any
"""A pointer to bytes: an image, a channel after the other in each pixel; or a colour."""
Reals = Any
"""A pointer to float64."""

FILL, REFLECT, REPLICATE = 0, 1, 2
"""What lies outside of the image: a colour, its mirror image, or its outermost pixels."""

LONGEST_SIDE = 32766
"""OpenCV takes no longer ones."""

_FARTHEST = 2.0**16
"""From the image, in pixels: coordinates are float32, and below are good to a 64th of a pixel."""

ROOM = 12
"""Bytes that ``read_between`` needs for each pixel of a row."""

keeps_the_grid = compiled(moves_whole_pixels)


@compiled
def write_places(matrix: Reals, height: int, width: int, places: Reals) -> bool:
    """Where the pixels of an image are read, as OpenCV is told; False: too far away.

    ``matrix``, 6 numbers, takes an output point to the one it is read at, both from the centre; ``places``: x
    across, down and start, then y, from the top left pixel.
    """
    if max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS:
        return False
    for row in range(2):
        across, down, start = seen_from_corner(matrix, row, height, width)
        if not abs(across) * width + abs(down) * height + abs(start) < _FARTHEST:
            return False
        places[3 * row], places[3 * row + 1], places[3 * row + 2] = across, down, start
    return True


@part_of_its_caller
def read_between(
    image: Bytes, target: Bytes, shape: Any, places: Reals, outside: Any, in_blocks: int, room: Bytes
) -> None:
    """Read all pixels of a warp.

    Args:
        image: where they are read.
        target: where they go.
        shape: height, width and channels.
        places: as ``write_places`` has written them.
        outside: what lies there, and the colour.
        in_blocks: columns that OpenCV does in blocks; those after them are left over.
        room: ``ROOM`` bytes for each pixel of a row.
    """
    height, width, channels = shape
    border, fill = outside
    x = np.float32(places[0]), np.float32(places[1]), np.float32(places[2])
    y = np.float32(places[3]), np.float32(places[4]), np.float32(places[5])
    for line in range(height):
        written = bytes_at(target, line * width * channels)
        inside = 0, min(in_blocks, width - 1)
        around = 0, width
        inside, around = _parts(x, line, width, width - 2, inside, around)
        inside, around = _parts(y, line, height, height - 1, inside, around)
        if border != FILL:
            around = 0, width
        begin, end = inside if inside[0] < inside[1] else (around[1], around[1])
        paint_row(written, 0, around[0], channels, fill)
        _read_each(image, written, shape, (x, y, line), (around[0], begin), (border, fill, in_blocks))
        _read_inside(image, written, shape, (x, y, line), (begin, end), room)
        _read_each(image, written, shape, (x, y, line), (end, around[1]), (border, fill, in_blocks))
        paint_row(written, around[1], width, channels, fill)


Part = tuple[int, int]
"""Of a row: its first column, and the one after its last."""


@compiled
def _parts(row: Any, line: int, count: int, most: int, inside: Part, around: Part) -> tuple[Part, Part]:
    """What of two parts of a row is read at 0 to ``most``, and what of the other not far out of ``count``.

    Where coordinates change along the row, float32 may miss them: some columns more are left out of the one
    and kept in the other.
    """
    across, start = float(row[0]), float(_start(row, line))
    if across == 0:
        within, near = 0 <= start < most, -1 <= start < count
        return (inside if within else (0, 0)), (around if near else (0, 0))
    off, steps = (abs(across) * count + abs(start)) * 2.0**-20 + 2.0**-6, 1 / across
    first, last = (off - start) * steps, (most - off - start) * steps
    least, farthest = (-1 - off - start) * steps, (count + off - start) * steps
    if across < 0:
        first, last, least, farthest = last, first, farthest, least
    return _narrowed(inside, first, last), _narrowed(around, least, farthest)


@compiled
def _narrowed(part: Part, first: float, last: float) -> Part:
    begin = min(part[1], int(np.ceil(max(first, float(part[0])))))
    return begin, max(begin, int(np.floor(min(last, float(part[1] - 1)))) + 1)


@compiled
def _start(row: Any, line: int) -> Any:
    """A coordinate of a row's first pixel, as OpenCV has it where it works on blocks."""
    return np.float32(np.float32(line) * row[1]) + row[2]


@compiled
def _read_inside(image: Bytes, written: Bytes, shape: Any, lines: Any, part: Any, room: Bytes) -> None:
    """Pixels of a row whose four neighbours lie inside, and so does the byte after the last of them."""
    _, width, channels = shape
    x, y, line = lines
    begin, end = part
    start_x, start_y = _start(x, line), _start(y, line)
    row = np.int32(width * channels)
    read, right = words_at(room, 0), singles_at(room, 4 * width)
    lower = singles_at(room, 8 * width)
    for at in range(end - begin):
        place = np.float32(np.int32(begin + at))
        read_x, read_y = fused(x[0], place, start_x), fused(y[0], place, start_y)
        left, top = np.int32(read_x), np.int32(read_y)
        read[at] = top * row + left * np.int32(channels)
        right[at], lower[at] = read_x - np.float32(left), read_y - np.float32(top)
    first = bytes_at(written, begin * channels)
    if channels == 3:
        for at in range(end - begin):
            blend_pixel(image, np.int64(read[at]), np.int64(row), right[at], lower[at], first, 3 * at)
        return
    for at in range(end - begin):
        begin = np.int64(read[at])
        upper = _mixed(image[begin], image[begin + 1], right[at])
        under = _mixed(image[begin + row], image[begin + row + 1], right[at])
        first[at] = np.uint8(np.int32(np.rint(_mixed(upper, under, lower[at]))))


@compiled
def _mixed(first: Any, second: Any, share: Any) -> Any:
    """``first`` and a ``share`` of what ``second`` has more."""
    return fused(share, np.float32(second) - np.float32(first), np.float32(first))


@compiled
def _read_each(image: Bytes, written: Bytes, shape: Any, lines: Any, part: Any, settings: Any) -> None:
    """Pixels of a row that are read anywhere."""
    channels = shape[2]
    x, y, line = lines
    border, fill, in_blocks = settings
    for at in range(part[0], part[1]):
        place = np.float32(np.int32(at))
        if at < in_blocks:
            read_x, read_y = fused(x[0], place, _start(x, line)), fused(y[0], place, _start(y, line))
        else:
            read_x = fused(x[0], place, np.float32(np.float32(line) * x[1])) + x[2]
            read_y = fused(y[0], place, np.float32(np.float32(line) * y[1])) + y[2]
        left, top = np.int64(np.floor(read_x)), np.int64(np.floor(read_y))
        right, lower = read_x - np.float32(left), read_y - np.float32(top)
        first, second = _place(left, top, shape, border), _place(left + 1, top, shape, border)
        third, fourth = _place(left, top + 1, shape, border), _place(left + 1, top + 1, shape, border)
        for channel in range(channels):
            outside = fill[channel]
            one = image[first + channel] if first >= 0 else outside
            two = image[second + channel] if second >= 0 else outside
            three = image[third + channel] if third >= 0 else outside
            four = image[fourth + channel] if fourth >= 0 else outside
            level = _mixed(_mixed(one, two, right), _mixed(three, four, right), lower)
            written[at * channels + channel] = np.uint8(np.int32(np.rint(level)))


@compiled
def _place(x: Any, y: Any, shape: Any, border: int) -> int:
    """The first byte of the pixel at (x, y); −1: it is one of those that are filled."""
    height, width, channels = shape
    if not (0 <= x < width and 0 <= y < height):
        if border == FILL:
            return -1
        if border == REFLECT:
            x, y = reflected(x, width), reflected(y, height)
        else:
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    return int((y * width + x) * channels)
