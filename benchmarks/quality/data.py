"""The data sets of ``benchmarks.quality``, each divided once: no seed tests on what another learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

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

    They are put into an ``.npz`` file of their own, which ``augsearch run`` takes as it takes any.

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
    file = work / f"cifar-10-{len(drawn)}.npz"
    if not file.exists():
        _write(file, whole, np.concatenate((drawn, held)))
    data = open_images(str(file.resolve()), image_size=None, cache=work / CACHE)
    return DataSet("cifar-10", f"CIFAR-10, {len(drawn):,} labels", str(file.resolve()), data.cache)


def _write(file: Path, whole: ImageData, rows: Indices) -> None:
    part = file.with_name(f".{file.stem}.part.npz")
    np.savez(
        part,
        images=whole.images[rows],
        labels=whole.labels[rows],
        classes=np.array(whole.classes),
        parts=whole.given[rows],
    )
    part.replace(file)
