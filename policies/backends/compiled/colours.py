"""Look-ups, what they must know of an image, colours and smoothing, on images as rows of bytes.

Loops are plain and integers 32 bits wide or less, so that LLVM does many at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from augsearch.policies.backends.compiled.jit import compiled
from augsearch.policies.backends.compiled.vectors import (
    BLOCK,
    PIXELS,
    block_bytes,
    bytes_at,
    copy_block,
    has_blocks_of_three,
    look_up_block,
    look_up_block_of_three,
    mix_pixels,
)

Bytes = Any
"""A pointer to bytes: an image, a channel after the other in each pixel; or entries of a table."""
Wholes = Any
"""A pointer to int64."""

LANES = 96
"""Bytes of whole pixels whose extremes are kept apart until the end."""

COUNTS = 768
"""Of the three channels' grey values."""


@compiled
def copy(source: Bytes, target: Bytes, size: int) -> None:
    """Copy bytes; the two must not overlap."""
    if size < BLOCK:
        for place in range(size):
            target[place] = source[place]
        return
    for place in range(0, size - BLOCK, BLOCK):
        copy_block(source, target, place)
    copy_block(source, target, size - BLOCK)  # some bytes twice, which is faster than one by one


@compiled
def look_up(source: Bytes, target: Bytes, size: int, entries: Bytes) -> None:
    """Look ``size`` bytes of ``source`` up in 256 ``entries``; ``target`` may be the source."""
    width, at = block_bytes(), 0
    if width > 0:
        while at + width <= size:
            look_up_block(source, target, entries, at)
            at += width
    for place in range(at, size):
        target[place] = entries[source[place]]


@compiled
def look_up_by_channel(source: Bytes, target: Bytes, size: int, entries: Bytes) -> None:
    """Look RGB pixels up, each channel in its own 256 of ``entries``; ``target`` may be the source."""
    at = 0
    if has_blocks_of_three():
        while at + 192 <= size:
            look_up_block_of_three(source, target, entries, at)
            at += 192
    greens, blues = bytes_at(entries, 256), bytes_at(entries, 512)
    while at < size:
        target[at] = entries[source[at]]
        target[at + 1] = greens[source[at + 1]]
        target[at + 2] = blues[source[at + 2]]
        at += 3


@compiled
def write_histogram(image: Bytes, size: int, channels: int, counts: Wholes) -> None:
    """Count the grey values of each channel, into 256 ``counts`` each; there is room for ``2 * COUNTS``."""
    for place in range(2 * COUNTS):
        counts[place] = 0
    at = 0
    if channels == 1:
        for place in range(size):
            counts[image[place]] += 1
        return
    # Two banks: neighbours are often alike, and a count can't grow twice at the same time.
    while at + 6 <= size:
        counts[np.int64(image[at])] += 1
        counts[256 + np.int64(image[at + 1])] += 1
        counts[512 + np.int64(image[at + 2])] += 1
        counts[768 + np.int64(image[at + 3])] += 1
        counts[1024 + np.int64(image[at + 4])] += 1
        counts[1280 + np.int64(image[at + 5])] += 1
        at += 6
    for channel in range(size - at):
        counts[256 * channel + np.int64(image[at + channel])] += 1
    for place in range(COUNTS):
        counts[place] += counts[COUNTS + place]


@compiled
def write_extremes(image: Bytes, size: int, lowest: Bytes, highest: Bytes) -> None:
    """The lowest and the highest grey values in every ``LANES``-th byte, of each lane."""
    for lane in range(LANES):
        lowest[lane], highest[lane] = 255, 0
    begin = 0
    while begin < size:
        for lane in range(min(LANES, size - begin)):
            level = image[begin + lane]
            lowest[lane] = min(lowest[lane], level)
            highest[lane] = max(highest[lane], level)
        begin += LANES


@compiled
def grey_mean(image: Bytes, pixels: int, channels: int) -> int:
    """The mean luma of the pixels, rounded as PIL does."""
    total = np.int64(0)
    for begin in range(0, pixels, 4096):  # so few are a sum of 32 bits
        part = np.int32(0)
        if channels == 1:
            for at in range(begin, min(pixels, begin + 4096)):
                part += np.int32(image[at])
        else:
            for at in range(begin, min(pixels, begin + 4096)):
                red = np.int32(19595) * np.int32(image[3 * at])
                green = np.int32(38470) * np.int32(image[3 * at + 1])
                blue = np.int32(7471) * np.int32(image[3 * at + 2])
                part += (red + green + blue + np.int32(32768)) >> np.int32(16)
        total += part
    return int(total / pixels + 0.5)


@compiled
def write_blend(grey: int, factor: Any, entries: Bytes) -> None:
    """``table_entries.blend_entries``; ``factor`` is a float32."""
    from_grey = np.float32(grey)
    for value in range(256):
        level = from_grey + factor * (np.float32(value) - from_grey)
        entries[value] = np.uint8(np.int32(min(max(level, np.float32(0)), np.float32(255))))


@compiled
def write_stretch(lowest: Bytes, highest: Bytes, first: int, channels: int, entries: Bytes) -> None:
    """``table_entries.auto_contrast_entries`` of the channel that has every lane from ``first`` on."""
    low, high = 255, 0
    for lane in range(first, LANES, channels):
        low, high = min(low, lowest[lane]), max(high, highest[lane])
    scale = 255.0 / max(high - low, 1)
    for value in range(256):
        level = value * scale + -float(low) * scale
        entries[value] = np.uint8(np.int32(min(max(level, 0.0), 255.0))) if high > low else np.uint8(value)


@compiled
def write_equalized(counts: Wholes, total: int, entries: Bytes) -> None:
    """``table_entries.equalize_entries`` of one channel of ``total`` pixels, from its 256 counts."""
    counted, without_last = np.int64(0), np.int64(0)
    for value in range(256):
        counted += counts[value]
        if counted < total:
            without_last = counted
    step = without_last // 255
    before = step // 2
    for value in range(256):
        level = before // step if step > 0 else value
        entries[value] = np.uint8(min(level, 255))
        before += counts[value]


@compiled
def mix_channels(source: Bytes, target: Bytes, pixels: int, numbers: Any) -> None:
    """OpenCV's ``transform`` of RGB: ``numbers`` are a 3×4 matrix in 1,024ths; cut off at 0 and 255.

    ``target`` is another image than the source.
    """
    matrix = _row(numbers, 0) + _row(numbers, 4) + _row(numbers, 8)
    if pixels >= PIXELS:
        last = 3 * (pixels - PIXELS)
        for at in range(0, last, 3 * PIXELS):
            mix_pixels(source, target, at, matrix)
        mix_pixels(source, target, last, matrix)  # some pixels twice, which is faster than one by one
        return
    for at in range(0, 3 * pixels, 3):
        for channel in range(3):
            level = matrix[4 * channel + 3]
            for other in range(3):
                level += matrix[4 * channel + other] * np.int32(source[at + other])
            target[at + channel] = np.uint8(min(max(level >> 10, 0), 255))


@compiled
def _row(numbers: Any, first: int) -> Any:
    return (
        np.int32(numbers[first]),
        np.int32(numbers[first + 1]),
        np.int32(numbers[first + 2]),
        np.int32(numbers[first + 3]),
    )


@compiled
def smooth_row(upper: Bytes, written: Bytes, row: int, channels: int, numbers: Any, sums: Any) -> None:
    """Blend the middle one of three rows with the means of 3 × 3 pixels; the outermost pixels stay.

    Args:
        upper: the row above; the others follow, each of ``row`` bytes.
        written: where the result goes.
        row: bytes of a row.
        channels: 1 or 3.
        numbers: the weights of the image and of its means, and what is added before rounding.
        sums: a pointer to int16, room for a row.
    """
    kept, added, offset = np.float32(numbers[0]), np.float32(numbers[1]), np.float32(numbers[2])
    middle, lower = bytes_at(upper, row), bytes_at(upper, 2 * row)
    for at in range(row):
        sums[at] = np.int16(upper[at]) + np.int16(middle[at]) + np.int16(lower[at])
    for at in range(channels, row - channels):
        nine = np.int32(sums[at - channels]) + np.int32(sums[at]) + np.int32(sums[at + channels])
        mean = (nine + np.int32(4)) * np.int32(7282) >> np.int32(16)  # a ninth, rounded
        level = np.float32(middle[at]) * kept + np.float32(mean) * added + offset
        written[at] = np.uint8(np.int32(np.rint(min(max(level, np.float32(0)), np.float32(255)))))
    for at in range(channels):
        written[at] = middle[at]
        written[row - 1 - at] = middle[row - 1 - at]
