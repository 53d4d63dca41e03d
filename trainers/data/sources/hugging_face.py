"""Data sets of Hugging Face's ``datasets``: of the hub, saved to disk, or Parquet files with images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from augsearch.policies import UserError
from augsearch.policies.errors import some
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.form import PLAIN, Form
from augsearch.trainers.data.image_files import BadImageError
from augsearch.trainers.data.part_names import part_named
from augsearch.trainers.data.sources.base import SourceKind, refuse_layout
from augsearch.trainers.data.sources.folder_layout import Entry
from augsearch.trainers.data.sources.folders import OpenedFolder
from augsearch.trainers.data.sources.told_apart import MARKS, holds_images, is_encoded, is_saved, parquet_in
from augsearch.trainers.data.table import LABEL_NAMES, numbered_labels
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.names import printable

PREFIX = "hf:"
"""Begins the name of a data set of the hub: ``hf:beans``, ``hf:NAME:CONFIGURATION``."""


@dataclass(frozen=True)
class HuggingFaceSource:
    """A data set that was found but not loaded."""

    given: str
    form: Form = PLAIN
    folder: None = None
    """Its images are read through ``datasets``, wherever they lie."""

    @property
    def name(self) -> str:
        """What people call it."""
        name = self.given.removeprefix(PREFIX)
        return name if self._of_the_hub else printable(Path(name).expanduser().resolve().stem)

    @property
    def _of_the_hub(self) -> bool:
        return self.given.startswith(PREFIX) and not self._path.exists()

    @property
    def _path(self) -> Path:
        return Path(self.given.removeprefix(PREFIX)).expanduser()

    def formed(self, form: Form) -> HuggingFaceSource:
        """The same data set in another form.

        Raises:
            UserError: it is one of folders, or of a table's files and parts.
        """
        columns = {"image_column": None, "label_column": None, "group_column": None}
        refuse_layout(self.name, form.layout.model_copy(update=columns), "a data set of Hugging Face")
        return replace(self, form=form)

    def signature(self) -> str:
        """Hash of the name and of all its files' names, sizes and times; of the hub's, of what was loaded."""
        layout = self.form.layout
        columns = [layout.image_column, layout.label_column, layout.group_column]
        if self._of_the_hub:
            prints = [(name, part._fingerprint) for name, part in self._parts.items()]
            return cache_key(["hugging face", self.given, prints, columns])
        files = [self._path] if self._path.is_file() else sorted(self._path.rglob("*"))
        stamps = [(str(file.resolve()), *stamp(file)) for file in files if file.is_file()]
        return cache_key(["hugging face", self.given, stamps, columns])

    @cached_property
    def _parts(self) -> dict[str, Any]:
        return _loaded(self.given, self._path, of_the_hub=self._of_the_hub)

    @cached_property
    def _opened(self) -> OpenedFolder:
        return _read(self.given, self._parts, self.form)

    def notes(self) -> tuple[str, ...]:
        """What its columns were taken for."""
        return self._opened.notes

    def open(self) -> OpenedFolder:
        """Load it, from the disk or the hub.

        Raises:
            UserError: ``datasets`` is not installed, it can't be loaded, or has no images or labels.
        """
        return self._opened

    def size(self) -> None:
        """Each image has its own."""

    def unlabeled_folder(self) -> None:
        """Images without a label are among the samples."""

    def unlabeled_truth(self, files: Sequence[str]) -> None:
        """It is not known."""


def _loaded(given: str, path: Path, *, of_the_hub: bool) -> dict[str, Any]:
    """Its splits by name; ``""`` where it has none."""
    try:
        import datasets
    except ImportError:
        needed = "needs a package that is not installed: pip install 'augsearch[hf]'"
        raise UserError(f"{given} {needed}") from None
    was_shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    try:
        if of_the_hub:
            name, _, configuration = given.removeprefix(PREFIX).partition(":")
            loaded = datasets.load_dataset(name, configuration or None)
        elif any((path / mark).is_file() for mark in MARKS):
            loaded = datasets.load_from_disk(str(path))
        else:
            loaded = _from_files(path)
    # What goes wrong comes from many libraries: of the hub, of HTTP, of Arrow, of fsspec.
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        where = "the hub, or from the cache" if of_the_hub else "disk"
        raise UserError(f"{given} could not be loaded from {where} ({reason}): is its name right?") from None
    finally:
        if was_shown:
            datasets.enable_progress_bar()
    return dict(loaded) if isinstance(loaded, dict) else {"": loaded}


def _from_files(path: Path) -> Any:
    """Parquet files with images, or what else ``datasets`` knows to read, such as an ``imagefolder``."""
    import datasets

    files = [path] if path.is_file() else parquet_in(path)
    if not files:
        return datasets.load_dataset(str(path))
    by_part: dict[Split, list[str]] = {}
    for file in files:
        part = part_named(file.name.removesuffix(".parquet").partition("-")[0])
        by_part.setdefault(Split.ANY if part is None else part, []).append(str(file))
    return {
        "" if part is Split.ANY else part.name.lower(): datasets.Dataset.from_parquet(by_part[part])
        for part in sorted(by_part)
    }


def _read(given: str, parts: dict[str, Any], form: Form) -> OpenedFolder:
    import datasets

    layout = form.layout
    splits_of = {name: part_named(name) or Split.ANY for name in parts}
    labeled = {name: part for name, part in parts.items() if splits_of[name] is not Split.UNLABELED}
    features = next(iter((labeled or parts).values())).features
    image = _image_column(given, features, layout.image_column)
    label = _label_column(given, features, layout.label_column, image)
    if layout.group_column is not None:
        _checked(given, features, layout.group_column, "--group-column")
    _check_columns(given, parts, (image, layout.group_column))
    _check_columns(given, labeled, (label,))
    names = _names_of_classes(given, labeled, label)
    files: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    splits: list[Split] = []
    places: dict[str, tuple[Any, int]] = {}
    for name, part in parts.items():
        images = part.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        for index in range(len(part)):
            file = f"{name} index {index}".strip()
            places[file] = (images, index)
            files.append(file)
        labels += _as_text(part[label], names[name]) if name in labeled else [""] * len(part)
        splits += [splits_of[name]] * len(part)
        if layout.group_column is not None:
            groups += ["" if one is None else str(one) for one in part[layout.group_column]]
    known = list(dict.fromkeys(name for of_part in names.values() if of_part for name in of_part))
    if known:
        places_of = {name: place for place, name in enumerate(known)} | {"": -1}
        classes, numbers = _used(tuple(map(printable, known)), [places_of[one] for one in labels])
    else:
        classes, numbers = numbered_labels(given, labels)
    entries = tuple(
        Entry(file, number, Split.UNLABELED if number < 0 else split, group)
        for file, number, split, group in zip(
            files, numbers, splits, groups or [""] * len(files), strict=True
        )
    )

    def read(file: str) -> bytes:
        images, index = places[file]
        return _bytes_of(images[index][image])

    said = f"{given}: images from column {image}, labels from {label}"
    said += "; --image-column, --label-column take others"
    return OpenedFolder(Path(), classes, entries, (printable(said),), form.reading, read)


def _check_columns(given: str, parts: dict[str, Any], columns: Sequence[str | None]) -> None:
    """Check that all parts have them.

    Raises:
        UserError: one doesn't; names it.
    """
    for name, part in parts.items():
        for column in columns:
            if column is not None and column not in part.features:
                raise UserError(
                    f"{given}: its part {printable(name)} has no column {printable(column)}: "
                    "add it, or remove that part"
                )


def _names_of_classes(given: str, parts: dict[str, Any], label: str) -> dict[str, list[str] | None]:
    """By part, what its numbers of classes mean, as each says for itself; None where labels are plain values.

    Raises:
        UserError: only some parts name their classes.
    """
    import datasets

    kinds = {name: part.features[label] for name, part in parts.items()}
    names = {
        name: list(kind.names) if isinstance(kind, datasets.ClassLabel) else None
        for name, kind in kinds.items()
    }
    if len({of_part is None for of_part in names.values()}) > 1:
        plain = next(name for name, of_part in names.items() if of_part is None)
        raise UserError(
            f"{given}: column {printable(label)} names its classes, but for part {printable(plain)}: "
            "cast it to a ClassLabel there too"
        )
    return names


def _as_text(values: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    """Labels by their names; empty where there is none."""

    def name_of(value: Any) -> str:
        return str(value) if names is None else names[value]

    return ["" if value is None or value == -1 else name_of(value) for value in values]


def _used(names: tuple[str, ...], numbers: list[int]) -> tuple[tuple[str, ...], list[int]]:
    """The classes that have an image, and each label's number among them: of a part of a set not all have."""
    used = sorted({number for number in numbers if number >= 0})
    places = {number: place for place, number in enumerate(used)} | {-1: -1}
    return tuple(names[number] for number in used), [places[number] for number in numbers]


def _bytes_of(value: Any) -> bytes:
    if value is None:
        raise BadImageError("there is no image in this row")
    if value["bytes"] is not None:
        return bytes(value["bytes"])
    try:
        return Path(value["path"]).read_bytes()
    except (OSError, TypeError) as error:
        raise BadImageError(getattr(error, "strerror", None) or str(error)) from None


def _image_column(given: str, features: Any, asked: str | None) -> str:
    """The column that is asked for, or the first of images by its type."""
    import datasets

    if asked is not None:
        return _checked(given, features, asked, "--image-column")
    found: list[str] = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    found += [
        name
        for name, kind in features.items()
        if name not in found and is_encoded(features.arrow_schema.field(name).type)
    ]
    if not found:
        columns = some(list(features), 12)
        raise UserError(f"{given} has no column of images: it has {columns}; give --image-column")
    return found[0]


def _label_column(given: str, features: Any, asked: str | None, image: str) -> str:
    """The column that is asked for, the only one of class labels, or that of the likeliest name."""
    import datasets

    if asked is not None:
        return _checked(given, features, asked, "--label-column")
    found: list[str] = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    named = [name for name in LABEL_NAMES if name in (found or features) and name != image]
    if len(found) == 1 or named:
        return found[0] if len(found) == 1 else named[0]
    raise UserError(
        f"{given}: which column is the label? Give --label-column, one of "
        f"{some(found or [name for name in features if name != image], 12)}"
    )


def _checked(given: str, features: Any, name: str, flag: str) -> str:
    if name not in features:
        raise UserError(f"{given} has no column {name} ({flag}): it has {some(list(features), 12)}")
    return name


def find(source: str | None) -> HuggingFaceSource | None:
    """``hf:NAME``, a folder that ``datasets`` saved, or Parquet files with images inside."""
    if source is None:
        return None
    if source.startswith(PREFIX):
        return HuggingFaceSource(source)
    path = Path(source).expanduser()
    saved = is_saved(path) if path.is_dir() else path.is_file() and holds_images(path)
    return HuggingFaceSource(source) if saved else None


KIND = SourceKind(order=12, given_as="hf:NAME or what Hugging Face's datasets saved", find=find)
