"""Unlabeled image files that are read when they are wanted, however many and whatever is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Policy, UserError
from augsearch.trainers.data.decode import BadImageError, decode_file, with_channels
from augsearch.trainers.data.views import CHUNK, TrainingImages, random_box
from augsearch.trainers.system.aliases import Logits
from augsearch.trainers.system.hashing import hashed_files
from augsearch.trainers.system.text import printable
from augsearch.trainers.system.threads import available_threads, in_order

Result = TypeVar("Result")

MOST_TRIED = 100
"""Files that are tried in the place of one that can't be read, before it is said that none can."""

PART = 8
"""Images that a thread reads at a time: enough to be worth a thread's while, few enough to stay small."""


class Names(Sequence[str]):
    """Many names in a file that all processes map; pickling them sends the path of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._text = np.load(folder / "names.npy", mmap_mode="r", allow_pickle=False)
        self._ends = np.load(folder / "ends.npy", mmap_mode="r", allow_pickle=False)
        if self._ends[-1] != len(self._text):
            raise ValueError("the names are not all there")

    @classmethod
    def write(cls, names: Iterable[str], folder: Path) -> None:
        """Write ``names``, one at least, into ``folder``, to be read from there."""
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        np.save(folder / "names.npy", np.frombuffer(b"".join(encoded), np.uint8))
        np.save(folder / "ends.npy", np.cumsum([len(name) for name in encoded], dtype=np.int64))

    def __reduce__(self) -> tuple[Any, ...]:
        return Names, (self._folder,)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        return bytes(self._text[start : int(self._ends[place])]).decode("utf-8", "surrogateescape")


@dataclass(frozen=True, eq=False)
class UnlabeledFiles:
    """Image files, decoded when they are wanted, by threads that run a little ahead.

    Nobody has looked into them: one that can't be read is left out by ``readable``, and replaced by another
    of those asked for in ``clean`` and in a training, which sees a random part of each and then the policy.
    """

    root: Path
    names: Sequence[str]
    """Paths inside ``root``."""
    side: int
    channels: int
    smallest_crop: float = 0.35
    """The smallest share of an image's area that a training's crop may have."""
    _bad: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def made_by(self) -> str:
        """Which crops of the files are taken."""
        return f"files at {self.side}, crops from {self.smallest_crop}"

    @property
    def unreadable(self) -> tuple[str, ...]:
        """``path: reason`` of the files that this process could not read so far."""
        return tuple(f"{printable(self.names[index])}: {self._bad[index]}" for index in sorted(self._bad))

    def path(self, index: int) -> Path:
        """Where file ``index`` is."""
        return self.root / self.names[index]

    def training(
        self, chosen: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int, teacher: Logits | None
    ) -> TrainingImages:
        """The ``chosen`` files to learn from."""
        known = None if teacher is None else teacher[chosen]
        return UnlabeledViews(self, chosen, labels[chosen], num_classes, known, available_threads())

    def clean(self, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` files: shorter side scaled, centre kept; in batches that are in step with them.

        Raises:
            UserError: hardly any of them can be read.
        """

        def read(part: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
            return [self.read_or_another(int(index), chosen) for index in part]

        batches = (chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK))
        for images in _in_groups(read, batches):
            yield np.stack(list(chain.from_iterable(images)))

    def readable(
        self, groups: Iterable[NDArray[np.int64]]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Of each of ``groups`` of files those that can be read, and their images as in ``clean``.

        Groups are taken one after another while their predecessors' files are being read.
        """
        for parts in _in_groups(self._readable, groups):
            indices, images = zip(*parts, strict=True)
            yield np.concatenate(indices), np.concatenate(images)

    def keys(self, indices: NDArray[np.int64]) -> list[bytes]:
        """BLAKE2b of the files' bytes, 16 bytes each; ``NO_KEY`` for a file that can't be opened."""
        return hashed_files([self.path(int(index)) for index in indices])

    def read(self, index: int, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """One image, (S, S, C): a random part of it with ``rng``, the centre without.

        Raises:
            BadImageError: it can't be read.
        """
        crop = None if rng is None else partial(random_box, smallest=self.smallest_crop, rng=rng)
        try:
            return with_channels(decode_file(self.path(index), self.side, crop), self.channels)
        except BadImageError as error:
            self._bad[index] = str(error)
            raise

    def read_or_another(
        self, index: int, among: NDArray[np.int64], seed: int | None = None
    ) -> NDArray[np.uint8]:
        """As ``read``, with a generator made of ``seed``; of a file that can't be read another of ``among``.

        The same files with the same seed give the same image.

        Raises:
            UserError: a hundred others can't be read either.
        """
        # Tried as if for the first time, whatever is known of them: a training that is taken up again knows
        # less. Scattered, because what damaged one file has often damaged its neighbours.
        others = np.random.default_rng(index).integers(len(among), size=MOST_TRIED)
        for tried in (index, *(int(among[other]) for other in others)):
            try:
                return self.read(tried, None if seed is None else np.random.default_rng(seed))
            except BadImageError:
                continue
        raise UserError(
            f"cannot read {self.path(index)} ({self._bad[index]}), nor any of {MOST_TRIED} other unlabeled "
            f"images: see whether {self.root} is still there"
        )

    def _readable(self, part: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        indices, images = [], []
        for index in part:
            try:
                images.append(self.read(int(index)))
            except BadImageError:
                continue
            indices.append(index)
        shape = (len(images), self.side, self.side, self.channels)
        return np.array(indices, np.int64), np.array(images, np.uint8).reshape(shape)


@dataclass(frozen=True, eq=False)
class UnlabeledViews:
    """Some of the files to learn from, each in the place of another one where that can't be read."""

    files: UnlabeledFiles
    chosen: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    teacher: Logits | None
    threads: int
    at_once: int = 1

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Random parts of the ``chosen`` images, augmented.

        Raises:
            UserError: hardly any file can be read.
        """
        # Drawn for all alike: how often a file is tried must not decide what is drawn for the next.
        seeds = rng.integers(2**63, size=len(chosen))
        images = [
            self.files.read_or_another(int(self.chosen[index]), self.chosen, int(seed))
            for index, seed in zip(chosen, seeds, strict=True)
        ]
        return policy.augment(np.stack(images), rng)


def _in_groups(
    function: Callable[[NDArray[np.int64]], Result], groups: Iterable[NDArray[np.int64]]
) -> Iterator[list[Result]]:
    """Of each group what ``function`` makes of its parts, in threads that run a little ahead."""
    parts = ((number, part) for number, group in enumerate(groups) for part in _parts(group))
    results = in_order(lambda numbered: (numbered[0], function(numbered[1])), parts)
    for _, of_group in groupby(results, key=itemgetter(0)):
        yield [result for _, result in of_group]


def _parts(indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut into pieces; of nothing one empty piece."""
    for start in range(0, max(1, len(indices)), PART):
        yield indices[start : start + PART]
