"""What a data set is like, found in one pass over its images that keeps some 250 bytes of each."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import SMALL_SIDE, Indices, Progress
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.form import Form
from augsearch.trainers.data.near_duplicates import LOOKED_AT, Looks, looks_at
from augsearch.trainers.data.no_data import Gaps
from augsearch.trainers.data.sources.base import OpenedSource, Sample, find_source
from augsearch.trainers.data.survey import as_its_pixels_want
from augsearch.trainers.system.hashing import content_key
from augsearch.trainers.system.names import printable
from augsearch.trainers.system.threads import in_order, portions


@dataclass(frozen=True, eq=False)
class Inspected:
    """All images of a data set that can be read, as they came."""

    name: str
    classes: tuple[str, ...]
    side: int
    """In pixels, at which they were looked at: as a run decodes them that is not told a side."""
    files: tuple[str, ...]
    labels: Indices
    given: NDArray[np.int8]
    """(N,), codes of ``Split``."""
    copies: Indices
    """(N,): a number for each image, one for exactly the same pixels once decoded."""
    looks: Looks
    groups: tuple[str, ...] | None
    """The group of each image as the data says it; None: it says none."""
    sizes: Counter[tuple[int, int]]
    """Widths and heights in pixels, as they lie on disk."""
    modes: Counter[str]
    """Channels and depth in words, and how many images have them."""
    bad: tuple[tuple[str, str], ...]
    """Path of, and what is wrong with, each image that can't be read."""
    notes: tuple[str, ...]
    """What is to be said of how the data set was understood and read, a line each."""
    opened: OpenedSource
    places: Indices
    """(N,): where each image is among all that it yields, the bad ones too."""

    def shown(self, rows: Sequence[int], size: int) -> dict[int, NDArray[np.uint8]]:
        """Some of the images, (size, size, 1 or 3), by their number.

        Of a source that can't pick some, all are read once more.
        """
        source: Any = self.opened
        wanted = sorted(rows, key=lambda row: int(self.places[row]))
        picks = hasattr(source, "picked")
        some = source.picked(self.places[wanted]) if picks else source
        rows_at = dict(enumerate(wanted)) if picks else {int(self.places[row]): row for row in wanted}
        with pillow_without_warnings():
            return {
                rows_at[place]: sample.pixels
                for place, sample in enumerate(some.samples(size))
                if place in rows_at and sample.pixels is not None
            }


def inspect(source: str | None, form: Form, progress: Progress | None = None) -> Inspected:
    """Look at every image of ``source`` once, as a run would decode it; nothing is written.

    Raises:
        UserError: the source is missing, or is laid out in a way that is not understood.
    """
    found = find_source(source, form)
    opened, form, notes = as_its_pixels_want(found.open(), form)
    about = getattr(found, "notes", None)
    side = opened.side(SMALL_SIDE)
    gathered = _Gathered()
    with pillow_without_warnings():
        for samples, looks in _looked_at(opened, side):
            gathered.add(samples, looks)
            if progress is not None:
                progress(len(gathered.files) + len(gathered.bad), opened.total)
    if not gathered.files:
        file, reason = gathered.bad[0]
        raise UserError(
            f"{found.name}: none of its {len(gathered.bad):,} images can be read, the first is "
            f"{printable(file)} ({reason})"
        )
    notes = (*(about() if about is not None else ()), *notes, *gathered.gaps.in_words(form.reading))
    return gathered.whole(found.name, opened, side, notes)


def _looked_at(opened: OpenedSource, side: int) -> Iterator[tuple[Sequence[Sample], Looks]]:
    """Some images at a time, and what those of them look like that can be read."""

    def look(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Looks]:
        return samples, looks_at([one.pixels for one in samples if one.pixels is not None])

    return in_order(look, portions(opened.samples(side), LOOKED_AT))


class _Gathered:
    """What is kept of the images so far."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.bad: list[tuple[str, str]] = []
        self._places = array("q")
        self._labels = array("q")
        self._given = array("b")
        self._groups: list[str] = []
        self._hashes = array("Q")
        self._thumbs = bytearray()
        self._copies = array("q")
        self._numbers: dict[bytes, int] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._modes: Counter[str] = Counter()
        self.gaps = Gaps()

    def add(self, samples: Sequence[Sample], looks: Looks) -> None:
        self._hashes.extend(looks.hashes.tolist())
        self._thumbs += looks.thumbs.tobytes()
        for sample in samples:
            self._add(sample)

    def _add(self, sample: Sample) -> None:
        if sample.pixels is None:
            self.bad.append((sample.file, sample.reason))
            return
        self._places.append(len(self.files) + len(self.bad))
        self.files.append(sample.file)
        self._labels.append(sample.label)
        self._given.append(int(sample.split))
        self._groups.append(sample.group)
        pixels = sample.pixels
        key = content_key(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
        self._copies.append(self._numbers.setdefault(key, len(self._numbers)))
        if sample.header is not None:
            self._sizes[sample.header.width, sample.header.height] += 1
            self._modes[sample.header.mode] += 1
            self.gaps.add(sample.header.missing)

    def whole(self, name: str, opened: OpenedSource, side: int, notes: tuple[str, ...]) -> Inspected:
        labels = np.array(self._labels, np.int64)
        numbers = range(int(labels.max(initial=-1)) + 1)
        named = len(opened.classes) >= len(numbers)
        thumbs = np.frombuffer(bytes(self._thumbs), np.uint8).reshape(len(labels), -1)
        return Inspected(
            name=name,
            classes=opened.classes if named else tuple(str(number) for number in numbers),
            side=side,
            files=tuple(self.files),
            labels=labels,
            given=np.array(self._given, np.int8),
            copies=np.array(self._copies, np.int64),
            looks=Looks(np.array(self._hashes, np.uint64), thumbs),
            groups=tuple(self._groups) if any(self._groups) else None,
            sizes=self._sizes,
            modes=self._modes,
            bad=tuple(self.bad),
            notes=notes,
            opened=opened,
            places=np.array(self._places, np.int64),
        )
