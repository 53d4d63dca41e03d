"""Where the final training's pixels come from: the decoded cache, or the image files at full size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Policy, UserError
from augsearch.trainers.data.decode import BadImageError, Box, decode_file, with_channels
from augsearch.trainers.system.aliases import Logits
from augsearch.trainers.system.threads import available_threads, in_order

AT_ONCE = 2 * 2**20
"""Bytes of pixels that are augmented together; more would leave the processor's cache."""


class TrainingImages(Protocol):
    """What a training learns from: images wherever they are, and their labels."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,)."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def teacher(self) -> Logits | None:
        """(N, K): a teacher's logits of the clean images, if they are known."""

    @property
    def threads(self) -> int:
        """Threads that make batches ahead of the training; 0: made when they are wanted."""

    @property
    def at_once(self) -> int:
        """How many images ``views`` had best be asked for at least."""

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` images, augmented: (B, S, S, C). Called from any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Images in memory, or mapped into it."""

    images: NDArray[np.uint8]
    """(N, H, W, C)."""
    labels: NDArray[np.int64]
    """(N,)."""
    num_classes: int
    teacher: Logits | None = None
    """(N, K): a teacher's logits of the clean images."""
    threads: int = 0
    """Threads that make batches ahead of the training; 0: as many as suit the device."""

    @property
    def at_once(self) -> int:
        """Some batches of small images: a policy on 512 thumbnails costs half as much each as on 64."""
        return max(1, AT_ONCE // int(self.images[0].nbytes))

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The ``chosen`` images, augmented."""
        return policy.augment(self.images[chosen], rng)


RATIOS = (3 / 4, 4 / 3)
"""Between which the sides of a random crop are to each other (Szegedy et al. 2015, arXiv:1409.4842)."""

CHUNK = 64


class Pixels(Protocol):
    """All images of a data set, by their index."""

    @property
    def side(self) -> int:
        """Of the images that they yield, in pixels."""

    @property
    def made_by(self) -> str:
        """What decides the pixels, beside the images: where that is another, so is the training."""

    def training(
        self, chosen: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int, teacher: Logits | None
    ) -> TrainingImages:
        """The ``chosen`` images to learn from; ``labels`` (N,) and the teacher's logits (N, K) are of all."""

    def clean(self, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` images as they are, in batches (B, S, S, C)."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels in memory, or mapped into it."""

    images: NDArray[np.uint8]
    """(N, S, S, C)."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Other processes map the same pages; a memory map would be pickled pixel by pixel.
        if isinstance(self.images, np.memmap) and isinstance(self.images.base, mmap):
            return _mapped, (Path(self.images.filename),)
        return Decoded, (self.images,)

    @property
    def side(self) -> int:
        """S."""
        return int(self.images.shape[1])

    @property
    def made_by(self) -> str:
        """They are as they were decoded."""
        return f"decoded at {self.side}"

    def training(
        self, chosen: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int, teacher: Logits | None
    ) -> TrainingImages:
        """The ``chosen`` images, read into memory."""
        known = None if teacher is None else teacher[chosen]
        return LabeledImages(self.images[chosen], labels[chosen], num_classes, known)

    def clean(self, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` images."""
        for start in range(0, len(chosen), CHUNK):
            yield self.images[chosen[start : start + CHUNK]]


def _mapped(path: Path) -> Decoded:
    return Decoded(np.load(path, mmap_mode="r", allow_pickle=False))


@dataclass(frozen=True, eq=False)
class OnDisk:
    """Image files, decoded when they are wanted, by threads that run a little ahead.

    A training sees a random part of each (RandomResizedCrop), and then the policy.
    """

    paths: Sequence[Path]
    side: int
    channels: int
    smallest_crop: float = 0.35
    """The smallest share of an image's area that a training's crop may have."""

    @property
    def made_by(self) -> str:
        """Which crops of the files are taken."""
        return f"files at {self.side}, crops from {self.smallest_crop}"

    def training(
        self, chosen: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int, teacher: Logits | None
    ) -> TrainingImages:
        """The ``chosen`` files to learn from."""
        known = None if teacher is None else teacher[chosen]
        return FileImages(self, chosen, labels[chosen], num_classes, known, available_threads())

    def clean(self, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The ``chosen`` files: shorter side scaled, centre kept."""
        chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
        yield from in_order(lambda part: np.stack([self.read(index) for index in part]), chunks)

    def read(self, index: int, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """One image, (S, S, C): a random part of it with ``rng``, the centre without.

        Raises:
            UserError: the file can't be read any more.
        """
        path = self.paths[index]
        crop = None if rng is None else partial(random_box, smallest=self.smallest_crop, rng=rng)
        try:
            return with_channels(decode_file(path, self.side, crop), self.channels)
        except BadImageError as error:
            raise UserError(f"cannot read {path} ({error}), which could be read before") from None


@dataclass(frozen=True, eq=False)
class FileImages:
    """Some of the files, with their labels, to learn from."""

    files: OnDisk
    chosen: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    teacher: Logits | None
    threads: int
    at_once: int = 1

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Random parts of the ``chosen`` files, augmented."""
        images = np.stack([self.files.read(int(self.chosen[index]), rng) for index in chosen])
        return policy.augment(images, rng)


def random_box(width: int, height: int, smallest: float, rng: np.random.Generator) -> Box:
    """A random part of an image of ``width`` × ``height`` pixels: (left, top, right, bottom).

    Its area is ``smallest`` to all of the image's, evenly, and the ratio of its sides 3/4 to 4/3, evenly in
    the logarithm, as torchvision's RandomResizedCrop draws them; where ten draws don't fit, the centre.
    """
    low, high = (math.log(ratio) for ratio in RATIOS)
    for _ in range(10):
        area = width * height * rng.uniform(smallest, 1.0)
        ratio = math.exp(rng.uniform(low, high))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
            return left, top, left + across, top + down
    across = min(width, round(height * RATIOS[1]))
    down = min(height, round(width / RATIOS[0]))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down
