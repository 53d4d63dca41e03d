"""What a source of images is, and which kinds there are.

To add one, put a file beside this one that declares ``KIND``: commands then take its data sets, and messages
name it. Which kind a name is for is asked at every opening, so such a file imports what is slow (torchvision)
inside functions.

A source may have three methods more: ``formed(form)``, the same in another form (``--fit``, ``--classes`` and
the like are refused without it), ``notes()``, lines to say of it, and what it opens may have ``looks()`` and
``read_as(reading)``, by which the range of 16-bit pixels and transparent ones are found, and
``picked(rows)``, some of its images alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.errors import check_readable
from augsearch.trainers.data.dataset import SMALLEST_SIDE, Indices, Split
from augsearch.trainers.data.form import AS_FOUND, PLAIN, Form, Layout
from augsearch.trainers.system.registry import declared_in

if TYPE_CHECKING:
    from augsearch.trainers.data.header import Header

MOST_LOOKED_AT = 200
"""Images that are looked at, instead of all, to choose a side."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source, decoded or not."""

    file: str
    """Where it lies inside the source."""
    pixels: NDArray[np.uint8] | None
    """(S, S, 1) if it is grey, else (S, S, 3), RGB; None if it can't be read."""
    label: int
    """The number of its class, or -1."""
    split: Split
    """What the source says that it is for."""
    reason: str = ""
    """Why it can't be read."""
    group: str = ""
    """Images of the same one belong together; empty: it stands alone."""
    header: Header | None = None
    """What it is as it lies on disk; None where that is not known."""
    weight: float | None = None
    """How much it counts in the loss of a training; None: as much as any."""


class OpenedSource(Protocol):
    """A data set that was opened: its images, in an order that is always the same."""

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

    @property
    def folder(self) -> Path | None:
        """Where its images are files, at the paths that samples name; None: its images are no files."""

    def signature(self) -> str:
        """Hash of where it is and of all its files' names, sizes and times: cheap, nothing is decoded."""

    def open(self) -> OpenedSource:
        """Do what takes time: download, read headers and labels."""

    def size(self) -> tuple[int, int] | None:
        """Width and height of all its images in pixels, if they are the same and that is quickly known."""

    def unlabeled_folder(self) -> Path | None:
        """Where more images lie, without labels, which are not among the samples; None: nowhere."""

    def unlabeled_truth(self, files: Sequence[str]) -> Indices | None:
        """The true classes of images without a label, kept apart from what is learned from; for reports.

        Args:
            files: names of samples.

        Returns:
            (len(files),), -1 where one has a label or its class is not known; None: none is known.

        Raises:
            UserError: they do not fit the images without a label, or the classes.
        """


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of data set: how people name one, and how it is found."""

    order: int
    """The kinds are asked from the lowest to the highest; the first that finds something has found it."""
    given_as: str
    """What a message tells people to give: ``an .npz file``; empty: nothing."""
    find: Callable[[str | None], Source | None]
    """The data set of that name, or None: no data set of this kind. Cheap, nothing is opened."""


def source_kinds() -> list[SourceKind]:
    """Every kind, in the order in which they are asked."""
    kinds = declared_in("augsearch.trainers.data.sources", "KIND", SourceKind)
    return sorted(kinds.values(), key=lambda kind: kind.order)


def find_source(source: str | None, form: Form = PLAIN) -> Source:
    """The data set that people call ``source``, in this form; see ``open_images``.

    Raises:
        UserError: it is missing, may not be read, is of no known kind, or can't have this form.
    """
    if source is not None:
        check_readable(Path(source).expanduser())
    kinds = source_kinds()
    for kind in kinds:
        found = kind.find(source)
        if found is not None:
            return _formed(found, form)
    *others, last = (kind.given_as for kind in kinds if kind.given_as)
    there = source is not None and Path(source).expanduser().exists()
    wrong = f"cannot tell what {source} is" if there else f"there is no file or folder {source}"
    raise UserError(f"{wrong}: give {', '.join(others)} or {last}")


def _formed(found: Source, form: Form) -> Source:
    """``found`` in this form, where it is one that can have forms."""
    if form == PLAIN:
        return found
    change = getattr(found, "formed", None)
    if change is None:
        raise UserError(f"{flags_of(form)} can't be used for {found.name}: leave {them(form)} out")
    changed: Source = change(form)
    return changed


def refuse_layout(where: str, layout: Layout, kind: str) -> None:
    """Refuse what ``layout`` asks of a data set that is ``kind``, ``an array`` say.

    Raises:
        UserError: it asks for something.
    """
    if layout != AS_FOUND:
        asked = Form(layout=layout)
        raise UserError(
            f"{where} is {kind}, for which {flags_of(asked)} means nothing: leave {them(asked)} out"
        )


def flags_of(form: Form) -> str:
    """The flags that ask for this form."""
    return " and ".join(f"--{name.replace('_', '-')}" for name in form.asked())


def them(form: Form) -> str:
    """How a sentence goes on that began with ``flags_of``."""
    return "it" if len(form.asked()) == 1 else "them"


def check_classes(where: str, classes: Sequence[str], labels: Indices) -> None:
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
    """The side for images of these shorter sides: their median, but ``largest`` at most."""
    median = int(np.median(shorter_sides)) if shorter_sides else largest
    return max(SMALLEST_SIDE, min(median, largest))


def spread(total: int) -> Indices:
    """At most 200 indices spread evenly over ``total`` images, to look at instead of all."""
    return np.unique(np.linspace(0, total - 1, min(total, MOST_LOOKED_AT)).astype(np.int64))
