"""Complete data sets for ``benchmarks.unlabeled``, in files that all processes map, and their division."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from augsearch.policies import UserError
from augsearch.trainers import open_images
from augsearch.trainers.data.dataset import Split
from benchmarks.sampling import POOL_SEED, Indices, stratified

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""


class Division(BaseModel):
    """How many images of each class stand in the pools, none in two of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: int = 1000
    """Training images: the search's labels are drawn from them, the rest are its unlabeled ones."""
    validation: int = 200
    """Training images that the search is validated on."""
    final: int | None = None
    """Other training images, at most; None: all."""
    tested: int | None = None
    """Test images, at most; None: all."""


@dataclass(frozen=True, eq=False)
class Pools:
    """A data set and its division."""

    images: NDArray[np.uint8]
    """(N, S, S, C), a memory map."""
    labels: Indices
    """(N,)."""
    rows: dict[str, Indices]
    """Where to draw labels (``final``, ``search``), and what to test on (``test``, ``validation``)."""

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class Stored:
    """A data set in files; a process is sent their place, not their pixels."""

    name: str
    """A name with a hash of the content."""
    folder: Path
    """The folder of ``images.npy``, ``labels.npy`` and ``given.npy``, as ``ImageData`` has them."""

    def pools(self, division: Division) -> Pools:
        """The images, mapped, and their division.

        Raises:
            UserError: there are too few of them.
        """
        return _opened(self.folder, division)


@lru_cache(maxsize=4)
def _opened(folder: Path, division: Division) -> Pools:
    images = np.load(folder / "images.npy", mmap_mode="r")
    labels, given = np.load(folder / "labels.npy"), np.load(folder / "given.npy")
    return Pools(images, labels, divided(labels, given, division))


def divided(labels: Indices, given: NDArray[np.int8], division: Division) -> dict[str, Indices]:
    """The rows of each pool, the same on every call.

    Args:
        labels: (N,).
        given: (N,), codes of ``Split``: all but the training part is for the test.
        division: how many.

    Raises:
        UserError: there are too few.
    """
    rng = np.random.default_rng(POOL_SEED)
    trained, held = np.flatnonzero(given == Split.TRAIN), np.flatnonzero(given != Split.TRAIN)
    pools = {"test": held}
    if division.tested is not None:
        pools["test"] = stratified(held, labels, division.tested, rng, fewer=True)
    for name, count in (("search", division.search), ("validation", division.validation)):
        pools[name] = stratified(trained, labels, count, rng)
        trained = np.setdiff1d(trained, pools[name])
    pools["final"] = trained
    if division.final is not None:
        pools["final"] = stratified(trained, labels, division.final, rng, fewer=True)
    return pools


def fashion_mnist(folder: Path, models: Path) -> Stored:
    """The four files of Fashion-MNIST below ``folder``, unpacked below ``models``.

    Raises:
        UserError: one is missing or is no such file.
    """
    arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in _NAMES}
    for prefix, part in (("train", Split.TRAIN), ("t10k", Split.TEST)):
        pixels = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
        answers = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)
        if len(pixels) != len(answers):
            raise UserError(f"{folder}: {prefix} has {len(pixels)} images and {len(answers)} labels")
        arrays["images"].append(pixels[..., np.newaxis])
        arrays["labels"].append(answers.astype(np.int64))
        arrays["given"].append(np.full(len(pixels), part, np.int8))
    whole = {name: np.concatenate(parts) for name, parts in arrays.items()}
    digest = hashlib.sha256(b"".join(array.tobytes() for array in whole.values())).hexdigest()[:12]
    return Stored(f"Fashion-MNIST {digest}", _written(whole, models / f"fashion-mnist-{digest}"))


_NAMES = ("images", "labels", "given")


def _written(arrays: dict[str, NDArray[Any]], folder: Path) -> Path:
    if not folder.exists():
        part = folder.with_name(f".{folder.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array)
        part.replace(folder)
    return folder


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes in MNIST's format, gzipped: two zeros, type 8, the dimensions, each one's length.

    Raises:
        UserError: it is missing or is no such file.
    """
    try:
        content = gzip.decompress(file.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"no {file.name} in {file.parent}: apt-get install dataset-fashion-mnist, or give --fashion "
            "with a folder of the four idx .gz files"
        ) from None
    except (OSError, EOFError) as error:
        raise UserError(f"{file}: {error}") from None
    shape = np.frombuffer(content[4 : 4 + 4 * dimensions], ">u4").astype(int)
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) - start != shape.prod():
        raise UserError(f"{file}: is no idx file of {dimensions} dimensions of bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def cifar10(folder: Path, models: Path, progress: Callable[[int, int], None] | None = None) -> Stored:
    """The class folders in ``train/`` and ``test/`` below ``folder``, decoded below ``models`` once.

    Raises:
        UserError: there are no such images.
    """
    data = open_images(str(folder), image_size=32, cache=models, progress=progress)
    kinds = set(np.unique(data.given).tolist())
    if Split.TRAIN not in kinds or len(kinds) < 2:
        raise UserError(f"{folder}: needs train/ and one of val/ and test/")
    return Stored(f"CIFAR-10 {data.fingerprint[:12]}", data.cache)
