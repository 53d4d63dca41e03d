"""The same steps on images of 16 bits and on floating ones, at their own depth.

Warps and patches move values as they are. All else is arithmetic on grey levels, floats in 0 to 255 where
8-bit images have whole numbers, so nothing is rounded to one of 256 greys on its way. Floating images are
worked on in float32, whatever they are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.backends.opencv.prepared import shaped_like
from augsearch.policies.backends.opencv.runner import prepare
from augsearch.policies.backends.opencv.tables import measure
from augsearch.policies.bands import by_band
from augsearch.policies.effects import (
    LUMA,
    Colour,
    Kernel,
    Levels,
    MeasuredTable,
    Patch,
    Size,
    Statistic,
    Step,
    Table,
    Tables,
    Warp,
)
from augsearch.policies.errors import UserError
from augsearch.policies.planner import CodedDraw, DrawnImage, Draws, Planner
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling
from augsearch.policies.table_entries import between

Deep = NDArray[Any]
"""(H, W, C), uint16 in 0 to 65,535 or floating in 0 to 1."""

_DEPTHS = {("u", 2), ("f", 2), ("f", 4), ("f", 8)}


def is_deep(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this type are images of more than 8 bits: uint16, float16, float32 or float64."""
    return (dtype.kind, dtype.itemsize) in _DEPTHS


def run_draws(draws: Draws, images: Deep, ranges: Ranges, sampling: Sampling) -> Deep:
    """A new batch: ``images`` (B, H, W, C) of 16 bits or floating, each after its own draw.

    Raises:
        UserError: floating ones are not in 0 to 1.
    """
    results = np.empty_like(images)
    for drawn, image, result in zip(draws.images(), images, results, strict=True):
        result[...] = augment_image(drawn, image, ranges, sampling)
    return results


def augment_image(drawn: DrawnImage, image: Deep, ranges: Ranges, sampling: Sampling) -> Deep:
    """A new image of the same type: ``image`` (H, W, C) of 16 bits or floating, after its draw.

    Raises:
        UserError: a floating one is not in 0 to 1.
    """
    whole = image.dtype.kind == "u"
    if not whole and not (image.min() >= 0 and image.max() <= 1):
        raise UserError(
            f"a floating image must lie in [0, 1], got {float(image.min()):.3g} to {float(image.max()):.3g}; "
            "scale it, and augment before normalising"
        )
    # OpenCV knows no float16, and reads float64 at other places than the rest.
    values = np.ascontiguousarray(image, dtype=np.uint16 if whole else np.float32)
    fill = tuple(level * 257 if whole else level / 255 for level in sampling.fill)
    run = _Runner(ranges, replace(sampling, fill=cast(tuple[int, int, int], fill)))
    result = by_band(lambda band: run.augmented(drawn, np.ascontiguousarray(band)), values)
    return result.astype(image.dtype, copy=np.may_share_memory(result, image))


class _Runner:
    """Does what was drawn to images of one depth."""

    def __init__(self, ranges: Ranges, sampling: Sampling) -> None:
        self._ranges = ranges
        self._sampling = sampling
        """With its fill at the images' depth."""

    def augmented(self, drawn: DrawnImage, image: Deep) -> Deep:
        """``image`` after its draw, the very same where nothing changes."""
        image = self._run(drawn.coded, image)
        if drawn.mixture is None:
            return image
        chains, shares, after = drawn.mixture
        members = (image, *(self._run(chain.coded, image) for chain in chains))
        mixture = sum(share * _levels(one) for share, one in zip(shares.tolist(), members, strict=True))
        return self._run(after.coded, _values(cast(Levels, mixture), image.dtype))

    def _run(self, drawn: CodedDraw, image: Deep) -> Deep:
        size = Size(*image.shape[:2])
        for step in _planner(self._ranges, size, self._sampling.fuse_warps).steps(*drawn):
            if isinstance(step, Warp | Patch):
                image = prepare(step, size, image.shape[2], self._sampling).on_image(image)
            elif image.shape[2] > 1 or not isinstance(step, Colour):
                image = _values(_changed(step, _levels(image)), image.dtype)
        return image


@lru_cache(maxsize=32)
def _planner(ranges: Ranges, size: Size, fuse_warps: bool) -> Planner:
    return Planner(ranges, size, fuse_warps=fuse_warps)


def _levels(image: Deep) -> Levels:
    # Whole levels become whole ones exactly, so that a threshold between two of them parts them as in 8 bits.
    if image.dtype == np.uint16:
        return image.astype(np.float32) / np.float32(257)
    return image * np.float32(255)


def _values(levels: Levels, dtype: np.dtype[Any]) -> Deep:
    clipped = np.clip(levels, 0, 255)
    if dtype == np.uint16:
        return np.rint(clipped * np.float32(257)).astype(np.uint16)
    return (clipped / np.float32(255)).astype(np.float32)


def _changed(step: Step, levels: Levels) -> Levels:
    """Grey levels (H, W, C) after a step that is no warp and no patch; they may lie outside of 0 to 255."""
    if isinstance(step, Tables):
        for member in step.members:
            levels = np.clip(_looked_up(member, levels), 0, 255)
        return levels
    if isinstance(step, Colour):
        matrix = step.matrix - (0, 0, 0, step.rounding)
        return np.asarray(cv2.transform(levels, matrix))
    return _blended(cast(Kernel, step), levels)


def _looked_up(table: Table | MeasuredTable, levels: Levels) -> Levels:
    if table.curve is None:
        entries = (
            table.entries if isinstance(table, Table) else table.write(_in_8_bits(levels, table.statistic))
        )
        return between(np.broadcast_to(entries, (levels.shape[2], 256)), levels)
    if isinstance(table, Table):
        return table.curve(levels)
    return table.curve(_measured(levels, table.statistic), levels)


def _measured(levels: Levels, statistic: Statistic) -> NDArray[Any]:
    if statistic is Statistic.EXTREMES:
        return np.stack((levels.min(axis=(0, 1)), levels.max(axis=(0, 1))), axis=-1)
    if statistic is Statistic.GREY_MEAN:
        grey = levels[..., 0] if levels.shape[2] == 1 else levels @ LUMA.astype(levels.dtype)
        return np.asarray(grey.mean(dtype=np.float64), levels.dtype)
    return _in_8_bits(levels, statistic)


def _in_8_bits(levels: Levels, statistic: Statistic) -> NDArray[np.int64]:
    """A statistic of the rounded levels."""
    measured: NDArray[np.int64] = measure(np.rint(levels).astype(np.uint8)[np.newaxis], statistic)[0]
    return measured


def _blended(kernel: Kernel, levels: Levels) -> Levels:
    """Levels and their smoothed neighbourhoods, by the kernel's amount."""
    taps = np.array(kernel.taps)
    smooth = shaped_like(cast(Any, levels), cv2.sepFilter2D(levels, -1, taps, taps))
    blended: Levels = levels + levels.dtype.type(kernel.amount) * (smooth - levels)
    if kernel.edges == "keep":
        margin = len(taps) // 2
        kept = levels.copy()
        inside = slice(margin, -margin), slice(margin, -margin)
        kept[inside] = blended[inside]
        return kept
    return blended
