"""What the folders of a folder of images mean: parts, classes, wrappers, what lies about."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from augsearch.policies import UserError
from augsearch.policies.errors import each, some
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.form import is_manifest
from augsearch.trainers.data.part_names import part_named, plain_part
from augsearch.trainers.data.walk import PassedOver, is_folder, is_image, note, own_images, subfolders, walk
from augsearch.trainers.system.names import printable

MOST_WRAPPERS = 2
"""Folders round a data set that are looked through: an archive's, and one of the same name inside it."""

MOST_OF_A_TABLE = 2**16
"""Bytes of a table in which names of files are looked for."""

LABELED = (Split.TRAIN, Split.VALIDATION, Split.TEST)


@dataclass(frozen=True, slots=True)
class Entry:
    """An image file of a class."""

    file: str
    """Its path in the folder."""
    label: int
    split: Split
    group: str = ""
    """Images of the same one belong together; empty: it stands alone."""
    weight: float | None = None
    """How much it counts in the loss of a training; None: as much as any."""


@dataclass(frozen=True)
class Found:
    """The labeled images below a folder, and what is to be said of it."""

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    file: str
    """Its path in the folder."""
    place: str
    """The folder it lies in, from its part on: ``cats/2020``."""
    split: Split

    @property
    def top(self) -> str:
        return self.place.partition("/")[0]


def found_in(path: Path, root: Path, *, by_leaf: bool = False) -> Found:
    """List the images of the folder ``path``, which ``root`` is without links.

    ``by_leaf``: the classes are the folders that images lie in, and not the first ones.

    Raises:
        UserError: it holds no class folders, fewer than two, an empty one, or parts that do not fit.
    """
    passed = PassedOver()
    inner = unwrapped(root)
    inside = path / inner.relative_to(root)
    for place in dict.fromkeys((root, inner)):
        _note_loose(place, passed)
    splits, others = _tell_apart(inside, {child.name: child for child in subfolders(inner)})
    splits.pop(Split.UNLABELED, None)
    trained_on = splits.pop(Split.TRAIN, None)
    first = Split.TRAIN
    if trained_on is not None:
        folders = subfolders(trained_on) if by_leaf else _class_folders(trained_on)
        files = _files_of(root, folders, Split.TRAIN, passed)
        known = {one.top for one in files}
        for split, folder in sorted(splits.items()):
            folders = subfolders(folder) if by_leaf else _class_folders(folder, known)
            files += _files_of(root, folders, split, passed)
    else:
        if not by_leaf or not others:
            _check_classes(inside, others)
        files = _parts_in_classes(root, others, passed)
        if not files:
            first = Split.ANY
            files = _files_of(root, others, Split.ANY, passed)
    numbers, classes = _numbered(files, first, by_leaf=by_leaf)
    entries = tuple(Entry(one.file, numbers[one.place if by_leaf else one.top], one.split) for one in files)
    notes = [f"the images are taken from {printable(str(inside))}"] if inner != root else []
    if not by_leaf:
        notes += _hierarchy(files, first)
    return Found(classes, entries, (*notes, *passed.in_words(root)))


def unwrapped(folder: Path, known: frozenset[str] | set[str] = frozenset()) -> Path:
    """``folder``, or the only folder in it where that is no part and none of the ``known`` classes."""
    for _ in range(MOST_WRAPPERS):
        inside = subfolders(folder)
        if len(inside) != 1 or own_images(folder) or inside[0].name in known:
            break
        if part_named(inside[0].name) is not None and part_named(folder.name) is None:
            break
        if len(subfolders(inside[0])) < 2:
            break
        folder = inside[0]
    return folder


def _note_loose(root: Path, passed: PassedOver) -> None:
    """Count what lies in the folder itself."""
    with os.scandir(root) as children:
        for child in children:
            if not is_folder(child) and not is_image(child):
                note(child, passed)


def _tell_apart(path: Path, children: dict[str, Path]) -> tuple[dict[Split, Path], list[Path]]:
    """Divide subfolders into splits and others, the classes where no split is for training."""
    splits: dict[Split, Path] = {}
    for name, split in _parts_among(children).items():
        if split in splits:
            raise UserError(f"{path} has both {splits[split].name}/ and {name}/: keep one of them")
        splits[split] = children[name]
    others = [folder for folder in children.values() if folder not in splits.values()]

    labeled = set(splits) - {Split.UNLABELED}
    filled = [folder for folder in others if next(walk(folder, ""), None) is not None]
    if labeled == {Split.TRAIN} and filled and own_images(splits[Split.TRAIN]):
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


def _parts_among(children: dict[str, Path]) -> dict[str, Split]:
    """Which of these folders are parts, by name."""
    plain = {name: split for name in children if (split := plain_part(name)) is not None}
    perhaps = {
        name: split
        for name, folder in children.items()
        if name not in plain
        and (split := part_named(name)) is not None
        and (split is Split.UNLABELED or (subfolders(folder) and not own_images(folder)))
    }
    found = plain | perhaps
    return found if Split.TRAIN in found.values() else plain


def find_unlabeled_folder(path: Path) -> Path | None:
    """The folder of unlabeled images that lies beside ``train/`` or the class folders in ``path``, or None.

    Raises:
        UserError: there are two.
    """
    inner = unwrapped(path)
    parts = _parts_among({child.name: child for child in subfolders(inner)})
    found = [name for name, split in parts.items() if split is Split.UNLABELED]
    if len(found) > 1:
        raise UserError(f"{inner} has both {found[0]}/ and {found[1]}/: keep one of them")
    return inner / found[0] if found else None


def _class_folders(part: Path, known: set[str] | None = None) -> list[Path]:
    """The class folders of a part; ``known``: the classes of the one to train on, None: this is it.

    Raises:
        UserError: there are none, or one to train on, or one that is not known.
    """
    inner = unwrapped(part, known or frozenset())
    folders = subfolders(inner)
    if known is None:
        _check_classes(inner, folders)
    elif not folders:
        raise UserError(f"{inner} has no class folders: make a folder for each class inside it")
    for folder in folders:
        if known is not None and folder.name not in known:
            raise UserError(f"{folder} is a class that train/ does not have: rename it, or add it to train/")
    return folders


def _check_classes(path: Path, folders: list[Path]) -> None:
    """Check that there are two classes or more.

    Raises:
        UserError: there are fewer, with what to do.
    """
    if not folders:
        loose = "images directly inside it, but" if own_images(path) else "no images and"
        if (table := _table_about(path)) is not None:
            raise UserError(
                f"{path} has {loose} no class folders; {table} names its files: give {table} instead, "
                f"with --root {path} if its paths begin there"
            )
        raise UserError(f"{path} has {loose} no class folders: make a folder for each class inside it")
    if len(folders) == 1 and (table := _table_about(folders[0])) is not None:
        raise UserError(
            f"{path} has one class, '{folders[0].name}'; {table} names its files: give {table} instead, "
            f"with --root {folders[0]} if its paths begin there"
        )
    if len(folders) == 1:
        raise UserError(f"{path} has one class, '{folders[0].name}': a classifier needs at least 2")


def _table_about(folder: Path) -> Path | None:
    """A table in the folder or beside it that names images of the folder; None: there is none."""
    with os.scandir(folder) as children:
        images = [(os.path.splitext(child.name)[0], child.name) for child in children if is_image(child)]  # noqa: PTH122
    for place in (folder, folder.parent):
        for file in sorted(place.iterdir()):
            if images and is_manifest(file.name) and file.is_file():
                with file.open("rb") as table:
                    head = table.read(MOST_OF_A_TABLE)
                words = set(re.split(rb"[^\w.-]+", head))
                named = sum(os.fsencode(name) in words or os.fsencode(stem) in words for stem, name in images)
                if named >= min(3, len(images)):
                    return file
    return None


def _parts_in_classes(root: Path, folders: list[Path], passed: PassedOver) -> list[_File]:
    """The images of class folders that hold the parts, ``cats/train/`` and ``cats/test/``; none otherwise."""
    by_class = {
        folder: {inside: part_named(inside.name) for inside in subfolders(folder)} for folder in folders
    }
    for folder, parts in by_class.items():
        if Split.TRAIN not in parts.values() or not set(parts.values()) <= set(LABELED) or own_images(folder):
            return []
    files: list[_File] = []
    for split in LABELED:
        for folder, parts in by_class.items():
            for inside in (one for one, named in parts.items() if named is split):
                own = sorted(file for file, _ in walk(inside, inside.relative_to(root).as_posix(), passed))
                start = len(inside.relative_to(root).as_posix())
                files += [_File(file, folder.name + os.path.dirname(file)[start:], split) for file in own]  # noqa: PTH120
    return files


def _files_of(root: Path, folders: list[Path], split: Split, passed: PassedOver) -> list[_File]:
    """The images of class folders.

    Raises:
        UserError: a folder has none.
    """
    files: list[_File] = []
    for folder in folders:
        inside = folder.relative_to(root).as_posix()
        own = sorted(file for file, _ in walk(folder, inside, passed))
        if not own:
            raise UserError(_empty(folder))
        start = len(inside) - len(folder.name)
        files += [_File(file, os.path.dirname(file)[start:], split) for file in own]  # noqa: PTH120
    return files


def _empty(folder: Path) -> str:
    passed = PassedOver()
    next(walk(folder, "", passed), None)
    suffixes = ", ".join(printable(suffix) for suffix in passed.images)
    if suffixes:
        return (
            f"the class folder {folder} has images, but none with an image's suffix ({suffixes}): "
            "rename them, to .jpg or .png say"
        )
    return f"the class folder {folder} has no images: add some, or remove it"


def _numbered(files: list[_File], first: Split, *, by_leaf: bool) -> tuple[dict[str, int], tuple[str, ...]]:
    """The number of each class by its place, and the names of the classes.

    Raises:
        UserError: a class has no image to train on, or there is only one.
    """
    if not by_leaf:
        tops = list(dict.fromkeys(one.top for one in files if one.split is first))
        return {name: number for number, name in enumerate(tops)}, tuple(map(printable, tops))
    places = sorted({one.place for one in files if one.split is first})
    known = set(places)
    strangers = [one.place for one in files if one.place not in known]
    if strangers:
        raise UserError(
            f"{strangers[0]} is a class that train/ does not have: rename it, or add it to train/"
        )
    if len(places) < 2:
        one = f"one folder, '{places[0]}'" if places else "no folder"
        raise UserError(f"the images lie in {one}: a classifier needs at least 2 classes")
    last = Counter(place.rpartition("/")[2] for place in places)
    # What is called alike in two places, apartment/outdoor and bazaar/outdoor, keeps its whole path.
    names = [name if last[name := place.rpartition("/")[2]] == 1 else place for place in places]
    return {place: number for number, place in enumerate(places)}, tuple(map(printable, names))


def _hierarchy(files: list[_File], first: Split) -> list[str]:
    """What is said where the class folders have folders of their own."""
    places = sorted({one.place for one in files if one.split is first})
    tops = {place.partition("/")[0] for place in places}
    deeper = [place for place in places if "/" in place]
    if len(places) == len(tops) or 2 * len(deeper) <= len(places):
        return []
    said = (
        f"the {len(tops):,} classes are the first folders, whose images lie in {len(places):,} "
        f"({some([printable(one) for one in deeper], 3)}); --classes leaf makes a class of each of those"
    )
    inside = {
        top: {place.partition("/")[2] for place in places if place.startswith(f"{top}/")} for top in tops
    }
    if len(tops) <= len(LABELED) and len({frozenset(names) for names in inside.values()}) == 1:
        names = each([f"{printable(top)}/" for top in sorted(tops)])
        said += f"; or are {names} parts of one data set? Then call them train/, val/ or test/"
    return [said]
