"""What the OpenCV backend makes of one step for images of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, C), C = 1 or 3, RGB; contiguous."""
Images = NDArray[np.uint8]
"""(B, H, W, C), likewise."""

SMALL = 64 * 64 * 3
"""Bytes up to which an image is small: calling OpenCV costs more than the work that it does."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One step made ready: nothing is computed twice that does not depend on the pixels."""

    one: Callable[[Image], Image]
    """A new image, or the very same where nothing changes."""
    within: Callable[[Images, list[int]], None]
    """Does the same to some images of a batch, in place."""


def alone(one: Callable[[Image], Image]) -> Part:
    """A part that does one image after the other."""

    def within(images: Images, indices: list[int]) -> None:
        for index in indices:
            images[index] = one(images[index])

    return Part(one, within)


def pointwise(change: Callable[[Image], Image], *, size: int) -> Part:
    """A part that asks no pixel for its place: ``change`` takes any (rows, W, C).

    Small images, of up to ``SMALL`` bytes in ``size``, are put together into one tall image.
    """
    if size > SMALL:
        return alone(change)

    def within(images: Images, indices: list[int]) -> None:
        if len(indices) == 1:
            images[indices[0]] = change(images[indices[0]])
        else:
            chosen = images[indices]
            images[indices] = change(tall(chosen)).reshape(chosen.shape)

    return Part(change, within)


def tall(images: Images) -> Image:
    """All images of a batch below one another, (B · H, W, C)."""
    return images.reshape(-1, *images.shape[2:])


def flat(image: Image) -> Image:
    """The same grey values as (rows, columns), for work that asks neither place nor channel."""
    return image.reshape(-1, image.shape[-2] * image.shape[-1])


def plane(image: Image) -> Image:
    """A grey image without its channel axis, as OpenCV wants it to write into."""
    return image[..., 0] if image.shape[-1] == 1 else image


def like(result: Any, image: Image) -> Image:
    """OpenCV's result in the shape of ``image``: it drops the channel axis of grey images."""
    return cast(Image, result.reshape(image.shape))


def filled(image: NDArray[np.uint8], fill: Sequence[int]) -> NDArray[np.uint8]:
    """An array like ``image``, all of one colour."""
    if len(set(fill)) == 1:
        return np.full_like(image, fill[0])  # twenty times faster than a colour
    result = np.empty_like(image)
    result.reshape(*image.shape[:-2], -1)[...] = np.tile(np.array(fill, dtype=np.uint8), image.shape[-2])
    return result
