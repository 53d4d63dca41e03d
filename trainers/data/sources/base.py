"""Where images come from: what a data set must offer to be decoded, and who offers it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import SMALLEST_SIDE, Part

HEADERS = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source, decoded or not.

    Attributes:
        file: where it lies inside the source.
        pixels: uint8, (S, S, 1) if it is grey, else (S, S, 3), RGB; None if it cannot be read.
        label: the number of its class, or -1.
        part: what the layout says about it.
        reason: why it cannot be read.
    """

    file: str
    pixels: npt.NDArray[np.uint8] | None
    label: int
    part: Part
    reason: str = ""


class Stream(Protocol):
    """A source that was opened: its images, in an order that is always the same."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty if the source has only numbers."""

    @property
    def total(self) -> int:
        """How many images ``samples`` yields."""

    def side(self, largest: int) -> int:
        """Side in pixels to decode at, if the user asked for none; ``largest`` at most."""

    def samples(self, size: int) -> Iterator[Sample]:
        """Decode every image to (size, size), holding only a few in memory at a time."""


class Source(Protocol):
    """A data set that was found but not opened."""

    @property
    def name(self) -> str:
        """What people call it."""

    def signature(self) -> str:
        """Hash of where it is and of all its files' names, sizes and times: cheap, nothing is decoded."""

    def open(self) -> Stream:
        """Do what takes time: download, read headers and labels."""


def check_classes(where: str, classes: Sequence[str], labels: npt.NDArray[np.int64]) -> None:
    """Check that there are two classes or more, and an image of each.

    Raises:
        UserError: naming the class that has none.
    """
    if len(classes) < 2:
        found = "one class" if classes else "no classes"
        raise UserError(f"{where} has {found}: a classifier needs at least 2")
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if not counts.all():
        raise UserError(f"{where} has no image of class '{classes[int(np.argmin(counts))]}'")


def automatic_side(shorter_sides: Sequence[int], largest: int) -> int:
    """Choose a side for images of these shorter sides: their median, but ``largest`` at most."""
    median = int(np.median(shorter_sides)) if shorter_sides else largest
    return max(SMALLEST_SIDE, min(median, largest))


def spread(total: int) -> npt.NDArray[np.int64]:
    """Return at most 200 indices spread evenly over ``total`` images, to look at instead of all."""
    return np.unique(np.linspace(0, total - 1, min(total, HEADERS)).astype(np.int64))
