"""Opening a data set: any images in, one memory-mapped array of square 8-bit pixels out.

Images are decoded once, into a cache keyed by what lies on disk and the size asked for. Every later opening,
by this process or by a worker, maps the same pages and decodes nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.form import PLAIN, Form

SMALLEST_SIDE = 8
LARGEST_SIDE = 1024
CACHE_FORMAT = 1
DECODING = 3
"""Another number where the same files give other pixels, or other words on them, than in earlier versions."""
SMALL_SIDE = 64
Held = TypeVar("Held")

Indices = NDArray[np.int64]
"""Which images of an array are meant, (N,)."""

Weights = NDArray[np.float64]
WEIGHTS = "weights.npy"
"""The file of a cache that has them, where the data set has some."""

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


class Split(IntEnum):
    """What a data set says that an image is for; ``ANY`` where it says nothing.

    ``LEFT_OUT``: of a class that is too rare, see ``rare_classes``, or like a held-out image, see ``groups``.
    """

    ANY = 0
    TRAIN = 1
    VALIDATION = 2
    TEST = 3
    UNLABELED = 4
    LEFT_OUT = 5


@dataclass(frozen=True, eq=False)
class ImageData:
    """A decoded data set.

    Pickling one sends the path of its cache, not its pixels: the receiver maps the same pages.
    """

    name: str
    """The folder's name, the file's stem, ``fashion-mnist-small`` or torchvision's name."""
    images: NDArray[np.uint8]
    """(N, S, S, C), RGB; C is 1 if every image is grey, else 3; a read-only memory map."""
    labels: NDArray[np.int64]
    """(N,), in 0..len(classes)-1, or -1 where the image is unlabeled; read-only."""
    given: NDArray[np.int8]
    """(N,), codes of ``Split``; read-only."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the labels."""
    fingerprint: str
    """Hex BLAKE2b of pixels, labels, given and classes: the content, wherever it lies."""
    files: tuple[str, ...]
    """For each image its path inside the source, or ``index 17`` in a source that has no files.

    As the system gave them: ``printable`` makes of them what can be shown and stored."""
    skipped: tuple[str, ...]
    """``path: reason`` of every image left out by ``skip_bad_images``."""
    cache: Path
    """The folder to give to ``load_cache``."""
    form: Form = PLAIN
    """In which it was given, with the range of values that was found."""
    notes: tuple[str, ...] = ()
    """What is to be said of how it was read, a line each."""
    groups: Indices | None = None
    """(N,): images of the same number belong together; None: each stands alone."""
    weights: Weights | None = None
    """(N,), above 0: how much each counts in the loss of a training, beside the others; None: all alike."""

    def __reduce__(self) -> tuple[Any, ...]:
        return load_cache, (self.cache,)


def load_cache(folder: Path) -> ImageData:
    """Map a decoded data set; what a worker process calls with ``ImageData.cache``, in milliseconds.

    Raises:
        UserError: the folder holds no complete cache of this version.
    """
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        images = _mapped(folder / "images.npy")
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        given = np.load(folder / "given.npy", allow_pickle=False)
        if index["format"] != CACHE_FORMAT or not len(images) == len(labels) == len(given):
            raise ValueError("the files of the cache do not belong together")
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
            form=Form.model_validate(index.get("form", {})),
            notes=tuple(index.get("notes", ())),
            groups=_of_each(folder / "groups.npy", len(labels)),
            weights=_of_each(folder / WEIGHTS, len(labels)),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"{folder} holds no decoded images ({error}): open the data set again") from error


_MAPPED: WeakValueDictionary[tuple[str, int, int, int], NDArray[np.uint8]] = WeakValueDictionary()
"""Files that are mapped already, by what they are."""


def _mapped(path: Path) -> NDArray[np.uint8]:
    """An array in a file, mapped once for all of the process that has it."""
    found = path.stat()
    key = str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns
    images = _MAPPED.get(key)
    if images is None:
        images = _MAPPED[key] = np.load(path, mmap_mode="r", allow_pickle=False)
    return images


def _of_each(path: Path, images: int) -> NDArray[Any] | None:
    """What a cache may have of each image; None: it has none."""
    if not path.exists():
        return None
    values: NDArray[Any] = np.load(path, allow_pickle=False)
    if len(values) != images:
        raise ValueError("the files of the cache do not belong together")
    values.flags.writeable = False
    return values


def in_cache(folder: Path, load: Callable[[Path], Held]) -> Held | None:
    """What ``load`` finds in a cache folder, or None where there is nothing or it is damaged."""
    try:
        return load(folder)
    except UserError:
        return None
