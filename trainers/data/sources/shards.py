"""WebDataset shards: tar files in which an image's label stands beside it under the same name."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from augsearch.policies import UserError
from augsearch.policies.json_files import parse_json
from augsearch.trainers.data.archive import is_safe, members, read_at
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.form import PLAIN, Form
from augsearch.trainers.data.image_files import SUFFIXES, BadImageError
from augsearch.trainers.data.part_names import part_named
from augsearch.trainers.data.sources.base import SourceKind, refuse_layout
from augsearch.trainers.data.sources.folder_layout import Entry
from augsearch.trainers.data.sources.folders import OpenedFolder
from augsearch.trainers.data.sources.told_apart import is_shard, shards_in
from augsearch.trainers.data.table import LABEL_NAMES, numbered_labels
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.names import printable

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
"""As in ``train-{0000..0099}.tar``."""
MOST_BYTES = 2**20
"""Of a label."""


@dataclass(frozen=True)
class ShardSource:
    """Shards that were found but not listed."""

    given: str
    shards: tuple[Path, ...]
    form: Form = PLAIN
    folder: None = None
    """Their images are no files."""

    @property
    def name(self) -> str:
        """The folder's name, or the shard's without its suffix."""
        path = Path(BRACES.sub("", self.given))
        return printable(path.stem if path.suffix == ".tar" else path.resolve().name)

    def formed(self, form: Form) -> ShardSource:
        """The same shards in another form; ``--label-column`` and ``--group-column`` name fields of JSON.

        Raises:
            UserError: it is one of folders, or of a table's files and parts.
        """
        fields = {"label_column": None, "group_column": None}
        refuse_layout(self.name, form.layout.model_copy(update=fields), "of shards")
        return replace(self, form=form)

    def signature(self) -> str:
        """Hash of all shards' paths, sizes and times, and of the fields that are read."""
        layout = self.form.layout
        stamps = [(str(shard.resolve()), *stamp(shard)) for shard in self.shards]
        return cache_key(["shards", stamps, layout.label_column, layout.group_column])

    @cached_property
    def _opened(self) -> OpenedFolder:
        return _read(self.given, self.shards, self.form)

    def notes(self) -> tuple[str, ...]:
        """What is to be said of what lies in them, a line each."""
        return self._opened.notes

    def open(self) -> OpenedFolder:
        """List the images and read the labels.

        Raises:
            UserError: a shard can't be read, or a label is none.
        """
        return self._opened

    def size(self) -> None:
        """Each image has its own."""

    def unlabeled_folder(self) -> None:
        """Images without a label are among the samples."""

    def unlabeled_truth(self, files: Sequence[str]) -> None:
        """It is not known."""


@dataclass
class _Found:
    """What the shards have of one key."""

    image: str = ""
    more: int = 0
    label: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def _read(given: str, shards: Sequence[Path], form: Form) -> OpenedFolder:
    places: dict[str, tuple[Path, int, int]] = {}
    files, labels, groups, parts = [], [], [], []
    more = 0
    layout, root = form.layout, _root(shards)
    given_as = {shard: _part(shard, alone=len(shards) == 1) for shard in shards}
    for shard in sorted(shards, key=lambda one: (given_as[one], one)):
        inside, part = shard.relative_to(root).as_posix(), given_as[shard]
        for found in _samples(shard, inside, places):
            more += found.more
            files.append(found.image)
            labels.append("" if part is Split.UNLABELED else _label(found, layout.label_column))
            groups.append(_text(found.fields.get(layout.group_column or "")))
            parts.append(part)
    if not files:
        raise UserError(f"{given} has no images: a shard has an image and its label, 17.jpg and 17.cls say")
    if layout.group_column is not None and not any(groups):
        raise UserError(f"{given}: no .json has a field {layout.group_column} (--group-column): correct it")
    classes, numbers = numbered_labels(given, labels)
    entries = tuple(
        Entry(file, number, Split.UNLABELED if number < 0 else part, group)
        for file, number, part, group in zip(files, numbers, parts, groups, strict=True)
    )
    notes = (f"{more:,} images are left out that stand beside others of one key",) if more else ()

    def read(name: str) -> bytes:
        return read_at(*places[name])

    return OpenedFolder(root, classes, entries, notes, form.reading, read)


def _part(shard: Path, *, alone: bool) -> Split:
    """The part that a shard's name, or its folder's, means beside others."""
    part = part_named(shard.stem) or part_named(shard.parent.name)
    return Split.ANY if alone or part is None else part


def _root(shards: Sequence[Path]) -> Path:
    return (
        shards[0].parent if len(shards) == 1 else Path(os.path.commonpath([shard.parent for shard in shards]))
    )


def _samples(shard: Path, inside: str, places: dict[str, tuple[Path, int, int]]) -> Iterator[_Found]:
    """The images of a shard, in its order; where each lies goes into ``places``."""
    by_key: dict[str, _Found] = {}
    for member in _members(shard):
        name = member.name.removeprefix("./")
        if not member.isreg() or not is_safe(name) or os.path.basename(name).startswith("."):  # noqa: PTH119
            continue
        folder, base = os.path.split(name)
        key, _, suffix = base.partition(".")
        found = by_key.setdefault(f"{folder}/{key}", _Found())
        ending = "." + suffix.lower().rpartition(".")[2]
        if ending in SUFFIXES and found.image:
            found.more += 1
        elif ending in SUFFIXES:
            found.image = f"{inside}/{name}"
            places[found.image] = (shard, member.offset_data, member.size)
        elif ending in (".cls", ".json") and member.size <= MOST_BYTES:
            text = _text_at(shard, member.offset_data, member.size)
            _take(found, ending, shard, name, text)
    yield from (found for found in by_key.values() if found.image)


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    try:
        yield from members(shard)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{shard} can't be read ({error}): copy or pack it anew") from None


def _text_at(shard: Path, start: int, length: int) -> str:
    """The text beside an image.

    Raises:
        UserError: the shard ends before it does.
    """
    try:
        return read_at(shard, start, length).decode("utf-8", "replace").strip()
    except BadImageError as error:
        raise UserError(f"{shard} can't be read ({error}): copy or pack it anew") from None


def _take(found: _Found, ending: str, shard: Path, name: str, text: str) -> None:
    if ending == ".cls":
        found.label = text
        return
    try:
        fields = parse_json(text)
    except ValueError as error:
        raise UserError(f"{shard}: {printable(name)} is no JSON ({error}): correct it") from None
    if isinstance(fields, dict):
        found.fields = fields
    elif isinstance(fields, int | str):
        found.label = found.label or str(fields)


def _label(found: _Found, column: str | None) -> str:
    """The label of the field that is asked for; else of ``.cls``, else of the field of the likeliest name."""
    if column is not None:
        return _text(found.fields.get(column))
    known = next((name for name in (*LABEL_NAMES, "cls") if name in found.fields), None)
    return found.label or ("" if known is None else _text(found.fields[known]))


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, list | dict) else str(value).strip()


def find(source: str | None) -> ShardSource | None:
    """The shards at ``source``: one, a folder of them, or many as ``train-{0000..0099}.tar``."""
    if source is None:
        return None
    path = Path(source).expanduser()
    if path.is_dir():
        shards = shards_in(path)
        return ShardSource(source, tuple(shards)) if shards else None
    if not source.endswith(".tar"):
        return None
    braces = BRACES.search(str(path))
    if braces is None:
        return ShardSource(source, (path,)) if path.is_file() and is_shard(path) else None
    first, last = braces.groups()
    numbers = range(int(first), int(last) + 1)
    named = [Path(BRACES.sub(str(number).zfill(len(first)), str(path), count=1)) for number in numbers]
    missing = next((one for one in named if not one.is_file()), None)
    if missing is not None or not named:
        raise UserError(f"{source}: there is no file {missing or source}")
    return ShardSource(source, tuple(named))


KIND = SourceKind(order=15, given_as="WebDataset shards (.tar with .jpg and .cls or .json)", find=find)
