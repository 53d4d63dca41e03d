"""Tables on OpenCV: as arithmetic where that gives the same, else as a look-up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.policies.kinds import IDENTITY_ENTRIES, Entries, MeasuredTable, Statistic, Table, Tables
from augsearch.policies.operations import LUMA
from augsearch.policies.parts import (
    SMALL,
    Change,
    Image,
    Images,
    Part,
    flat,
    like,
    plane,
    pointwise,
    tall,
    unchanged,
)

# OpenCV rounds where PIL and torchvision cut off. Taking this off first cuts off too, and a hair less than
# a half leaves values that are whole already as they are.
CUT_OFF = -0.498

_ROUNDED_LUMA = np.array([[*LUMA, 0.5]])

_AT_ONCE = 32
"""Images whose tables are written together: their intermediate results stay in the processor's cache."""


def looked_up(tables: Tables, size: int) -> Part:
    """Make ``tables`` ready for images of ``size`` bytes."""
    first, *others = tables.members
    if all(isinstance(member, Table) for member in others):
        if isinstance(first, Table):
            return _known(tables.entries(_never), first.line if not others else None, size)
        if first.statistic is Statistic.GREY_MEAN:
            return _by_grey_mean(tables, first, others, size)

    def one(image: Image, out: Image | None = None) -> Image:
        entries = tables.entries(lambda statistic: measure(image[np.newaxis], statistic))[0]
        if (entries == IDENTITY_ENTRIES).all():  # an image that has all grey values can't be stretched
            return image
        return like(cv2.LUT(image, _as_look_up(entries), plane(out)), image)

    def within(images: Images, indices: list[int]) -> None:
        for begin in range(0, len(indices), _AT_ONCE):
            chosen = indices[begin : begin + _AT_ONCE]
            entries = tables.entries(partial(_measure_within, images, chosen))
            for index, own in zip(chosen, _as_look_up(entries), strict=True):
                cv2.LUT(images[index], own, plane(images[index]))

    return Part(one, within)


def _measure_within(images: Images, indices: list[int], statistic: Statistic) -> NDArray[np.int64]:
    """A statistic of some images of a batch."""
    at_once = _AT_ONCE if images[0].size <= SMALL else 1
    measured = []
    for begin in range(0, len(indices), at_once):
        first, *others = group = indices[begin : begin + at_once]
        measured.append(measure(images[group] if others else images[first : first + 1], statistic))
    return np.concatenate(measured)


def _never(statistic: Statistic) -> NDArray[np.int64]:
    raise AssertionError("a table that is known beforehand asked for a statistic")


def _as_look_up(entries: Entries) -> Entries:
    """Entries (..., C, 256) as OpenCV wants them: (..., 1, 256, C)."""
    return np.ascontiguousarray(np.swapaxes(entries, -1, -2))[..., np.newaxis, :, :]


def _by_grey_mean(
    tables: Tables, first: MeasuredTable, others: Sequence[Table | MeasuredTable], size: int
) -> Part:
    """Tables that only the mean grey value decides: at most 256 of them, made when first needed."""

    @lru_cache(maxsize=256)
    def part(grey_mean: int) -> Part:
        line = first.line(grey_mean) if first.line and not others else None
        return _known(tables.entries(lambda _: np.array(grey_mean)), line, size)

    def one(image: Image, out: Image | None = None) -> Image:
        return part(int(measure(image[np.newaxis], Statistic.GREY_MEAN)[0])).one(image, out)

    def within(images: Images, indices: list[int]) -> None:
        greys = _measure_within(images, indices, Statistic.GREY_MEAN).tolist()
        for index, grey in zip(indices, greys, strict=True):
            part(grey).within(images, [index])

    return Part(one, within)


def _known(entries: Entries, line: tuple[float, float] | None, size: int) -> Part:
    """One table (256,) for all pixels: as arithmetic, several times faster, where that gives the same."""
    values = IDENTITY_ENTRIES
    threshold = int(np.argmax(entries != values))
    change: Change
    if (entries == values).all():
        return Part(unchanged, lambda images, indices: None)
    if (entries == values & entries[255]).all():

        def change(image: Image, out: Image | None = None) -> Image:
            kept: Image = np.bitwise_and(image, entries[255], out=out)
            return kept
    elif (entries == np.where(values >= threshold, 255 - values, values)).all():

        def change(image: Image, out: Image | None = None) -> Image:
            above = cv2.threshold(flat(image), threshold - 1, 255, cv2.THRESH_BINARY)[1]
            inverted: Image = np.bitwise_xor(image, like(above, image), out=out)
            return inverted
    elif line and _is_line(entries, *line):
        scale, offset = line[0], line[1] + CUT_OFF

        def change(image: Image, out: Image | None = None) -> Image:
            rows, target = flat(image), None if out is None else flat(out)
            if scale >= 0 and offset >= CUT_OFF:  # nothing is negative but what rounds to zero
                return like(cv2.convertScaleAbs(rows, target, scale, offset), image)
            return like(cv2.addWeighted(rows, scale, rows, 0, offset, target), image)
    else:

        def change(image: Image, out: Image | None = None) -> Image:
            return like(cv2.LUT(flat(image), entries, None if out is None else flat(out)), image)

    return pointwise(change, size=size)


def _is_line(entries: Entries, scale: float, offset: float) -> bool:
    """Whether scale · v + offset, computed in whatever precision, is cut off to ``entries``."""
    exact = scale * IDENTITY_ENTRIES.astype(np.float64) + offset + CUT_OFF + 0.5
    inside = (exact > 0) & (exact < 256)
    sure = np.abs(exact - np.round(exact))[inside].min(initial=1) > 1e-3
    return bool(sure and (np.clip(np.floor(exact), 0, 255) == entries).all())


def measure(images: Images, statistic: Statistic) -> NDArray[np.int64]:
    """A statistic of each of the images (n, H, W, C): (n, C, 256), (n, C, 2) or (n,)."""
    count, height, width, channels = images.shape
    if statistic is Statistic.EXTREMES:
        # Row against row first, where neighbours in memory are compared at once.
        rows = images.reshape(count, height, width * channels)
        low = cv2.reduce(rows.min(axis=1).reshape(count, width, channels), 1, cv2.REDUCE_MIN)
        high = cv2.reduce(rows.max(axis=1).reshape(count, width, channels), 1, cv2.REDUCE_MAX)
        return np.stack((low, high), axis=-1).astype(np.int64).reshape(count, channels, 2)
    if statistic is Statistic.GREY_MEAN:
        wide = cv2.CV_32S if height * width < 2**23 else cv2.CV_64F
        sums = cv2.reduce(_luma(images).reshape(count, -1), 1, cv2.REDUCE_SUM, dtype=wide)
        return np.asarray(sums[:, 0] / (height * width) + 0.5).astype(np.int64)
    channel_counts = [_histogram(image, channel) for image in images for channel in range(channels)]
    return np.concatenate(channel_counts).astype(np.int64).reshape(count, channels, 256)


def _luma(images: Images) -> Images:
    """The grey values (n, H, W) that PIL's ``convert("L")`` gives, ties rounded up as there."""
    if images.shape[3] == 1:
        return images[..., 0]
    # Every product and sum is a multiple of 1 / 65,536 below 256, so float32 holds it exactly, and OpenCV is
    # several times faster than with a single row of weights on uint8.
    grey = cv2.transform(tall(images).astype(np.float32), _ROUNDED_LUMA)
    return grey.astype(np.uint8).reshape(images.shape[:3])


def _histogram(image: Image, channel: int) -> NDArray[Any]:
    """How often each grey value occurs in one channel: 256 counts."""
    if image.shape[0] * image.shape[1] < 2**24:  # calcHist counts in float32
        return cv2.calcHist([image], [channel], None, [256], [0, 256])
    return np.bincount(image[:, :, channel].ravel(), minlength=256).reshape(256, 1)
