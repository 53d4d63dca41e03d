"""A zip or tar file of class folders, read without being unpacked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from augsearch.policies import UserError
from augsearch.trainers.data.archive import Archive, open_archive
from augsearch.trainers.data.form import PLAIN, Form
from augsearch.trainers.data.image_files import SUFFIXES, BadImageError
from augsearch.trainers.data.sources.base import SourceKind, refuse_layout
from augsearch.trainers.data.sources.folder_layout import found_in
from augsearch.trainers.data.sources.folders import OpenedFolder
from augsearch.trainers.data.sources.told_apart import is_shard
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.names import printable

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
LOOKED_INTO = 1000
"""Files without an image's suffix whose first bytes are looked at: they may be images all the same."""


@dataclass(frozen=True)
class ArchiveSource:
    """An archive that was found but not listed."""

    path: Path
    form: Form = PLAIN
    folder: None = None
    """Its images are no files."""

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return printable(self.path.stem)

    def formed(self, form: Form) -> ArchiveSource:
        """The same archive in another form.

        Raises:
            UserError: that is one of tables.
        """
        refuse_layout(self.name, form.layout.model_copy(update={"classes": "top"}), "an archive")
        return replace(self, form=form)

    def signature(self) -> str:
        """Hash of its path, size and time, and of what its folders mean."""
        path = self.path.resolve()
        return cache_key(["archive", str(path), *stamp(path), self.form.layout.classes])

    @cached_property
    def _opened(self) -> OpenedFolder:
        return _read(self.path, self.form)

    def notes(self) -> tuple[str, ...]:
        """What is to be said of what lies in it, a line each."""
        return self._opened.notes

    def open(self) -> OpenedFolder:
        """List the images.

        Raises:
            UserError: it can't be read, or see ``folders.read_folder``.
        """
        return self._opened

    def size(self) -> None:
        """Each image has its own."""

    def unlabeled_folder(self) -> None:
        """Images without labels are taken from folders, not from archives."""

    def unlabeled_truth(self, files: Sequence[str]) -> None:
        """All samples have labels."""


def _read(path: Path, form: Form) -> OpenedFolder:
    archive = open_archive(path)
    # The rules for folders are those of folders: they go over the same names, of files with nothing in them.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        _lay_out(archive, root)
        try:
            found = found_in(root, root, by_leaf=form.layout.classes == "leaf")
        except UserError as error:
            raise UserError(str(error).replace(str(root), str(path))) from None
        notes = [note.replace(printable(str(root)), printable(str(path))) for note in found.notes]
    if archive.passed_over:
        notes.append(
            f"passed over {archive.passed_over:,} members of {printable(path.name)}: links, or unsafe paths"
        )

    def read(name: str) -> bytes:
        return archive.read(name)

    return OpenedFolder(path.resolve(), found.classes, found.entries, tuple(notes), form.reading, read)


def _lay_out(archive: Archive, root: Path) -> None:
    """Make an empty file for each file of the archive, and the first bytes of those that may be images."""
    made: set[str] = set()
    looked = 0
    for name in archive.names:
        folder, file = os.path.split(name)
        place = root / folder
        try:
            if folder not in made:
                place.mkdir(parents=True, exist_ok=True)
                made.add(folder)
            start = b""
            if os.path.splitext(file)[1].lower() not in SUFFIXES and looked < LOOKED_INTO:  # noqa: PTH122
                looked += 1
                start = _start(archive, name)
            (place / file).write_bytes(start)
        except OSError as error:
            raise UserError(
                f"{printable(name)} can't be laid out below {root.parent} ({error.strerror or error}): "
                "unpack the archive and give its folder"
            ) from None


def _start(archive: Archive, name: str) -> bytes:
    try:
        return archive.read(name, 16)
    except BadImageError:
        return b""


def find(source: str | None) -> ArchiveSource | None:
    """The archive at the path ``source``, if it is one, and no shard."""
    if source is None or not source.lower().endswith(ENDINGS):
        return None
    path = Path(source).expanduser()
    return ArchiveSource(path) if path.is_file() and not is_shard(path) else None


KIND = SourceKind(order=27, given_as="a .zip or .tar file of class folders", find=find)
