"""Tables on OpenCV arrays, and what a table must know of its image.

Looking up is StringZilla's ``translate``: with AVX-512 some twenty times as fast as ``cv2.LUT`` with a table
shared by all channels, so that no table is worth running as arithmetic instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, cast

import cv2
import numpy as np
import stringzilla
from numpy.typing import NDArray

from augsearch.policies.backends.opencv.prepared import (
    SMALL_BYTES,
    UNCHANGED,
    Image,
    Images,
    PreparedStep,
    output,
    pointwise,
    shaped_like,
    stacked,
)
from augsearch.policies.effects import IDENTITY_ENTRIES, LUMA, Entries, Statistic, Table, Tables

_ROUNDED_LUMA = np.array([[*LUMA, 0.5]])

_AT_ONCE = 32
"""Small images whose tables are written together: their intermediate results stay in the cache."""


def prepare_tables(tables: Tables, size: int) -> PreparedStep:
    """Make a look-up in ``tables`` ready for images of ``size`` bytes."""
    first, *others = tables.members
    # Then what is measured before the first member decides all: a number, or two of each channel.
    rest_is_known = all(isinstance(member, Table) for member in others)
    if isinstance(first, Table):
        if rest_is_known:
            return _prepare_known(tables.entries(_never), size)
    elif rest_is_known and first.statistic is Statistic.GREY_MEAN:
        return _prepare_by_grey_mean(tables)
    by_extremes = rest_is_known and not isinstance(first, Table) and first.statistic is Statistic.EXTREMES

    def entries_for(image: Image) -> Entries:
        if by_extremes:
            extremes = (cv2.minMaxLoc(channel)[:2] for channel in cv2.split(image))
            return np.stack([_entries_of(tables, (int(low), int(high))) for low, high in extremes])
        written: Entries = tables.entries(lambda statistic: measure(image[np.newaxis], statistic))[0]
        return written

    def on_image(image: Image, out: Image | None = None) -> Image:
        entries = entries_for(image)
        if (entries == IDENTITY_ENTRIES).all():  # an image that has all grey values can't be stretched
            return image
        return _look_up_by_channel(image, np.ascontiguousarray(entries), out)

    def on_batch(images: Images, indices: list[int]) -> None:
        for chosen in _portions(indices):
            entries = np.ascontiguousarray(tables.entries(partial(measure, images[chosen])))
            if size <= SMALL_BYTES:
                for index, own in zip(chosen, _in_pixel_order(entries), strict=True):
                    cv2.LUT(images[index], own, output(images[index]))
            else:
                for index, own in zip(chosen, entries, strict=True):
                    _look_up_by_channel(images[index], own, images[index])

    return PreparedStep(on_image, on_batch)


def _portions(indices: list[int]) -> Iterator[list[int]]:
    return (indices[begin : begin + _AT_ONCE] for begin in range(0, len(indices), _AT_ONCE))


@lru_cache(maxsize=2**14)
def _entries_of(tables: Tables, measured: int | tuple[int, int]) -> Entries:
    """The entries (256,) of tables that one measurement decides: many images share theirs.

    One cache for all tables bounds the memory, however many tables there are.
    """
    return np.ascontiguousarray(tables.entries(lambda _: np.array(measured)))


def _look_up_by_channel(image: Image, entries: Entries, out: Image | None) -> Image:
    """Look up each channel in its own contiguous entries (C, 256); ``out`` may be the image."""
    if image.size <= SMALL_BYTES:  # less than it costs to take the channels apart
        return shaped_like(image, cv2.LUT(image, _in_pixel_order(entries), output(out)))
    channels = cast(list[Image], cv2.split(image))
    for channel, own in zip(channels, entries, strict=True):
        _look_up_in_place(channel, own)
    return shaped_like(image, cv2.merge(channels, output(out)))


def _in_pixel_order(entries: Entries) -> Entries:
    """Entries (..., C, 256) in the order of pixels, (..., 1, 256, C)."""
    return np.ascontiguousarray(np.swapaxes(entries, -1, -2))[..., np.newaxis, :, :]


def _look_up_in_place(values: NDArray[np.uint8], entries: Entries) -> None:
    """Look up contiguous ``values`` in ``entries`` (256,), in place."""
    stringzilla.translate(values.reshape(-1).data, entries.data, inplace=True)


def _look_up(image: Image, entries: Entries, out: Image | None) -> Image:
    """Look up in contiguous entries (256,); ``out`` may be the image."""
    if out is None:
        out = image.copy()
    elif out is not image:
        out[...] = image
    _look_up_in_place(out, entries)
    return out


def _never(statistic: Statistic) -> NDArray[np.int64]:
    raise AssertionError("a table that is known beforehand asked for a statistic")


def _prepare_by_grey_mean(tables: Tables) -> PreparedStep:
    """Make tables ready that follow from the mean grey value alone."""

    def on_image(image: Image, out: Image | None = None) -> Image:
        (grey,) = measure(image[np.newaxis], Statistic.GREY_MEAN).tolist()
        return _look_up(image, _entries_of(tables, grey), out)

    def on_batch(images: Images, indices: list[int]) -> None:
        for chosen in _portions(indices):
            greys = measure(images[chosen], Statistic.GREY_MEAN).tolist()
            for index, grey in zip(chosen, greys, strict=True):
                _look_up_in_place(images[index], _entries_of(tables, grey))

    return PreparedStep(on_image, on_batch)


def _prepare_known(entries: Entries, size: int) -> PreparedStep:
    """Make one table (256,) ready for all pixels."""
    if (entries == IDENTITY_ENTRIES).all():
        return UNCHANGED
    entries = np.ascontiguousarray(entries)

    def change(image: Image, out: Image | None = None) -> Image:
        return _look_up(image, entries, out)

    return pointwise(change, size=size)


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
    grey = cv2.transform(stacked(images).astype(np.float32), _ROUNDED_LUMA)
    return grey.astype(np.uint8).reshape(images.shape[:3])


def _histogram(image: Image, channel: int) -> NDArray[Any]:
    """How often each grey value occurs in one channel: 256 counts."""
    if image.shape[0] * image.shape[1] < 2**24:  # calcHist counts in float32
        return cv2.calcHist([image], [channel], None, [256], [0, 256])
    return np.bincount(image[:, :, channel].ravel(), minlength=256).reshape(256, 1)
