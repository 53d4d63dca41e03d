"""A folder of images: which of its subfolders are classes, and which are parts."""

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import Part
from augsearch.trainers.data.decode import SUFFIXES, BadImageError, decode_file, shorter_side
from augsearch.trainers.data.sources.base import Sample, automatic_side, spread
from augsearch.trainers.system.hashing import hashed, stamp
from augsearch.trainers.system.threads import in_order

PART_FOLDERS = {
    "train": Part.TRAIN,
    "training": Part.TRAIN,
    "val": Part.VALIDATION,
    "valid": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "test": Part.TEST,
    "testing": Part.TEST,
    "unlabeled": Part.UNLABELED,
    "unlabelled": Part.UNLABELED,
}
"""Names, in small letters, of the subfolders that are parts and not classes."""


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    label: int
    part: Part


@dataclass(frozen=True)
class FolderSource:
    """The images below a folder; both the source and, as there is nothing to open, its stream."""

    name: str
    root: Path
    classes: tuple[str, ...]
    entries: tuple[_Entry, ...]

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.entries)

    def signature(self) -> str:
        """Hash of the folder's path and of all its images' paths, sizes and times."""
        stamps = [(entry.file, *stamp(self.root / entry.file)) for entry in self.entries]
        return hashed(["folder", str(self.root), self.classes, stamps])

    def open(self) -> "FolderSource":
        """Return itself."""
        return self

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
        """Decode every image, in the order of their paths, part after part."""

        def sample(entry: _Entry) -> Sample:
            try:
                pixels = decode_file(self.root / entry.file, size)
            except BadImageError as error:
                return Sample(entry.file, None, entry.label, entry.part, str(error))
            return Sample(entry.file, pixels, entry.label, entry.part)

        return in_order(sample, self.entries)


@dataclass(frozen=True, eq=False)
class Listing:
    """The images anywhere below a folder, as the file system knows them; a million are some 200 MB.

    Attributes:
        root: the folder.
        files: paths inside it, sorted.
        sizes: int64, (N,), bytes; -1 for a broken link.
        times: int64, (N,), of the last change, in nanoseconds; -1 for a broken link.
    """

    root: Path
    files: Sequence[str]
    sizes: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: npt.NDArray[np.int64]) -> "Listing":
        """The files of ``rows`` alone."""
        return Listing(self.root, [self.files[row] for row in rows], self.sizes[rows], self.times[rows])

    def signature(self) -> str:
        """Hash of the folder's path and of all names, sizes and times; another one if a file changes."""
        stamps = np.stack([self.sizes, self.times]).astype("<i8").tobytes()
        names = "\0".join([str(self.root), *self.files]).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(stamps + names, digest_size=16).hexdigest()


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
    found = [child for child in _subfolders(path) if PART_FOLDERS.get(child.name.lower()) == Part.UNLABELED]
    if len(found) > 1:
        raise UserError(f"{path} has both {found[0].name}/ and {found[1].name}/: keep one of them")
    return found[0] if found else None


def read_folder(path: Path) -> FolderSource:
    """List the labeled images below a folder; nothing is opened.

    Images in ``unlabeled/`` are not among them, for there may be a million: ``find_unlabeled_folder``.

    Raises:
        UserError: it holds no class folders, fewer than two, an empty one, or parts that do not fit together.
    """
    try:
        return _listed(path, path.resolve())
    except OSError as error:
        raise UserError(f"cannot list {error.filename}: {error.strerror}") from error


def _listed(path: Path, root: Path) -> FolderSource:
    children = {child.name: child for child in _subfolders(root)}
    parts, others = _tell_apart(path, children)
    trained_on = parts.pop(Part.TRAIN, None)
    parts.pop(Part.UNLABELED, None)

    if trained_on is None:
        classes = _classes(path, others)
        entries = _labeled(root, others, classes, Part.ANY)
    else:
        folders = _subfolders(trained_on)
        classes = _classes(trained_on, folders)
        entries = _labeled(root, folders, classes, Part.TRAIN)
    for part, folder in sorted(parts.items()):
        entries += _labeled(root, _subfolders(folder), classes, part, folder)
    return FolderSource(path.name or root.name, root, classes, tuple(entries))


def images_below(folder: Path) -> list[Path]:
    """The images anywhere below ``folder``, by path; hidden files and macOS's leftovers don't count."""
    return [folder / file.removeprefix("/") for file in sorted(_walk(folder, ""))]


def _tell_apart(path: Path, children: dict[str, Path]) -> tuple[dict[Part, Path], list[Path]]:
    """Divide subfolders into parts and others, the classes where no part is for training."""
    parts: dict[Part, Path] = {}
    for name, folder in children.items():
        part = PART_FOLDERS.get(name.lower())
        if part in parts:
            raise UserError(f"{path} has both {parts[part].name}/ and {name}/: keep one of them")
        if part is not None:
            parts[part] = folder
    others = [folder for folder in children.values() if folder not in parts.values()]

    labeled = set(parts) - {Part.UNLABELED}
    filled = [folder for folder in others if next(_walk(folder, ""), None) is not None]
    if labeled == {Part.TRAIN} and filled and _own_images(parts[Part.TRAIN]):
        # Pictures of railways: train/ lies among other classes and has pictures of its own.
        others = [folder for folder in children.values() if folder != parts.get(Part.UNLABELED)]
        del parts[Part.TRAIN]
        return parts, others
    if labeled and filled:
        raise UserError(
            f"{path} has {parts[min(labeled)].name}/ beside {filled[0].name}/, which is none of train, val, "
            "test and unlabeled: move one of them elsewhere"
        )
    if labeled and Part.TRAIN not in labeled:
        raise UserError(
            f"{path} has {parts[min(labeled)].name}/ but no train/: add it, or move the other out"
        )
    return parts, others


def _classes(path: Path, folders: list[Path]) -> tuple[str, ...]:
    """Return the names of class folders."""
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
    root: Path, folders: list[Path], classes: tuple[str, ...], part: Part, inside: Path | None = None
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
        entries += [_Entry(file, label, part) for file in files]
    return entries


def _subfolders(path: Path) -> list[Path]:
    """Return the folders directly inside ``path``, by name, without hidden ones and macOS's leftovers."""
    with os.scandir(path) as children:
        return [path / child.name for child in sorted(children, key=lambda c: c.name) if _is_folder(child)]


def _own_images(path: Path) -> bool:
    """Tell whether images lie directly inside ``path``."""
    with os.scandir(path) as children:
        return any(_is_image(child) for child in children)


def _images(root: Path, folder: Path) -> list[str]:
    """Return the images anywhere below ``folder``, as sorted paths relative to ``root``."""
    return sorted(_walk(folder, folder.relative_to(root).as_posix()))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the images below ``folder``, as paths after ``prefix``."""
    return (file for file, _ in _found(folder, prefix))


def _found(
    folder: Path, prefix: str, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
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


def _stamp(child: "os.DirEntry[str]") -> tuple[int, int]:
    """As ``sources.stamp``, of a file that was just listed."""
    try:
        status = child.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _is_folder(child: "os.DirEntry[str]") -> bool:
    return child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"


def _is_image(child: "os.DirEntry[str]") -> bool:
    suffix = os.path.splitext(child.name)[1].lower()  # noqa: PTH122 (a Path for each of a million files is slow)
    return suffix in SUFFIXES and not child.name.startswith(".") and not child.is_dir()
