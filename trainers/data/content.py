"""Each image's content as a short key, by which it is known again wherever it lies and at any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.atomic import whole_file
from augsearch.trainers.data.dataset import SMALL_SIDE, ImageData, Indices
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.sources.base import automatic_side, find_source
from augsearch.trainers.models.learned import Keys
from augsearch.trainers.system.hashing import NO_KEY, content_key, hashed_files


def keys_of_files(paths: list[Path]) -> list[bytes]:
    """The key of each file, by its bytes.

    Raises:
        UserError: a file can't be read any more.
    """
    keys = hashed_files(paths)
    if NO_KEY in keys:
        raise UserError(f"cannot read {paths[keys.index(NO_KEY)]}, which could be read before")
    return keys


def keys_of_pixels(images: NDArray[np.uint8], rows: Indices) -> list[bytes]:
    """The key of each of these rows of ``images`` (N, S, S, C), by its pixels."""
    keys = []
    for row in rows:
        image = images[row]
        # A grey image has three channels as soon as another one of the data set is coloured.
        if image.shape[-1] > 1 and (image == image[..., :1]).all():
            image = image[..., :1]
        keys.append(content_key(str(image.shape).encode() + image.tobytes()))
    return keys


def content_keys(source: str | None, data: ImageData) -> Keys:
    """(N,): a short key for each image of ``data``, which was opened from ``source``; without a label 0.

    Of files it is the bytes that count, else the pixels at the size that ``source`` itself suggests: so the
    size to which the images were decoded makes no difference. What was found out is kept with the decoded
    images, whose folder is another one when a file changes.

    Raises:
        UserError: a file can't be read any more.
    """
    kept = data.cache / "content-keys.npy"
    if kept.exists():
        known: Keys = np.load(kept, allow_pickle=False)
        return known
    rows = np.flatnonzero(data.labels >= 0)
    paths = image_paths(source, data)
    if paths is not None:
        found = keys_of_files([paths[row] for row in rows])
    else:
        found = keys_of_pixels(_at_its_own_size(source, data).images, rows)
    keys = np.zeros(len(data.labels), dtype=np.uint64)
    keys[rows] = np.frombuffer(b"".join(key[:8] for key in found), dtype="<u8")
    with whole_file(kept) as temporary:
        np.save(temporary, keys)
    return keys


def _at_its_own_size(source: str | None, data: ImageData) -> ImageData:
    """The same images as they are decoded where nobody asks for a size."""
    size = find_source(source, data.form).size()
    if size is not None and automatic_side([min(size)], SMALL_SIDE) == data.images.shape[1]:
        return data
    return open_images(
        source,
        image_size=None,
        cache=data.cache.parent,
        skip_bad_images=bool(data.skipped),
        form=data.form,
    )
