"""A whole stage as one Triton kernel, which does to each image what its own numbers say.

All that is left to round is the coordinate of a warp; the rest is whole numbers, in which what the torch path
computes in float32 comes out alike. Kernels are launched with ``enable_fp_fusion=False``: a product and a sum
in one operation would round once where torch rounds twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

kernel: Callable[[Callable[..., Any]], Any] = triton.jit
"""Triton's decorator, of which mypy knows no type."""

WORDS: Final = tl.constexpr(16)
"""Whole numbers that say what happens to an image: an opcode, a statistic and what both need."""

KEEP: Final = tl.constexpr(0)
FILL_WARP: Final = tl.constexpr(1)
"""Words 2 to 10: the rows of a matrix, float32. 11 to 13: the fill."""
REFLECT_WARP: Final = tl.constexpr(2)
"""The same; nothing is seen in perspective."""
TABLE: Final = tl.constexpr(3)
"""Word 2: a row of the bank. With a statistic, that row's place among all that may be measured."""
COLOUR: Final = tl.constexpr(4)
"""Words 2 to 13: a matrix (3, 4) in 1024ths."""
SHARPEN: Final = tl.constexpr(5)
"""Word 2: the first of 256 rows of the bank, one a grey level, with what each smoothed level makes of it."""
PATCH: Final = tl.constexpr(6)
"""Words 2 to 5: top, left, bottom, right. 11 to 13: the fill."""

NO_STATISTIC: Final = tl.constexpr(0)
GREY_MEAN: Final = tl.constexpr(1)
EXTREMES: Final = tl.constexpr(2)
HISTOGRAM: Final = tl.constexpr(3)

PIXELS: Final = tl.constexpr(1024)
"""Of one image, changed by one program."""
MEASURED: Final = tl.constexpr(4096)
"""Pixels measured at once."""
FARTHEST: Final = 2**22
"""Pixels from the image's corner up to which coordinates are reflected here: as whole numbers, float32 and
int32 hold them."""


@kernel
def change(
    source: tl.tensor,
    result: tl.tensor,
    words: tl.tensor,
    bank: tl.tensor,
    written: tl.tensor,
    shape: tl.constexpr,
) -> None:
    """Change images, uint8 (n, *shape), from ``source`` to ``result``."""
    size: tl.constexpr = shape[0] * shape[1] * shape[2]
    image = tl.program_id(0)
    words += image * WORDS
    source += image.to(tl.int64) * size
    result += image.to(tl.int64) * size
    at = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    opcode = tl.load(words)
    if (opcode == FILL_WARP) | (opcode == REFLECT_WARP):
        _warp(source, result, words, at, shape)
    elif opcode == TABLE:
        if tl.load(words + 1) == NO_STATISTIC:
            _look_up(source, result, bank + tl.load(words + 2) * 256, 0, at, shape)
        else:
            _look_up(source, result, written + image * (shape[0] * 256), 256, at, shape)
    elif opcode == COLOUR:
        _mix_channels(source, result, words + 2, at, shape)
    elif opcode == SHARPEN:
        _sharpen(source, result, bank + tl.load(words + 2) * 256, at, shape)
    elif opcode == PATCH:
        _fill(source, result, words, at, shape)
    else:
        _copy(source, result, at, shape)


@kernel
def _copy(source: tl.tensor, result: tl.tensor, at: tl.tensor, shape: tl.constexpr) -> None:
    area: tl.constexpr = shape[1] * shape[2]
    for channel in tl.static_range(shape[0]):
        levels = tl.load(source + channel * area + at, mask=at < area, other=0)
        tl.store(result + channel * area + at, levels, mask=at < area)


@kernel
def _look_up(
    source: tl.tensor,
    result: tl.tensor,
    entries: tl.tensor,
    apart: tl.constexpr,
    at: tl.tensor,
    shape: tl.constexpr,
) -> None:
    """Look up in ``entries``; those of the next channel are ``apart`` from there."""
    area: tl.constexpr = shape[1] * shape[2]
    for channel in tl.static_range(shape[0]):
        levels = tl.load(source + channel * area + at, mask=at < area, other=0).to(tl.int32)
        tl.store(result + channel * area + at, tl.load(entries + channel * apart + levels), mask=at < area)


@kernel
def _mix_channels(
    source: tl.tensor, result: tl.tensor, rows: tl.tensor, at: tl.tensor, shape: tl.constexpr
) -> None:
    area: tl.constexpr = shape[1] * shape[2]
    here = at < area
    red = tl.load(source + at, mask=here, other=0).to(tl.int32)
    green = tl.load(source + area + at, mask=here, other=0).to(tl.int32)
    blue = tl.load(source + 2 * area + at, mask=here, other=0).to(tl.int32)
    for channel in tl.static_range(3):
        row = rows + 4 * channel
        mixed = tl.load(row) * red + tl.load(row + 1) * green + tl.load(row + 2) * blue + tl.load(row + 3)
        levels = tl.minimum(tl.maximum(mixed, 0), 255 * 1024) >> 10
        tl.store(result + channel * area + at, levels.to(tl.uint8), mask=here)


@kernel
def _fill(source: tl.tensor, result: tl.tensor, words: tl.tensor, at: tl.tensor, shape: tl.constexpr) -> None:
    area: tl.constexpr = shape[1] * shape[2]
    y, x = at // shape[2], at % shape[2]
    filled = (y >= tl.load(words + 2)) & (x >= tl.load(words + 3))
    filled = filled & (y < tl.load(words + 4)) & (x < tl.load(words + 5))
    for channel in tl.static_range(shape[0]):
        levels = tl.load(source + channel * area + at, mask=at < area, other=0).to(tl.int32)
        levels = tl.where(filled, tl.load(words + 11 + channel), levels)
        tl.store(result + channel * area + at, levels.to(tl.uint8), mask=at < area)


@kernel
def _warp(source: tl.tensor, result: tl.tensor, words: tl.tensor, at: tl.tensor, shape: tl.constexpr) -> None:
    """Read each pixel at the one that is nearest to where its image's warp says."""
    height: tl.constexpr = shape[1]
    width: tl.constexpr = shape[2]
    area: tl.constexpr = height * width
    x, y = (at % width).to(tl.float32), (at // width).to(tl.float32)
    read_x, read_y = _read_at(words + 2, x, y), _read_at(words + 5, x, y)
    if (_number(words + 8) != 0) | (_number(words + 9) != 0) | (_number(words + 10) != 1):
        depth = _read_at(words + 8, x, y)
        read_x, read_y = _divided(read_x, depth), _divided(read_y, depth)
    if tl.load(words) == REFLECT_WARP:
        column, row = _mirrored(read_x, width), _mirrored(read_y, height)
    else:
        column, row = _clamped(read_x, width), _clamped(read_y, height)
    here = at < area
    inside = here & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    for channel in tl.static_range(shape[0]):
        levels = tl.load(source + channel * area + row * width + column, mask=inside, other=0)
        levels = tl.where(inside, levels.to(tl.int32), tl.load(words + 11 + channel))
        tl.store(result + channel * area + at, levels.to(tl.uint8), mask=here)


@kernel
def _number(word: tl.tensor) -> tl.tensor:
    return tl.load(word).to(tl.float32, bitcast=True)


@kernel
def _read_at(row: tl.tensor, x: tl.tensor, y: tl.tensor) -> tl.tensor:
    # In the torch path's order, each operation rounded by itself.
    return _number(row) * x + (_number(row + 1) * y + _number(row + 2))


@kernel
def _divided(at: tl.tensor, depth: tl.tensor) -> tl.tensor:
    # A point on the horizon is read outside the image.
    divided = tl.div_rn(at, tl.where(depth == 0, 1.0, depth))
    return tl.where((depth == 0) | (tl.abs(divided) > 3.4028234e38), -2.0, divided)


@kernel
def _clamped(at: tl.tensor, side: tl.constexpr) -> tl.tensor:
    return _rounded(tl.minimum(tl.maximum(at, -1.0), side * 1.0))


@kernel
def _mirrored(at: tl.tensor, side: tl.constexpr) -> tl.tensor:
    last: tl.constexpr = side - 1
    period: tl.constexpr = max(2 * (side - 1), 1)
    turned = _rounded(at) % period
    turned = tl.where(turned < 0, turned + period, turned)
    return last - tl.abs(turned - last)


@kernel
def _rounded(at: tl.tensor) -> tl.tensor:
    """The nearest whole number, of two the even one."""
    below = tl.floor(at)
    beyond = at - below
    whole = below.to(tl.int32)
    up = (beyond > 0.5) | ((beyond == 0.5) & ((whole & 1) == 1))
    return whole + up.to(tl.int32)


@kernel
def _sharpen(
    source: tl.tensor, result: tl.tensor, rows: tl.tensor, at: tl.tensor, shape: tl.constexpr
) -> None:
    """Look up what a pixel and the mean of its neighbourhood come to."""
    width: tl.constexpr = shape[2]
    area: tl.constexpr = shape[1] * shape[2]
    y, x = at // width, at % width
    here = at < area
    inside = here & (y >= 1) & (y < shape[1] - 1) & (x >= 1) & (x < width - 1)
    for channel in tl.static_range(shape[0]):
        pixel = source + channel * area + at
        total = tl.zeros_like(at)
        for down in tl.static_range(-1, 2):
            for across in tl.static_range(-1, 2):
                total += tl.load(pixel + down * width + across, mask=inside, other=0).to(tl.int32)
        # The nearest whole number to a ninth, which never lies right between two.
        smoothed = (2 * total + 9) // 18
        levels = tl.load(pixel, mask=here, other=0)
        changed = tl.load(rows + levels.to(tl.int32) * 256 + smoothed, mask=inside, other=0)
        tl.store(result + channel * area + at, tl.where(inside, changed, levels), mask=here)


@kernel
def measure(
    source: tl.tensor, words: tl.tensor, bank: tl.tensor, written: tl.tensor, shape: tl.constexpr
) -> None:
    """Write the tables (n, C, 256) that depend on a statistic, of images, uint8 (n, *shape)."""
    channels: tl.constexpr = shape[0]
    area: tl.constexpr = shape[1] * shape[2]
    image = tl.program_id(0)
    channel = tl.program_id(1)
    words += image * WORDS
    statistic = tl.load(words + 1)
    first = image.to(tl.int64) * (channels * area)
    written += (image * channels + channel) * 256
    entries = tl.arange(0, 256)
    if statistic == GREY_MEAN:
        row = tl.load(words + 2) + _grey_mean(source + first, channels, area)
        tl.store(written + entries, tl.load(bank + row * 256 + entries))
    elif statistic == EXTREMES:
        low, high = _extremes(source + first + channel * area, area)
        row = tl.load(words + 2) + low * 256 + high
        tl.store(written + entries, tl.load(bank + row * 256 + entries))
    elif statistic == HISTOGRAM:
        tl.store(written + entries, _equalizing(source + first + channel * area, area))


@kernel
def _grey_mean(source: tl.tensor, channels: tl.constexpr, area: tl.constexpr) -> tl.tensor:
    """The mean luma, rounded as PIL does: each pixel's and the mean."""
    total = tl.zeros((MEASURED,), tl.int32)
    for begin in range(0, area, MEASURED):
        at = begin + tl.arange(0, MEASURED)
        here = at < area
        luma = tl.load(source + at, mask=here, other=0).to(tl.int32)
        if channels == 3:
            green = tl.load(source + area + at, mask=here, other=0).to(tl.int32)
            blue = tl.load(source + 2 * area + at, mask=here, other=0).to(tl.int32)
            luma = (luma * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        total += tl.where(here, luma, 0)
    return (tl.sum(total) + area // 2) // area


@kernel
def _extremes(source: tl.tensor, area: tl.constexpr) -> tl.tensor:
    low = tl.full((MEASURED,), 255, tl.int32)
    high = tl.zeros((MEASURED,), tl.int32)
    for begin in range(0, area, MEASURED):
        at = begin + tl.arange(0, MEASURED)
        low = tl.minimum(low, tl.load(source + at, mask=at < area, other=255).to(tl.int32))
        high = tl.maximum(high, tl.load(source + at, mask=at < area, other=0).to(tl.int32))
    return tl.min(low), tl.max(high)


@kernel
def _equalizing(source: tl.tensor, area: tl.constexpr) -> tl.tensor:
    """The table of ``table_entries.equalize_entries``, whose quotients are of whole numbers."""
    counts = tl.zeros((256,), tl.int32)
    for begin in range(0, area, MEASURED):
        at = begin + tl.arange(0, MEASURED)
        levels = tl.load(source + at, mask=at < area, other=0).to(tl.int32)
        counts += tl.histogram(levels, 256, mask=at < area)
    counted = tl.cumsum(counts)
    step = tl.max(tl.where(counted < area, counted, 0)) // 255
    spread = (counted - counts + step // 2) // tl.maximum(step, 1)
    return tl.where(step > 0, tl.minimum(spread, 255), tl.arange(0, 256)).to(tl.uint8)


def run_stage(images: Tensor, words: Tensor, bank: Tensor, *, measures: bool) -> Tensor:
    """New images: ``images``, uint8 (n, C, H, W) and contiguous, each changed as its ``words`` say.

    Args:
        images: C is 1 or 3, and C · H · W below 2²³.
        words: (n, WORDS) int32, as at the opcodes.
        bank: tables, (m, 256) uint8.
        measures: whether any image has a statistic.
    """
    count, channels, height, width = images.shape
    result = torch.empty_like(images)
    shape = (channels, height, width)
    # Triton launches on the current device.
    with torch.cuda.device_of(images):  # type: ignore[no-untyped-call]
        written = bank
        if measures:
            written = torch.empty((count, channels, 256), dtype=torch.uint8, device=images.device)
            measure[(count, channels)](images, words, bank, written, shape=shape, enable_fp_fusion=False)
        programs = (count, triton.cdiv(height * width, PIXELS.value))
        change[programs](images, result, words, bank, written, shape=shape, enable_fp_fusion=False)
    return result
