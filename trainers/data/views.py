"""Where a training's pixels come from: the decoded cache, or image files that are read when wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby
from mmap import mmap
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Policy, UserError
from augsearch.policies.regions import REGION_NOISE, cropped
from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.data.decode import (
    BadImageError,
    decode_file,
    decode_shrunk,
    fit_pixels,
    with_channels,
)
from augsearch.trainers.data.form import AS_USUAL, Reading
from augsearch.trainers.data.photos import LARGER, KeptPhotos, least_side
from augsearch.trainers.system.hashing import hashed_files
from augsearch.trainers.system.threads import at_once, in_order

Result = TypeVar("Result")

BYTES_AT_ONCE = 2 * 2**20
"""Bytes of pixels that are augmented together; more would leave the processor's cache."""

BATCH = 64
"""Images in a batch of clean ones."""

FILES_AT_A_TIME = 8
"""Files that a thread reads at a time: enough to be worth a thread's while, few enough to stay small."""

MOST_TRIED = 100
"""Files that are tried in the place of one that can't be read, before it is said that none can."""


class TrainingImages(Protocol):
    """What a training learns from: images wherever they are, and their labels."""

    @property
    def labels(self) -> Indices:
        """(N,)."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def teacher(self) -> NDArray[np.float32] | None:
        """(N, K): a teacher's logits of the clean images, if they are known."""

    @property
    def threads(self) -> int:
        """Threads that make batches ahead of the training; 0: made when they are wanted."""

    @property
    def at_once(self) -> int:
        """How many images ``views`` is best called for, at least."""

    def views(self, chosen: Indices, policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` images, augmented: (B, S, S, C). Called from any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Images in memory, or mapped into it."""

    images: NDArray[np.uint8]
    """(N, H, W, C)."""
    labels: Indices
    """(N,)."""
    num_classes: int
    teacher: NDArray[np.float32] | None = None
    """(N, K): a teacher's logits of the clean images."""
    threads: int = 0
    """Threads that make batches ahead of the training; 0: as many as suit the device."""

    @property
    def at_once(self) -> int:
        """Some batches of small images: a policy on 512 thumbnails costs half as much each as on 64."""
        return max(1, BYTES_AT_ONCE // int(self.images[0].nbytes))

    def views(self, chosen: Indices, policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` images, augmented."""
        return policy.augment(self.images[chosen], rng)


class Pixels(Protocol):
    """All images of a data set, by their index."""

    @property
    def side(self) -> int:
        """Side of the images, in pixels."""

    @property
    def channels(self) -> int:
        """Of each image."""

    @property
    def made_by(self) -> str:
        """What decides the pixels, beside the images: where that is another, so is the training."""

    def training(
        self, chosen: Indices, labels: Indices, num_classes: int, teacher: NDArray[np.float32] | None
    ) -> TrainingImages:
        """The ``chosen`` images to learn from; ``labels`` (N,) and the teacher's logits (N, K) are of all."""

    def clean(self, chosen: Indices) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` images as they are, in batches (B, S, S, C)."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels in memory, or mapped into it."""

    images: NDArray[np.uint8]
    """(N, S, S, C)."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Other processes map the same pages; a memory map would be pickled pixel by pixel.
        return (Decoded, (self.images,)) if self.file is None else (Decoded.mapped, (self.file,))

    @classmethod
    def mapped(cls, file: Path) -> Decoded:
        """Those of an ``.npy`` file, mapped."""
        return cls(np.load(file, mmap_mode="r", allow_pickle=False))

    @property
    def file(self) -> Path | None:
        """The ``.npy`` file that holds them and nothing else; None: they are in memory, or part of one."""
        if isinstance(self.images, np.memmap) and isinstance(self.images.base, mmap):
            return Path(self.images.filename)
        return None

    @property
    def side(self) -> int:
        """S."""
        return int(self.images.shape[1])

    @property
    def channels(self) -> int:
        """C."""
        return int(self.images.shape[3])

    @property
    def made_by(self) -> str:
        """They are as they were decoded."""
        return f"decoded at {self.side}"

    def training(
        self, chosen: Indices, labels: Indices, num_classes: int, teacher: NDArray[np.float32] | None
    ) -> TrainingImages:
        """The ``chosen`` images, read into memory."""
        known = None if teacher is None else teacher[chosen]
        return LabeledImages(self.images[chosen], labels[chosen], num_classes, known)

    def clean(self, chosen: Indices) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` images."""
        for start in range(0, len(chosen), BATCH):
            yield self.images[chosen[start : start + BATCH]]


class View(NamedTuple):
    """How a training sees a photo before the rest of the policy: a random part of it, or its centre."""

    smallest: float | None
    """The smallest share of a resized crop; None: there is none."""
    seed: int
    """What the part follows from."""


@dataclass(frozen=True, eq=False)
class OnDisk:
    """Image files, decoded when they are wanted, by threads that run a little ahead.

    A training sees what its policy says and nothing else. A resized crop is one of the whole photo, before
    that is made small.
    """

    paths: Sequence[Path]
    side: int
    channels: int
    replaces_unreadable: bool = False
    """Whether another file takes the place of one that can't be read; else that is an error.

    For images that nobody has looked at. ``readable`` leaves out what can't be read in either case.
    """
    kept_in: Path | None = None
    """The folder where photos are kept, scaled down, for the next epoch's crops; None: nowhere."""
    reading: Reading = AS_USUAL
    """How files become pixels."""
    unreadable: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    """Why a file could not be read, by its index, as far as this process knows."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the kept photos for itself.
        fields = (self.paths, self.side, self.channels, self.replaces_unreadable)
        return OnDisk, (*fields, self.kept_in, self.reading)

    @property
    def made_by(self) -> str:
        """How large the photos are of which a training's images are made."""
        read = "" if self.reading == AS_USUAL else f", read as {self.reading}"
        return f"files at {self.side}, by way of {LARGER} times that{read}"

    @cached_property
    def _kept(self) -> KeptPhotos | None:
        if self.kept_in is None:
            return None
        return KeptPhotos(self.kept_in, self.paths, self.side, self.channels, self.reading)

    def training(
        self, chosen: Indices, labels: Indices, num_classes: int, teacher: NDArray[np.float32] | None
    ) -> TrainingImages:
        """The ``chosen`` files to learn from."""
        known = None if teacher is None else teacher[chosen]
        return FileImages(self, chosen, labels[chosen], num_classes, known)

    def clean(self, chosen: Indices) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` files: shorter side scaled, centre kept; in batches that are in step with them.

        Raises:
            UserError: a file can't be read, nor any that may replace it.
        """

        def read(portion: Indices) -> list[NDArray[np.uint8]]:
            if self.replaces_unreadable:
                return [self.read_or_another(int(index), chosen) for index in portion]
            return [self.read(int(index)) for index in portion]

        batches = (chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH))
        for images in in_groups(read, batches):
            yield np.stack(list(chain.from_iterable(images)))

    def readable(self, groups: Iterable[Indices]) -> Iterator[tuple[Indices, NDArray[np.uint8]]]:
        """For each of ``groups`` of files, those that can be read, and their images as in ``clean``.

        Groups are taken one after another while their predecessors' files are being read.
        """
        for portions in in_groups(self._readable, groups):
            indices, images = zip(*portions, strict=True)
            yield np.concatenate(indices), np.concatenate(images)

    def keys(self, indices: Indices) -> list[bytes]:
        """Hashes of the files' bytes, 16 bytes each; ``NO_KEY`` for a file that can't be opened."""
        return hashed_files([self.paths[int(index)] for index in indices])

    def read(self, index: int, view: View | None = None) -> NDArray[np.uint8]:
        """One image, (S, S, C): as a training sees it with ``view``, else the centre, exactly.

        Raises:
            UserError: the file can't be read any more.
        """
        try:
            return self._decoded(index, view)
        except BadImageError as error:
            raise UserError(
                f"cannot read {self.paths[index]} ({error}), which could be read before"
            ) from None

    def read_or_another(self, index: int, among: Indices, view: View | None = None) -> NDArray[np.uint8]:
        """As ``read``; of a file that can't be read another of ``among``.

        The same files with the same view give the same image.

        Raises:
            UserError: a hundred others can't be read either.
        """
        # Tried as if for the first time, whatever is known of them: a training that is taken up again knows
        # less. Scattered, because what damaged one file has often damaged its neighbours.
        others = np.random.default_rng(index).integers(len(among), size=MOST_TRIED)
        for tried in (index, *(int(among[other]) for other in others)):
            try:
                return self._decoded(tried, view)
            except BadImageError:
                continue
        path = self.paths[index]
        raise UserError(
            f"cannot read {path} ({self.unreadable[index]}), nor any of {MOST_TRIED} other images: "
            f"see whether {path.parent} is still there"
        )

    def _decoded(self, index: int, view: View | None) -> NDArray[np.uint8]:
        try:
            if view is None:
                return with_channels(decode_file(self.paths[index], self.side, self.reading), self.channels)
            return self._seen(index, view)
        except BadImageError as error:
            self.unreadable[index] = str(error)
            raise

    def _seen(self, index: int, view: View) -> NDArray[np.uint8]:
        """What a training sees of the file, scaled down to not much more than is trained at."""
        if self._kept is not None:
            photo = self._kept.read(index)
        else:
            photo = decode_shrunk(self.paths[index], least_side(self.side), self.reading)
        if view.smallest is None:
            return with_channels(fit_pixels(photo, self.side), self.channels)
        noise = np.random.default_rng(view.seed).random(REGION_NOISE).tolist()
        height, width = photo.shape[:2]
        left, top, across, down = cropped(width, height, view.smallest, noise, aspect=1.0)
        box = (left, top, left + across, top + down)
        return with_channels(fit_pixels(photo, self.side, box=box), self.channels)

    def _readable(self, portion: Indices) -> tuple[Indices, NDArray[np.uint8]]:
        indices, images = [], []
        for index in portion:
            try:
                images.append(self._decoded(int(index), None))
            except BadImageError:
                continue
            indices.append(index)
        shape = (len(images), self.side, self.side, self.channels)
        return np.array(indices, np.int64), np.array(images, np.uint8).reshape(shape)


@dataclass(frozen=True, eq=False)
class FileImages:
    """Some of the files, with their labels, to learn from."""

    files: OnDisk
    chosen: Indices
    labels: Indices
    num_classes: int
    teacher: NDArray[np.float32] | None
    threads: int = 2
    """That make batches ahead: each has its files read by all of the process's threads at once."""
    at_once: int = 1

    def views(self, chosen: Indices, policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` files, augmented.

        Raises:
            UserError: a file can't be read, nor any that may replace it.
        """
        # A seed for each: neither threads nor how often a file is tried decide what is drawn for the next.
        seeds = rng.integers(2**63, size=len(chosen))
        crop = policy.resized_crop
        rest = policy if crop is None else policy.model_copy(update={"resized_crop": None})

        def read(numbered: tuple[np.int64, np.int64]) -> NDArray[np.uint8]:
            index = int(self.chosen[numbered[0]])
            view = View(None if crop is None else crop.smallest, int(numbered[1]))
            if self.files.replaces_unreadable:
                return self.files.read_or_another(index, self.chosen, view)
            return self.files.read(index, view)

        return rest.augment(np.stack(at_once(read, zip(chosen, seeds, strict=True))), rng)


def in_groups(function: Callable[[Indices], Result], groups: Iterable[Indices]) -> Iterator[list[Result]]:
    """For each group, what ``function`` makes of its portions, in threads that run a little ahead."""
    portions = ((number, portion) for number, group in enumerate(groups) for portion in _portions(group))
    results = in_order(lambda numbered: (numbered[0], function(numbered[1])), portions)
    for _, of_group in groupby(results, key=itemgetter(0)):
        yield [result for _, result in of_group]


def _portions(indices: Indices) -> Iterator[Indices]:
    """``indices`` in pieces for a thread each; one empty piece if there are none."""
    for start in range(0, max(1, len(indices)), FILES_AT_A_TIME):
        yield indices[start : start + FILES_AT_A_TIME]
