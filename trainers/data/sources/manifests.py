"""A table that names images and their labels: CSV, TSV, JSON Lines, Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from augsearch.policies import UserError
from augsearch.policies.errors import some
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.form import PLAIN, Form, is_manifest
from augsearch.trainers.data.part_names import part_named
from augsearch.trainers.data.sources.base import SourceKind, refuse_layout
from augsearch.trainers.data.sources.folder_layout import Entry
from augsearch.trainers.data.sources.folders import OpenedFolder
from augsearch.trainers.data.sources.told_apart import holds_images
from augsearch.trainers.data.table import (
    GROUP_NAMES,
    IMAGE_NAMES,
    Columns,
    Numbers,
    Table,
    check_column,
    columns_of,
    numbered_labels,
    read_table,
    weights_in,
)
from augsearch.trainers.data.walk import subfolders
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.names import printable

SUFFIXES = ("", ".jpg", ".png", ".jpeg", ".tif", ".JPG")
"""What may have to be put after a table's names to have those of files."""

MOST_TRIED = 20
"""Rows whose files are looked for to tell which column names them, and from where."""


@dataclass(frozen=True)
class ManifestSource:
    """A table that was found but not read."""

    path: Path
    form: Form = PLAIN

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return printable(self.path.stem)

    def formed(self, form: Form) -> ManifestSource:
        """The same table in another form.

        Raises:
            UserError: that is one of folders.
        """
        if form.layout.classes == "leaf":
            refuse_layout(self.name, form.layout.model_copy(update=_NO_COLUMNS), "a table")
        return replace(self, form=form)

    @cached_property
    def _opened(self) -> OpenedFolder:
        return read_manifest(self.path, self.form)

    @property
    def folder(self) -> Path:
        """The folder that the paths begin at."""
        return self._opened.root

    def notes(self) -> tuple[str, ...]:
        """What its columns were taken for."""
        return self._opened.notes

    def signature(self) -> str:
        """Hash of the table's content as it was understood, and of all its images' sizes and times.

        Raises:
            UserError: see ``open``.
        """
        read = self._opened
        entries = [
            (one.file, one.label, one.split, one.group, *stamp(read.root / one.file), *_weight_of(one))
            for one in read.entries
        ]
        return cache_key(["manifest", str(read.root), read.classes, entries])

    def open(self) -> OpenedFolder:
        """Read the table.

        Raises:
            UserError: it can't be read, its columns can't be told apart, or it names no images.
        """
        return self._opened

    def size(self) -> None:
        """Each file has its own."""

    def unlabeled_folder(self) -> None:
        """Images without a label are rows without one."""

    def unlabeled_truth(self, files: Sequence[str]) -> None:
        """It is not known."""


_NO_COLUMNS = dict.fromkeys(
    ("root", "image_column", "label_column", "split_column", "group_column", "weight_column")
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a table's images are."""

    found: int
    """How many of the files that were looked for are there."""
    column: str
    root: Path
    suffix: str


def read_manifest(path: Path, form: Form) -> OpenedFolder:
    """Read a table, and find the images that it names; none is opened.

    Raises:
        UserError: see ``ManifestSource.open``.
    """
    (table, numbers), where, layout = read_table(path), str(path), form.layout
    for name, flag in (
        (layout.image_column, "--image-column"),
        (layout.split_column, "--split-column"),
        (layout.group_column, "--group-column"),
        (layout.weight_column, "--weight-column"),
    ):
        if name is not None:
            check_column(where, table, name, flag)
    place = _place(path, table, layout.image_column, layout.root)
    asked = {"label": layout.label_column, "split": layout.split_column, "group": layout.group_column}
    asked["weight"] = layout.weight_column
    columns = columns_of(where, table, place.column, asked)
    classes, labels = _labels(where, numbers, table, columns)
    rows = len(labels)
    parts = table[columns.split] if columns.split else [""] * rows
    groups = table[columns.group] if columns.group else [""] * rows
    files = [_file(value, place) for value in table[place.column]]
    for number, value, file in zip(numbers, table[place.column], files, strict=True):
        if not value:
            raise UserError(
                f"{where} row {number}: column {printable(place.column)} names no image: write one, or leave "
                "the row out"
            )
        if "\0" in file:
            raise UserError(
                f"{where} row {number}: column {printable(place.column)} has a zero byte, as no file's name "
                "has: write the table as plain text, UTF-8"
            )
    weights = weights_in(where, numbers, table, layout.weight_column, labels)
    entries: dict[tuple[str, int], Entry] = {}
    for file, label, part, group, weight in zip(files, labels, parts, groups, weights, strict=True):
        split = part_named(part) or Split.ANY
        if label < 0 or split is Split.UNLABELED:
            label, split = -1, Split.UNLABELED
        entries.setdefault((file, label), Entry(file, label, split, group, weight))
    notes = [_guesses(path, table, place, columns, form)]
    if layout.weight_column is not None:
        notes.append(_weights_in_words(layout.weight_column, [one.weight for one in entries.values()]))
    if len(entries) < rows:
        notes.append(f"{rows - len(entries):,} rows of {printable(where)} repeat others and count once")
    return OpenedFolder(place.root, classes, tuple(entries.values()), tuple(notes), form.reading)


def _weight_of(entry: Entry) -> tuple[float, ...]:
    """What is hashed of it: without weights, what was before there were any."""
    return () if entry.weight is None else (entry.weight,)


def _weights_in_words(column: str, weights: Sequence[float | None]) -> str:
    known = [weight for weight in weights if weight is not None]
    least, most = min(known, default=1.0), max(known, default=1.0)
    return (
        f"weights from column {printable(column)}, {least:g} to {most:g}, made 1 on average in each "
        "training's loss; scores and figures count every image alike"
    )


def _place(path: Path, table: Table, column: str | None, root: Path | None) -> _Place:
    """Which column names the images, and from which folder on."""
    beside = path.resolve().parent
    roots = [root.expanduser().resolve()] if root is not None else [beside, *subfolders(beside)]
    if root is not None and not roots[0].is_dir():
        raise UserError(f"--root {root} is no folder: give the one that the paths in {path} begin at")
    # The likeliest name first: of columns with as many files the first is taken.
    names = sorted(table, key=lambda name: _rank(name)) if column is None else [column]
    best: _Place | None = None
    for name in names:
        tried = [value for value in table[name][:: max(1, len(table[name]) // MOST_TRIED)] if value][
            :MOST_TRIED
        ]
        for folder in roots:
            for suffix in SUFFIXES:
                probe = _Place(0, name, folder, suffix)
                there = sum(_is_file(folder / _file(value, probe)) for value in tried)
                if there > (best.found if best else 0):
                    best = replace(probe, found=there)
    if best is None:
        looked = f"in column {column}" if column else f"in any of its columns ({some(list(table), 12)})"
        raise UserError(
            f"{path} names no file that is there, {looked}, from {some([str(one) for one in roots], 2)} on: "
            "give --image-column, and --root, the folder that its paths begin at"
        )
    return best


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a value longer than any file's name
        return False


def _rank(name: str) -> int:
    low = name.lower().replace(" ", "_")
    return IMAGE_NAMES.index(low) if low in IMAGE_NAMES else len(IMAGE_NAMES)


def _file(value: str, place: _Place) -> str:
    """The path of a row's image; those that Windows wrote have other slashes."""
    file = value.replace("\\", "/") if "\\" in value and "/" not in value else value
    return file + place.suffix


def _labels(
    where: str, numbers: Numbers, table: Table, columns: Columns
) -> tuple[tuple[str, ...], list[int]]:
    """The names of the classes, and the number of each row's, -1 where it has none."""
    if len(columns.labels) > 1:
        return columns.labels, _one_hot(where, numbers, table, columns.labels)
    return numbered_labels(f"{where}: column {columns.labels[0]}", table[columns.labels[0]])


def _one_hot(where: str, numbers: Numbers, table: Table, names: tuple[str, ...]) -> list[int]:
    labels = []
    for number, row in zip(numbers, zip(*(table[name] for name in names), strict=True), strict=True):
        try:
            ones = [place for place, value in enumerate(row) if float(value or 0) == 1]
            wrong = any(float(value or 0) not in (0, 1) for value in row)
        except ValueError:
            ones, wrong = [], True
        if wrong or len(ones) > 1:
            raise UserError(
                f"{where} row {number}: columns {some(names, 4)} must be 0 but for one 1, the image's class, "
                f"got {some(row, 4)}; give another --label-column"
            )
        labels.append(ones[0] if ones else -1)
    return labels


def _guesses(path: Path, table: Table, place: _Place, columns: Columns, form: Form) -> str:
    """What the columns were taken for, and how to say otherwise."""
    said = [f"images from column {place.column}", f"labels from {some(columns.labels, 5)}"]
    said += [f"parts from {columns.split}"] if columns.split else []
    said += [f"groups from {columns.group}"] if columns.group else []
    if place.root != path.resolve().parent:
        said.append(f"files from {place.root}")
    if place.suffix:
        said.append(f"with {place.suffix} after their names")
    line = (
        f"{path.name}: {', '.join(said)}; --image-column, --label-column, --split-column, --root take others"
    )
    groups = [name for name in table if name.lower().replace(" ", "_") in GROUP_NAMES]
    if groups and columns.group is None:
        line += f"; does {groups[0]} say which images belong together? Then --group-column {groups[0]}"
    return printable(line)


def find(source: str | None) -> ManifestSource | None:
    """The table at the path ``source``, if it is one."""
    if source is None or not is_manifest(source):
        return None
    path = Path(source).expanduser()
    return ManifestSource(path) if path.is_file() and not holds_images(path) else None


KIND = SourceKind(order=25, given_as="a table of files and labels (.csv, .tsv, .jsonl, .parquet)", find=find)
