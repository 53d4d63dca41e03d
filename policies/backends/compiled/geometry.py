"""Warps to the nearest pixel and filled rectangles, on images as rows of bytes.

Where a row of output pixels is read is a start and a step in 2^-24 pixels. Coordinates are settled for
nearest sampling (``nearest.py``), so whole numbers hold them exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from augsearch.policies.backends.compiled.colours import copy
from augsearch.policies.backends.compiled.jit import compiled
from augsearch.policies.backends.compiled.vectors import bytes_at, copy_mirrored, copy_pixel
from augsearch.policies.nearest import settled_bits, settled_numbers

Bytes = Any
"""A pointer to bytes: an image, a channel after the other in each pixel; or a colour."""
Wholes = Any
"""A pointer to int64."""

PLACES = 24
"""Bits after the point."""

_ONE = 1 << PLACES
_HALF = _ONE >> 1
_MOST = 2.0**38
"""Of a coordinate's numbers: in 64 bits, nothing overflows below."""

MOST_PIXELS = 2**29
"""So that 32 bits count the bytes."""

_settled_bits = compiled(settled_bits)
_settled = compiled(settled_numbers)


@compiled
def write_rows(matrix: Any, height: int, width: int, rows: Wholes) -> bool:
    """Where the pixels of an image are read under a warp; False: too far away for whole numbers.

    ``matrix``, 6 numbers, takes an output point to the one it is read at, both from the centre; ``rows``: x
    across, down and start, then y, from the top left pixel.
    """
    if height * width > MOST_PIXELS:
        return False
    for row in range(2):
        across, down, start = seen_from_corner(matrix, row, height, width)
        bits = _settled_bits(across, down, start, height, width)
        if bits < 0:
            return False
        if bits > 0:
            across, down, start = _settled(across, down, start, height, width, bits)
        for place in range(3):
            number = across if place == 0 else down if place == 1 else start
            scaled = number * _ONE
            if not (abs(scaled) < _MOST and scaled == math.floor(scaled)):
                return False
            rows[3 * row + place] = int(scaled)
        rows[3 * row + 2] += _HALF  # then cutting off rounds
    return True


@compiled
def seen_from_corner(matrix: Any, row: int, height: int, width: int) -> tuple[float, float, float]:
    """A row of a matrix that counts from the centre, as it counts from the top left pixel."""
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    across, down = matrix[3 * row], matrix[3 * row + 1]
    start = matrix[3 * row + 2] + (centre_y if row else centre_x)
    return across, down, start - across * centre_x - down * centre_y


@compiled
def read_row(image: Bytes, written: Bytes, shape: Any, line: Any, fill: Bytes, places: Any) -> None:
    """Read a row of pixels; outside of the image lies ``fill``.

    Args:
        image: where it is read.
        written: where the row goes.
        shape: height, width and channels.
        line: where the row starts and the step from pixel to pixel, of x and then of y.
        fill: a colour.
        places: a pointer to int32, room for a row.
    """
    height, width, channels = shape
    start_x, across_x, start_y, across_y = line
    begin, end = _inside(start_x, across_x, width, 0, width)
    begin, end = _inside(start_y, across_y, height, begin, end)
    paint_row(written, 0, begin, channels, fill)
    paint_row(written, end, width, channels, fill)
    if end <= begin:
        return
    x, y = start_x + across_x * begin, start_y + across_y * begin
    if across_y == 0 and across_x == _ONE:
        first = ((y >> PLACES) * width + (x >> PLACES)) * channels
        copy(bytes_at(image, first), bytes_at(written, begin * channels), (end - begin) * channels)
        return
    if across_y == 0 and across_x == -_ONE and channels == 3:
        last = ((y >> PLACES) * width + (x >> PLACES)) * 3
        _read_mirrored(image, last, bytes_at(written, begin * 3), end - begin)
        return
    row = np.int32(width * channels)
    for at in range(end - begin):
        read_y, read_x = np.int32((y + across_y * at) >> PLACES), np.int32((x + across_x * at) >> PLACES)
        places[at] = read_y * row + read_x * np.int32(channels)
    # Four bytes at once, where there is one more to read and to write.
    lowest = max(y, start_y + across_y * (end - 1)) >> PLACES
    wide = end - begin - 1 if channels == 3 and lowest < height - 1 else 0
    row_from = bytes_at(written, begin * channels)
    for at in range(wide):
        copy_pixel(image, np.int64(places[at]), row_from, 3 * at)
    for at in range(wide, end - begin):
        for channel in range(channels):
            row_from[at * channels + channel] = image[places[at] + channel]


@compiled
def keeps_the_grid(rows: Wholes) -> bool:
    """Whether a warp only mirrors and shifts: then all rows of an image are read alike."""
    return bool(abs(rows[0]) == _ONE and abs(rows[4]) == _ONE and rows[1] == 0 and rows[3] == 0)


@compiled
def read_moved(image: Bytes, target: Bytes, shape: Any, rows: Wholes, reflects: int, fill: Bytes) -> None:
    """A whole image under a warp that keeps the grid; outside lies its mirror image, or ``fill``."""
    height, width, channels = shape
    size, first, backwards = width * channels, rows[2] >> PLACES, rows[0] < 0
    begin, end = (first - width + 1, first + 1) if backwards else (-first, width - first)
    begin = min(max(begin, 0), width)
    end = max(min(end, width), begin)
    for y in range(height):
        read, written = (rows[4] * y + rows[5]) >> PLACES, bytes_at(target, y * size)
        if reflects:
            read = reflected(read, height)
        elif not 0 <= read < height:
            paint_row(written, 0, width, channels, fill)
            continue
        row, place = bytes_at(image, read * size), bytes_at(written, begin * channels)
        if reflects:
            _read_each(row, written, 0, begin, width, channels, first, backwards)
            _read_each(row, written, end, width, width, channels, first, backwards)
        else:
            paint_row(written, 0, begin, channels, fill)
            paint_row(written, end, width, channels, fill)
        if not backwards:
            copy(bytes_at(row, (first + begin) * channels), place, (end - begin) * channels)
        elif channels == 3:
            _read_mirrored(row, (first - begin) * 3, place, end - begin)
        else:
            _read_each(row, written, begin, end, width, channels, first, backwards)


@compiled
def _read_each(
    row: Bytes, written: Bytes, begin: int, end: int, width: int, channels: int, first: int, backwards: bool
) -> None:
    """Pixels ``begin`` to ``end`` of a row, read from ``first`` on, or backwards from there."""
    for at in range(begin, end):
        read = reflected(first - at if backwards else first + at, width) * channels
        for channel in range(channels):
            written[at * channels + channel] = row[read + channel]


@compiled
def _read_mirrored(image: Bytes, last: int, written: Bytes, count: int) -> None:
    """RGB pixels from the one at byte ``last`` backwards."""
    if count < 16:
        for at in range(count):
            for channel in range(3):
                written[3 * at + channel] = image[last - 3 * at + channel]
        return
    for at in range(0, count - 16, 16):
        copy_mirrored(image, last - 3 * (at + 15), written, 3 * at)
    at = count - 16  # some pixels twice, which is faster than one by one
    copy_mirrored(image, last - 3 * (at + 15), written, 3 * at)


@compiled
def read_reflected_row(
    image: Bytes, written: Bytes, height: int, width: int, channels: int, line: Any
) -> None:
    """``read_row``, where outside of the image lies its mirror image."""
    x, across_x, y, across_y = line
    for place in range(width):
        read = reflected(y >> PLACES, height) * width + reflected(x >> PLACES, width)
        for channel in range(channels):
            written[place * channels + channel] = image[read * channels + channel]
        x += across_x
        y += across_y


@compiled
def reflected(place: int, count: int) -> int:
    """A place outside of ``count``, mirrored at the first or the last one until it lies inside."""
    if count == 1:
        return 0
    while place < 0 or place >= count:
        place = -place if place < 0 else 2 * (count - 1) - place
    return place


@compiled
def _inside(start: int, step: int, count: int, begin: int, end: int) -> tuple[int, int]:
    """The part of ``begin`` to ``end`` in which start + step · x, cut off, lies in 0 to ``count``."""
    limit = count << PLACES
    if step == 0:
        return (begin, end if 0 <= start < limit else begin)
    low = 0
    if step < 0:
        start, step, low, limit = -start, -step, 1 - limit, 1
    begin = min(max(begin, _first_from(start, step, low)), end)
    return begin, max(begin, min(end, _first_from(start, step, limit)))


@compiled
def _first_from(start: int, step: int, limit: int) -> int:
    """The first x at which start + step · x is ``limit`` or more; ``step`` > 0."""
    x = math.ceil((limit - start) / step)  # in float64, which may miss it by one
    while start + step * x < limit:
        x += 1
    while start + step * (x - 1) >= limit:
        x -= 1
    return x


@compiled
def paint_row(row: Bytes, begin: int, end: int, channels: int, fill: Bytes) -> None:
    """Pixels ``begin`` to ``end`` of a row in one colour."""
    if channels == 3 and (fill[0] != fill[1] or fill[1] != fill[2]):
        for at in range(3 * begin, 3 * end, 3):
            row[at], row[at + 1], row[at + 2] = fill[0], fill[1], fill[2]
    else:
        level = fill[0]
        for at in range(begin * channels, end * channels):
            row[at] = level


@compiled
def paint(image: Bytes, width: int, channels: int, numbers: Any, fill: Bytes) -> None:
    """Fill a rectangle: ``numbers`` has its top, left, height and width."""
    top, left, high, wide = int(numbers[0]), int(numbers[1]), int(numbers[2]), int(numbers[3])
    for y in range(top, top + high):
        paint_row(bytes_at(image, y * width * channels), left, left + wide, channels, fill)
