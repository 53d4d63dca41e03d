"""A folder of images."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.errors import ASK_OWNER, lacks_right
from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.data.decode import BadImageError, decode_whole, pillow_without_warnings, shorter_side
from augsearch.trainers.data.form import AS_USUAL, PLAIN, Form, Reading
from augsearch.trainers.data.looks import Look, look_at
from augsearch.trainers.data.sources.base import Sample, SourceKind, automatic_side, refuse_layout, spread
from augsearch.trainers.data.sources.folder_layout import Entry, find_unlabeled_folder, found_in
from augsearch.trainers.data.sources.told_apart import is_saved, shards_in
from augsearch.trainers.data.walk import walk
from augsearch.trainers.system.hashing import cache_key, hex_hash, stamp
from augsearch.trainers.system.names import printable
from augsearch.trainers.system.processes import in_order_by_processes, may_start_processes
from augsearch.trainers.system.threads import in_order, portions

MANY = 20_000
"""From so many images on they are decoded by processes: what Pillow does to a small one is mostly Python, of
which threads run one at a time. Fewer are decoded before processes have started."""
MOST_AT_A_TIME = 16
"""Images that a thread decodes at a time: to hand over one costs as much as to decode a small one."""
MOST_TO_A_PROCESS = 64
"""To hand over to a process costs more."""
BYTES_AT_A_TIME = 2**18
"""That they have together, decoded."""


@dataclass(frozen=True)
class FolderSource:
    """A folder of images that was found but not listed."""

    folder: Path
    form: Form = PLAIN

    @property
    def name(self) -> str:
        """The folder's own name."""
        return printable(self.folder.name or self.folder.resolve().name)

    @cached_property
    def _opened(self) -> OpenedFolder:
        return read_folder(self.folder, self.form)

    def signature(self) -> str:
        """Hash of the folder's path and of all its images' paths, sizes and times.

        Raises:
            UserError: see ``read_folder``.
        """
        listed = self._opened
        root = str(listed.root)
        stamps = [(entry.file, *stamp(f"{root}/{entry.file}")) for entry in listed.entries]
        return cache_key(["folder", root, listed.classes, stamps])

    def formed(self, form: Form) -> FolderSource:
        """The same folder in another form.

        Raises:
            UserError: that is one of tables.
        """
        refuse_layout(self.name, form.layout.model_copy(update={"classes": "top"}), "a folder")
        return replace(self, form=form)

    def notes(self) -> tuple[str, ...]:
        """What is to be said of what lies in it, a line each."""
        return self._opened.notes

    def open(self) -> OpenedFolder:
        """List the images.

        Raises:
            UserError: see ``read_folder``.
        """
        return self._opened

    def size(self) -> None:
        """Each file has its own."""

    def unlabeled_folder(self) -> Path | None:
        """The folder ``unlabeled/`` in it."""
        return find_unlabeled_folder(self.folder)

    def unlabeled_truth(self, files: Sequence[str]) -> None:
        """All samples have labels."""


@dataclass(frozen=True)
class OpenedFolder:
    """The labeled images below a folder."""

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    """What is to be said of the folder, a line each."""
    reading: Reading = AS_USUAL
    contents: Callable[[str], bytes] | None = None
    """Reads the bytes of one by its path, of those in an archive; None: they are files below ``root``."""

    def content(self, entry: Entry) -> Path | bytes:
        """What is to be decoded.

        Raises:
            BadImageError: it can't be read.
        """
        return self.root / entry.file if self.contents is None else self.contents(entry.file)

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.entries)

    def side(self, largest: int) -> int:
        """Choose the side from at most 200 headers."""
        sides = []
        for index in spread(self.total):
            try:
                sides.append(shorter_side(self.content(self.entries[index]), self.reading))
            except BadImageError:
                continue
        return automatic_side(sides, largest)

    def read_as(self, reading: Reading) -> OpenedFolder:
        """The same, read in another way."""
        return replace(self, reading=reading)

    def looks(self) -> Iterator[tuple[str, Look]]:
        """Look at 200 images at most."""
        for index in spread(self.total):
            with suppress(BadImageError):
                yield self.entries[index].file, look_at(self.content(self.entries[index]), self.reading)

    def samples(self, size: int) -> Iterator[Sample]:
        """Decode every image, in the order of their paths, split after split."""
        most = max(1, BYTES_AT_A_TIME // (3 * size * size))
        if self.total >= MANY and self.contents is None and may_start_processes():
            decode = partial(_decoded_apart, replace(self, classes=(), entries=(), notes=()), size)
            some = portions(self.entries, min(MOST_TO_A_PROCESS, most))
            return chain.from_iterable(in_order_by_processes(decode, some))
        some = portions(self.entries, min(MOST_AT_A_TIME, most))
        return chain.from_iterable(in_order(partial(_decoded, self, size), some))

    def picked(self, rows: Indices) -> OpenedFolder:
        """Some of the images alone, in this order."""
        return replace(self, entries=tuple(self.entries[row] for row in rows))


def _decoded(folder: OpenedFolder, size: int, entries: Sequence[Entry]) -> list[Sample]:
    """Some images of ``folder``."""

    def sample(entry: Entry) -> Sample:
        bare = Sample(entry.file, None, entry.label, entry.split, group=entry.group, weight=entry.weight)
        try:
            pixels, header = decode_whole(folder.content(entry), size, folder.reading)
        except BadImageError as error:
            return replace(bare, reason=str(error))
        return replace(bare, pixels=pixels, header=header)

    return [sample(entry) for entry in entries]


def _decoded_apart(folder: OpenedFolder, size: int, entries: Sequence[Entry]) -> list[Sample]:
    """The same in another process, whose warnings are its own."""
    with pillow_without_warnings():
        return _decoded(folder, size, entries)


@dataclass(frozen=True, eq=False)
class Listing:
    """The images anywhere below a folder, as the file system knows them; a million are some 200 MB."""

    root: Path
    """The folder."""
    files: Sequence[str]
    """Paths inside it, sorted."""
    sizes: NDArray[np.int64]
    """(N,), bytes; -1 for a broken link."""
    times: NDArray[np.int64]
    """(N,), of the last change, in nanoseconds; -1 for a broken link."""

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: Indices) -> Listing:
        """The files of ``rows`` alone."""
        return Listing(self.root, [self.files[row] for row in rows], self.sizes[rows], self.times[rows])

    def signature(self) -> str:
        """Hash of the folder's path and of all names, sizes and times; another one if a file changes."""
        stamps = np.stack([self.sizes, self.times]).astype("<i8").tobytes()
        names = "\0".join([str(self.root), *self.files]).encode("utf-8", "surrogateescape")
        return hex_hash(stamps, names)


def list_images(folder: Path) -> Listing:
    """List the images anywhere below ``folder``, with sizes and times; nothing is opened.

    Raises:
        UserError: a folder cannot be listed.
    """
    root = folder.resolve()
    files: list[str] = []
    sizes, times = array("q"), array("q")
    try:
        for file, child in walk(root, ""):
            files.append(file.removeprefix("/"))
            size, time = _stamp(child)
            sizes.append(size)
            times.append(time)
    except OSError as error:
        raise _unlisted(error) from error
    order = sorted(range(len(files)), key=files.__getitem__)
    return Listing(
        root,
        [files[index] for index in order],
        np.array(sizes, np.int64)[order],
        np.array(times, np.int64)[order],
    )


def _unlisted(error: OSError) -> UserError:
    said = f"cannot list {error.filename}: {error.strerror}"
    return UserError(f"{said}; {ASK_OWNER}" if lacks_right(error) else said)


def read_folder(path: Path, form: Form = PLAIN) -> OpenedFolder:
    """List the labeled images below a folder; nothing is opened.

    Images in ``unlabeled/`` are not among them, for there may be a million: ``find_unlabeled_folder``.

    Raises:
        UserError: it holds no class folders, fewer than two, an empty one, or splits that do not fit.
    """
    root = path.resolve()
    try:
        found = found_in(path, root, by_leaf=form.layout.classes == "leaf")
    except OSError as error:
        raise _unlisted(error) from error
    return OpenedFolder(root, found.classes, found.entries, found.notes, form.reading)


def images_below(folder: Path) -> list[Path]:
    """The images anywhere below ``folder``, by path; hidden files and macOS's leftovers don't count."""
    return [folder / file.removeprefix("/") for file in sorted(file for file, _ in walk(folder, ""))]


def _stamp(child: os.DirEntry[str]) -> tuple[int, int]:
    """What ``hashing.stamp`` says, of a file that was just listed."""
    try:
        status = child.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def find(source: str | None) -> FolderSource | None:
    """The folder at the path ``source``, if it is one, and none of shards or of a data set's tables."""
    path = None if source is None else Path(source).expanduser()
    if path is None or not path.is_dir() or is_saved(path) or shards_in(path):
        return None
    return FolderSource(path)


KIND = SourceKind(order=20, given_as="a folder of class folders", find=find)
