"""The compiled core: plans what was drawn for each image of a batch, and does it, in one call.

Neighbouring warps become one sampling and known tables one look-up, as in ``effects.py``; steps that move
pixels go from one buffer to another, and all others are done in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from augsearch.policies.backends.compiled import bilinear, colours, geometry
from augsearch.policies.backends.compiled.instructions import ENTRIES, LINE_BYTES, NUMBERS, Kind
from augsearch.policies.backends.compiled.jit import compiled, compiled_and_kept, part_of_its_caller, sources
from augsearch.policies.backends.compiled.vectors import bytes_at, reals_at, shorts_at, wholes_at, words_at

_FOREIGN, _, _NOTHING, _SHIFT, _WARP = (int(kind) for kind in list(Kind)[:5])
_TABLE, _BLEND, _STRETCH, _EQUALIZE, _COLOUR, _SMOOTH = (int(kind) for kind in list(Kind)[5:11])
_ENLARGE = int(Kind.ENLARGE)
_BETWEEN = _ENLARGE + 1
"""What a warp becomes that is read between pixels."""

# The parts of the settings, in whole numbers.
FUSES_WARPS, BORDER, FILL, READS_BETWEEN, IN_BLOCKS, SETTINGS = 0, 1, 2, 3, 4, 5
_FILL_AT = 8 * FILL

# The parts of a step, in bytes. What it stands for is a line of the book; of fused ones, the first's.
_STEP_KIND, _STEP_LINE, _STEP_MATRIX, _STEP_ROWS, _STEP_ENTRIES, _STEP_BYTES = 0, 8, 16, 64, 112, 368

# What a measured table takes beside the steps, in bytes.
_COUNTS, _LOWEST, _HIGHEST, _MEASURED, _MEASURED_BYTES = 0, 12288, 12384, 12480, 13248


def room_for(places: int, shape: tuple[int, ...]) -> int:
    """Bytes that ``augment`` needs, beside one for each image: for K steps, and for an image (H, W, C)."""
    height, width, channels = shape
    return places * _STEP_BYTES + _MEASURED_BYTES + bilinear.ROOM * width + height * width * channels


@compiled
def _plan(drawn: Any, places: int, noise: Any, each: int, book: Any, fuses_warps: int, steps: Any) -> int:
    """Write the steps of one image; how many, or −1: some can't be done here.

    ``drawn``: lines of the book, K ``places`` of them; ``noise``: ``each`` numbers for every place.
    """
    count, last = 0, _NOTHING
    for place in range(places):
        line = bytes_at(book, drawn[place] * LINE_BYTES)
        kind, numbers = wholes_at(line, 0)[0], reals_at(line, NUMBERS)
        if kind == _FOREIGN:
            return -1
        if kind <= _NOTHING:
            last = _NOTHING if kind == _NOTHING else last
            continue
        warps = kind in (_WARP, _SHIFT, _ENLARGE)
        if kind == _SHIFT:
            kind = _WARP
        begins = not (
            (kind == _WARP and last == _WARP and fuses_warps) or (kind == _TABLE and last == _TABLE)
        )
        count += begins
        step = bytes_at(steps, (count - 1) * _STEP_BYTES)
        matrix, entries = reals_at(step, _STEP_MATRIX), bytes_at(step, _STEP_ENTRIES)
        if begins:
            wholes_at(step, _STEP_KIND)[0], wholes_at(step, _STEP_LINE)[0] = kind, drawn[place]
            for at in range(6):
                matrix[at] = 1.0 if at == 0 or at == 4 else 0.0
            if kind == _TABLE:
                colours.copy(bytes_at(line, ENTRIES), entries, 256)
        elif kind == _TABLE:
            colours.look_up(entries, entries, 256, bytes_at(line, ENTRIES))
        if warps:
            _warp_then(matrix, wholes_at(line, 0)[0] == _SHIFT, numbers, reals_at(noise, 8 * each * place))
        last = kind
    return count


@compiled
def _warp_then(matrix: Any, shifts: bool, numbers: Any, noise: Any) -> None:
    """``Warp.then`` of two warps whose last row is (0, 0, 1), in its order of sums.

    The later one is ``numbers``; or a random shift by whole pixels: then they say how many there are, and the
    farthest, across and down.
    """
    a2, b2, c2, d2, e2, f2 = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    if shifts:
        c2, f2 = int(noise[0] * numbers[0]) - numbers[1], int(noise[1] * numbers[2]) - numbers[3]
    else:
        a2, b2, c2, d2, e2, f2 = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    for row in range(0, 6, 3):
        a, b = matrix[row], matrix[row + 1]
        matrix[row] = a * a2 + b * d2
        matrix[row + 1] = a * b2 + b * e2
        matrix[row + 2] = a * c2 + b * f2 + matrix[row + 2]


@part_of_its_caller
def _write_all_rows(steps: Any, count: int, height: int, width: int, between: int) -> int:
    """Where all warps of an image read; ``count``, or −1 where one is too far away."""
    for number in range(count):
        step = bytes_at(steps, number * _STEP_BYTES)
        kind, matrix = wholes_at(step, _STEP_KIND), reals_at(step, _STEP_MATRIX)
        if kind[0] == _WARP and between and not bilinear.keeps_the_grid(matrix):
            kind[0] = _BETWEEN
        near = True
        if kind[0] == _WARP:
            near = geometry.write_rows(matrix, height, width, wholes_at(step, _STEP_ROWS))
        elif kind[0] >= _ENLARGE:
            near = bilinear.write_places(matrix, height, width, reals_at(step, _STEP_ROWS))
        if not near:
            return -1
    return count


@compiled
def _moves(steps: Any, number: int) -> bool:
    """Whether a step can't be done in place, as it moves pixels; or takes several times as long there."""
    kind = wholes_at(steps, number * _STEP_BYTES + _STEP_KIND)[0]
    return bool(kind in (_WARP, _SMOOTH, _COLOUR) or kind >= _ENLARGE)


@part_of_its_caller
def _warp(source: Any, target: Any, shape: Any, rows: Any, settings: Any, places: Any) -> None:
    height, width, channels = shape
    fill = bytes_at(settings, _FILL_AT)
    if geometry.keeps_the_grid(rows):
        geometry.read_moved(source, target, shape, rows, settings[BORDER], fill)
        return
    for y in range(height):
        line = rows[1] * y + rows[2], rows[0], rows[4] * y + rows[5], rows[3]
        written = bytes_at(target, y * width * channels)
        if settings[BORDER]:
            geometry.read_reflected_row(source, written, height, width, channels, line)
        else:
            geometry.read_row(source, written, shape, line, fill, places)


@part_of_its_caller
def _smooth(source: Any, target: Any, height: int, row: int, channels: int, numbers: Any, sums: Any) -> None:
    for y in range(height):
        written = bytes_at(target, y * row)
        if y == 0 or y == height - 1:
            colours.copy(bytes_at(source, y * row), written, row)
        else:
            upper = bytes_at(source, (y - 1) * row)
            colours.smooth_row(upper, written, row, channels, numbers, sums)


@part_of_its_caller
def _write_measured(kind: int, image: Any, pixels: int, channels: int, numbers: Any, room: Any) -> bool:
    """Write the entries of a table that depends on the image; whether they are the same for all channels."""
    size, entries = pixels * channels, bytes_at(room, _MEASURED)
    lowest, highest = bytes_at(room, _LOWEST), bytes_at(room, _HIGHEST)
    if kind == _BLEND:
        grey = colours.grey_mean(image, pixels, channels)
        colours.write_blend(grey, np.float32(numbers[0]), entries)
        return True
    if kind == _STRETCH:
        colours.write_extremes(image, size, lowest, highest)
    else:
        colours.write_histogram(image, size, channels, wholes_at(room, _COUNTS))
    for channel in range(channels):
        own = bytes_at(entries, 256 * channel)
        if kind == _STRETCH:
            colours.write_stretch(lowest, highest, channel, channels, own)
        else:
            colours.write_equalized(wholes_at(room, _COUNTS + 2048 * channel), pixels, own)
    return channels == 1


@part_of_its_caller
def _do(step: Any, source: Any, target: Any, shape: Any, book: Any, settings: Any, room: Any) -> None:
    """One step from ``source`` to ``target``, which may be the same where the step doesn't move pixels."""
    height, width, channels = shape
    kind, pixels = wholes_at(step, _STEP_KIND)[0], height * width
    numbers = reals_at(book, wholes_at(step, _STEP_LINE)[0] * LINE_BYTES + NUMBERS)
    if kind == _WARP:
        rows, places = wholes_at(step, _STEP_ROWS), words_at(room, _MEASURED_BYTES)
        _warp(source, target, shape, rows, settings, places)
    elif kind >= _ENLARGE:
        outside = bilinear.REPLICATE if kind == _ENLARGE else settings[BORDER], bytes_at(settings, _FILL_AT)
        where, room_for_row = reals_at(step, _STEP_ROWS), bytes_at(room, _MEASURED_BYTES)
        bilinear.read_between(source, target, shape, where, outside, settings[IN_BLOCKS], room_for_row)
    elif kind == _COLOUR:
        colours.mix_channels(source, target, pixels, numbers)
    elif kind == _SMOOTH:
        _smooth(source, target, height, width * channels, channels, numbers, shorts_at(room, _MEASURED_BYTES))
    elif kind == _TABLE:
        colours.look_up(source, target, pixels * channels, bytes_at(step, _STEP_ENTRIES))
    elif kind in (_BLEND, _STRETCH, _EQUALIZE):
        if _write_measured(kind, source, pixels, channels, numbers, room):
            colours.look_up(source, target, pixels * channels, bytes_at(room, _MEASURED))
        else:
            colours.look_up_by_channel(source, target, pixels * channels, bytes_at(room, _MEASURED))
    else:
        colours.copy(source, target, pixels * channels)
        geometry.paint(target, width, channels, numbers, bytes_at(settings, _FILL_AT))


@part_of_its_caller
def _run(
    steps: Any, count: int, image: Any, result: Any, shape: Any, book: Any, settings: Any, room: Any
) -> None:
    """All steps of one image, which is only read, into its place in the result."""
    height, width, channels = shape
    size = height * width * channels
    if count == 0:
        colours.copy(image, result, size)
    scratch = bytes_at(room, _MEASURED_BYTES + bilinear.ROOM * width)
    moves = 0
    for number in range(1, count):
        moves += _moves(steps, number)
    # So that the last one ends in the result.
    source, target = image, scratch if moves & 1 else result
    for number in range(count):
        if number:
            source = target
            if _moves(steps, number):
                moves -= 1
                target = scratch if moves & 1 else result
        _do(bytes_at(steps, number * _STEP_BYTES), source, target, shape, book, settings, room)


def _made(edition: int) -> Callable[..., int]:
    """``augment``; as a closure, so that compiled code on disk is that of these ``sources``."""

    @compiled_and_kept
    def augment(
        images: Any, results: Any, drawn: Any, noise: Any, first: int, book: Any, settings: Any, memory: Any
    ) -> int:
        """Augment a batch; how many images are left to the other path: ``memory`` ends with 1 for each.

        Args:
            images: uint8 (B, H, W, C), C = 1 or 3, contiguous as all.
            results: likewise; written.
            drawn: int64 (B, K), lines of ``book``.
            noise: float64 (B, K, n).
            first: the row of ``drawn`` and ``noise`` that is the first image's.
            book: uint8 (N, ``LINE_BYTES``).
            settings: int64 (``SETTINGS``,): whether warps fuse; what lies outside, and the colour of filling;
                whether warps are read between pixels; and how many columns OpenCV does in blocks.
            memory: uint8, of as many bytes as ``room_for`` says and B; written.
        """
        _ = edition
        count, height, width, channels = images.shape
        places, each, left = drawn.shape[1], noise.shape[2], 0
        steps, lines, left_at = bytes_at(memory, 0), bytes_at(book, 0), memory.size - count
        room, size = bytes_at(steps, places * _STEP_BYTES), height * width * channels
        said, shape = wholes_at(settings, 0), (height, width, channels)
        for index in range(count):
            row = (first + index) * places
            own, chance = wholes_at(drawn, 8 * row), reals_at(noise, 8 * row * each)
            planned = _plan(own, places, chance, each, lines, said[FUSES_WARPS], steps)
            planned = _write_all_rows(steps, planned, height, width, said[READS_BETWEEN])
            steps[left_at + index] = planned < 0
            if planned < 0:
                left += 1
                continue
            image, result = bytes_at(images, index * size), bytes_at(results, index * size)
            _run(steps, planned, image, result, shape, lines, said, room)
        return left

    return augment


augment = _made(sources())
