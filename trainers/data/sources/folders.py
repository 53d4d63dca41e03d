"""A folder of images: which of its subfolders are classes, and which are splits."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import Indices, Split
from augsearch.trainers.data.decode import SUFFIXES, BadImageError, decode_file, shorter_side
from augsearch.trainers.data.sources.base import Sample, SourceKind, automatic_side, spread
from augsearch.trainers.system.hashing import cache_key, hex_hash, stamp
from augsearch.trainers.system.threads import in_order

SPLIT_FOLDERS = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
    "unlabeled": Split.UNLABELED,
    "unlabelled": Split.UNLABELED,
}
"""Names, in small letters, of the subfolders that are splits and not classes."""


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    label: int
    split: Split


@dataclass(frozen=True)
class FolderSource:
    """A folder of images that was found but not listed."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name or self.folder.resolve().name

    @cached_property
    def _opened(self) -> OpenedFolder:
        return read_folder(self.folder)

    def signature(self) -> str:
        """Hash of the folder's path and of all its images' paths, sizes and times.

        Raises:
            UserError: see ``read_folder``.
        """
        listed = self._opened
        stamps = [(entry.file, *stamp(listed.root / entry.file)) for entry in listed.entries]
        return cache_key(["folder", str(listed.root), listed.classes, stamps])

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
    entries: tuple[_Entry, ...]

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.entries)

    def side(self, largest: int) -> int:
        """Choose the side from at most 200 headers."""
        sides = []
        for index in spread(self.total):
            try:
                sides.append(shorter_side(self.root / self.entries[index].file))
            except BadImageError:
                continue
        return automatic_side(sides, largest)

    def samples(self, size: int) -> Iterator[Sample]:
        """Decode every image, in the order of their paths, split after split."""

        def sample(entry: _Entry) -> Sample:
            try:
                pixels = decode_file(self.root / entry.file, size)
            except BadImageError as error:
                return Sample(entry.file, None, entry.label, entry.split, str(error))
            return Sample(entry.file, pixels, entry.label, entry.split)

        return in_order(sample, self.entries)


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
        for file, child in _found(root, ""):
            files.append(file.removeprefix("/"))
            size, time = _stamp(child)
            sizes.append(size)
            times.append(time)
    except OSError as error:
        raise UserError(f"cannot list {error.filename}: {error.strerror}") from error
    order = sorted(range(len(files)), key=files.__getitem__)
    return Listing(
        root,
        [files[index] for index in order],
        np.array(sizes, np.int64)[order],
        np.array(times, np.int64)[order],
    )


def find_unlabeled_folder(path: Path) -> Path | None:
    """The folder of unlabeled images that lies beside ``train/`` or the class folders in ``path``, or None.

    Raises:
        UserError: there are two.
    """
    found = [child for child in _subfolders(path) if SPLIT_FOLDERS.get(child.name.lower()) == Split.UNLABELED]
    if len(found) > 1:
        raise UserError(f"{path} has both {found[0].name}/ and {found[1].name}/: keep one of them")
    return found[0] if found else None


def read_folder(path: Path) -> OpenedFolder:
    """List the labeled images below a folder; nothing is opened.

    Images in ``unlabeled/`` are not among them, for there may be a million: ``find_unlabeled_folder``.

    Raises:
        UserError: it holds no class folders, fewer than two, an empty one, or splits that do not fit.
    """
    try:
        return _listed(path, path.resolve())
    except OSError as error:
        raise UserError(f"cannot list {error.filename}: {error.strerror}") from error


def _listed(path: Path, root: Path) -> OpenedFolder:
    children = {child.name: child for child in _subfolders(root)}
    splits, others = _tell_apart(path, children)
    trained_on = splits.pop(Split.TRAIN, None)
    splits.pop(Split.UNLABELED, None)

    if trained_on is None:
        classes = _classes(path, others)
        entries = _labeled(root, others, classes, Split.ANY)
    else:
        folders = _subfolders(trained_on)
        classes = _classes(trained_on, folders)
        entries = _labeled(root, folders, classes, Split.TRAIN)
    for split, folder in sorted(splits.items()):
        entries += _labeled(root, _subfolders(folder), classes, split, folder)
    return OpenedFolder(root, classes, tuple(entries))


def images_below(folder: Path) -> list[Path]:
    """The images anywhere below ``folder``, by path; hidden files and macOS's leftovers don't count."""
    return [folder / file.removeprefix("/") for file in sorted(_walk(folder, ""))]


def _tell_apart(path: Path, children: dict[str, Path]) -> tuple[dict[Split, Path], list[Path]]:
    """Divide subfolders into splits and others, the classes where no split is for training."""
    splits: dict[Split, Path] = {}
    for name, folder in children.items():
        split = SPLIT_FOLDERS.get(name.lower())
        if split in splits:
            raise UserError(f"{path} has both {splits[split].name}/ and {name}/: keep one of them")
        if split is not None:
            splits[split] = folder
    others = [folder for folder in children.values() if folder not in splits.values()]

    labeled = set(splits) - {Split.UNLABELED}
    filled = [folder for folder in others if next(_walk(folder, ""), None) is not None]
    if labeled == {Split.TRAIN} and filled and _own_images(splits[Split.TRAIN]):
        # Pictures of railways: train/ lies among other classes and has pictures of its own.
        others = [folder for folder in children.values() if folder != splits.get(Split.UNLABELED)]
        del splits[Split.TRAIN]
        return splits, others
    if labeled and filled:
        raise UserError(
            f"{path} has {splits[min(labeled)].name}/ beside {filled[0].name}/, which is none of train, val, "
            "test and unlabeled: move one of them elsewhere"
        )
    if labeled and Split.TRAIN not in labeled:
        raise UserError(
            f"{path} has {splits[min(labeled)].name}/ but no train/: add it, or move the other out"
        )
    return splits, others


def _classes(path: Path, folders: list[Path]) -> tuple[str, ...]:
    """The names of class folders."""
    if not folders:
        loose = "images directly inside it, but" if _own_images(path) else "no images and"
        raise UserError(f"{path} has {loose} no class folders: make a folder for each class inside it")
    if len(folders) == 1 and len(_subfolders(folders[0])) > 1:
        raise UserError(
            f"{path} has one folder inside, {folders[0].name}: did you mean {path / folders[0].name}?"
        )
    if len(folders) == 1:
        raise UserError(f"{path} has one class, '{folders[0].name}': a classifier needs at least 2")
    return tuple(folder.name for folder in folders)


def _labeled(
    root: Path, folders: list[Path], classes: tuple[str, ...], split: Split, inside: Path | None = None
) -> list[_Entry]:
    """List the images of class folders."""
    if not folders:
        raise UserError(f"{inside} has no class folders: make a folder for each class inside it")
    entries = []
    for folder in folders:
        if folder.name not in classes:
            raise UserError(f"{folder} is a class that train/ does not have: rename it, or add it to train/")
        files = _images(root, folder)
        if not files:
            raise UserError(f"the class folder {folder} has no images: add some, or remove it")
        label = classes.index(folder.name)
        entries += [_Entry(file, label, split) for file in files]
    return entries


def _subfolders(path: Path) -> list[Path]:
    """The folders directly inside ``path``, by name, without hidden ones and macOS's leftovers."""
    with os.scandir(path) as children:
        return [path / child.name for child in sorted(children, key=lambda c: c.name) if _is_folder(child)]


def _own_images(path: Path) -> bool:
    """Whether images lie directly inside ``path``."""
    with os.scandir(path) as children:
        return any(_is_image(child) for child in children)


def _images(root: Path, folder: Path) -> list[str]:
    """The images anywhere below ``folder``, as sorted paths relative to ``root``."""
    return sorted(_walk(folder, folder.relative_to(root).as_posix()))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the images below ``folder``, as paths after ``prefix``."""
    return (file for file, _ in _found(folder, prefix))


def _found(
    folder: Path, prefix: str, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the images below ``folder``, following links, but none that leads back to where it came from."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as children:
        for child in children:
            if _is_folder(child):
                yield from _found(folder / child.name, f"{prefix}/{child.name}", above | {here})
            elif _is_image(child):
                yield f"{prefix}/{child.name}", child


def _stamp(child: os.DirEntry[str]) -> tuple[int, int]:
    """What ``hashing.stamp`` says, of a file that was just listed."""
    try:
        status = child.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _is_folder(child: os.DirEntry[str]) -> bool:
    return child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"


def _is_image(child: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(child.name)[1].lower()  # noqa: PTH122 (a Path for each of a million files is slow)
    return suffix in SUFFIXES and not child.name.startswith(".") and not child.is_dir()


def find(source: str | None) -> FolderSource | None:
    """The folder at the path ``source``, if it is one."""
    path = None if source is None else Path(source).expanduser()
    return FolderSource(path) if path is not None and path.is_dir() else None


KIND = SourceKind(order=20, given_as="a folder of class folders", find=find)
