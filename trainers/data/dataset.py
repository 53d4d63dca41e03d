"""Opening a data set: any images in, one memory-mapped array of square 8-bit pixels out.

Images are decoded once, into a cache keyed by what lies on disk and the size asked for. Every later opening,
by this process or by a worker, maps the same pages and decodes nothing.
"""

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from augsearch.policies import UserError

SMALLEST_SIDE = 8
LARGEST_SIDE = 1024
CACHE_FORMAT = 1
SMALL_SIDE = 64
Held = TypeVar("Held")


class Part(enum.IntEnum):
    """What the layout of the data says about an image; ``ANY`` where it says nothing."""

    ANY = 0
    TRAIN = 1
    VALIDATION = 2
    TEST = 3
    UNLABELED = 4


@dataclass(frozen=True, eq=False)
class ImageData:
    """A decoded data set.

    Pickling one sends the path of its cache, not its pixels: the receiver maps the same pages.

    Attributes:
        name: the folder's name, the file's stem, ``fashion-mnist-small`` or torchvision's name.
        images: uint8, (N, S, S, C), RGB; C is 1 if every image is grey, else 3; a read-only memory map.
        labels: int64, (N,), in 0..len(classes)-1, or -1 where the image is unlabeled; read-only.
        given: int8, (N,), codes of ``Part``; read-only.
        classes: the names of the classes, in the order of the labels.
        fingerprint: hex BLAKE2b of pixels, labels, given and classes: the content, wherever it lies.
        files: for each image its path inside the source, or ``index 17`` in a source that has no files.
        skipped: ``path: reason`` of every image left out by ``skip_bad_images``.
        cache: the folder to give to ``load_cache``.
    """

    name: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    given: npt.NDArray[np.int8]
    classes: tuple[str, ...]
    fingerprint: str
    files: tuple[str, ...]
    skipped: tuple[str, ...]
    cache: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return load_cache, (self.cache,)


def image_paths(source: str | None, data: ImageData) -> list[Path] | None:
    """The files of ``data``, which was opened from ``source``, in its order; None where they are no files."""
    if source is None or source.startswith("torchvision:") or not Path(source).expanduser().is_dir():
        return None
    return [Path(source).expanduser() / file for file in data.files]


def load_cache(folder: Path) -> ImageData:
    """Map a decoded data set; what a worker process calls with ``ImageData.cache``, in milliseconds.

    Raises:
        UserError: the folder holds no complete cache of this version.
    """
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        given = np.load(folder / "given.npy", allow_pickle=False)
        if index["format"] != CACHE_FORMAT or not len(images) == len(labels) == len(given):
            raise ValueError("the parts of the cache do not belong together")
        labels.flags.writeable = given.flags.writeable = False
        return ImageData(
            name=index["name"],
            images=images,
            labels=labels,
            given=given,
            classes=tuple(index["classes"]),
            fingerprint=index["fingerprint"],
            files=tuple(index["files"]),
            skipped=tuple(index["skipped"]),
            cache=folder,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"{folder} holds no decoded images ({error}): open the data set again") from error


def in_cache(folder: Path, load: Callable[[Path], Held]) -> Held | None:
    """What ``load`` finds in a cache folder, or None where there is nothing or it is damaged."""
    try:
        return load(folder)
    except UserError:
        return None
