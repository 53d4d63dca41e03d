"""What the OpenCV backend makes of one step for images of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, C), C = 1 or 3, RGB; contiguous."""
Images = NDArray[np.uint8]
"""(B, H, W, C), likewise."""

SMALL = 64 * 64 * 3
"""Bytes up to which an image is small: calling OpenCV costs more than the work that it does."""

FITS_CACHE = 160 * 160 * 3
"""Bytes of an image up to which a batch is worked on step by step; larger ones image by image, each while
it is in the processor's cache."""


class Change(Protocol):
    """Does something to an image (H, W, C)."""

    def __call__(self, image: Image, out: Image | None = None, /) -> Image:
        """A new image, written to ``out`` where it is given; or the very same where nothing changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One step made ready: nothing is computed twice that does not depend on the pixels."""

    one: Change
    """``out`` must not overlap the image."""
    within: Callable[[Images, list[int]], None]
    """Does the same to some images of a batch, in place."""


def alone(one: Change) -> Part:
    """A part that does one image after the other."""

    def within(images: Images, indices: list[int]) -> None:
        for index in indices:
            one(images[index].copy(), images[index])

    return Part(one, within)


def pointwise(change: Change, *, size: int) -> Part:
    """A part that asks no pixel for its place: ``change`` takes any (rows, W, C), and may write in place.

    Small images, of up to ``SMALL`` bytes in ``size``, are put together into one tall image.
    """

    def within(images: Images, indices: list[int]) -> None:
        if size > SMALL or len(indices) == 1:
            for index in indices:
                image = images[index]
                change(image, image)
        else:
            chosen = images[indices]
            together = tall(chosen)
            change(together, together)
            images[indices] = chosen

    return Part(change, within)


def unchanged(image: Image, out: Image | None = None) -> Image:
    """What a step does that does nothing to such images."""
    return image


def tall(images: Images) -> Image:
    """All images of a batch below one another, (B · H, W, C)."""
    return images.reshape(-1, *images.shape[2:])


def plane(image: Image | None) -> Image | None:
    """A grey image without its channel axis, as OpenCV wants it to write into."""
    return image[..., 0] if image is not None and image.shape[-1] == 1 else image


def like(result: Any, image: Image) -> Image:
    """OpenCV's result in the shape of ``image``: it drops the channel axis of grey images."""
    return cast(Image, result.reshape(image.shape))


def fill_all(image: NDArray[np.uint8], fill: Sequence[int]) -> None:
    """Paint an image (..., H, W, C) in one colour."""
    if len(set(fill)) == 1:
        image[...] = fill[0]  # a hundred times faster than a colour
    else:
        row = np.tile(np.array(fill, dtype=np.uint8), image.shape[-2])
        image.reshape(*image.shape[:-2], -1)[...] = row
