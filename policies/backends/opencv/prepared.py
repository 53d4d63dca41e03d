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

SMALL_BYTES = 64 * 64 * 3
"""Size of an image up to which it is small: calling OpenCV costs more than the work that it does."""

CACHE_BYTES = 160 * 160 * 3
"""Size of an image up to which a batch is worked on step by step; larger ones image by image, each while
it is in the processor's cache."""


class ImageFunction(Protocol):
    """Changes an image (H, W, C)."""

    def __call__(self, image: Image, out: Image | None = None, /) -> Image:
        """A new image, written to ``out`` where it is given; or the very same where nothing changes."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedStep:
    """One step made ready: nothing is computed twice that does not depend on the pixels."""

    on_image: ImageFunction
    """``out`` must not overlap the image."""
    on_batch: Callable[[Images, list[int]], None]
    """Does the same to the images of a batch that have these indices, in place."""


def one_by_one(on_image: ImageFunction) -> PreparedStep:
    """A step that changes one image of a batch after the other."""

    def on_batch(images: Images, indices: list[int]) -> None:
        for index in indices:
            on_image(images[index].copy(), images[index])

    return PreparedStep(on_image, on_batch)


def pointwise(change: ImageFunction, *, size: int) -> PreparedStep:
    """A step that treats a pixel alike wherever it is.

    ``change`` takes any (rows, W, C), and may write in place. Small images, of up to ``SMALL_BYTES`` in
    ``size``, are put together into one tall image.
    """

    def on_batch(images: Images, indices: list[int]) -> None:
        if size > SMALL_BYTES or len(indices) == 1:
            for index in indices:
                image = images[index]
                change(image, image)
        else:
            chosen = images[indices]
            together = stacked(chosen)
            change(together, together)
            images[indices] = chosen

    return PreparedStep(change, on_batch)


def _same_image(image: Image, out: Image | None = None) -> Image:
    return image


UNCHANGED = PreparedStep(_same_image, lambda images, indices: None)
"""A step that does nothing to such images."""


def stacked(images: Images) -> Image:
    """All images of a batch below one another, (B · H, W, C)."""
    return images.reshape(-1, *images.shape[2:])


def output(image: Image | None) -> Image | None:
    """An image as OpenCV wants it to write into: a grey one without its channel axis."""
    return image[..., 0] if image is not None and image.shape[-1] == 1 else image


def shaped_like(image: Image, result: Any) -> Image:
    """OpenCV's result in the shape of ``image``: it drops the channel axis of grey images."""
    return cast(Image, result.reshape(image.shape))


def fill_all(image: NDArray[Any], fill: Sequence[int]) -> None:
    """Paint an image (..., H, W, C) in one colour."""
    if len(set(fill)) == 1:
        image[...] = fill[0]  # a hundred times faster than a colour
    else:
        row = np.tile(np.array(fill, dtype=image.dtype), image.shape[-2])
        image.reshape(*image.shape[:-2], -1)[...] = row
