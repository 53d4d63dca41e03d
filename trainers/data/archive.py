"""Files inside zip and tar archives, read one by one and never unpacked; safe against what strangers pack."""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from augsearch.policies import UserError
from augsearch.trainers.data.image_files import BadImageError

MOST_BYTES = 2**29
"""Of one file inside: what is larger is no image, or an attack."""
MOST_FILES = 20_000_000
LONGEST_NAME = 255
"""Bytes of a part of a path that file systems take."""


class Archive(Protocol):
    """An archive whose files were listed."""

    @property
    def names(self) -> list[str]:
        """Paths of its files, in its order, with ``/``; no folders, links or paths that lead out of it."""

    @property
    def passed_over(self) -> int:
        """Members that are none of those: links, devices, paths that lead out."""

    def read(self, name: str, first: int | None = None) -> bytes:
        """The bytes of a file, or the ``first`` of them.

        Raises:
            BadImageError: it is damaged, encrypted or too large.
        """


def open_archive(path: Path) -> Archive:
    """List what is in a ``.zip`` or ``.tar`` file.

    Raises:
        UserError: it is compressed as a whole, damaged, or none of these.
    """
    if path.name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise UserError(
            f"{path} is compressed as a whole, so no image in it can be read without all before it: "
            f"uncompress it to a .tar, or unpack it"
        )
    try:
        return _Zip.of(path) if path.suffix.lower() == ".zip" else _Tar.of(path)
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} is no archive, or is damaged ({reason}): copy or pack it anew") from None


def is_safe(name: str) -> bool:
    """Whether a path stays inside, whatever it is joined to, and a file system could have it."""
    parts = name.split("/")
    return (
        bool(name)
        and not name.startswith("/")
        and "\0" not in name
        and ".." not in parts
        and not re.match("[A-Za-z]:", name)
        and all(len(os.fsencode(part)) <= LONGEST_NAME for part in parts)
    )


def _unpacked(name: str) -> str:
    """The path that a file gets by this name: ``./a//1.jpg`` is ``a/1.jpg``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


@dataclass(frozen=True, eq=False)
class _Zip:
    path: Path
    file: zipfile.ZipFile
    infos: dict[str, zipfile.ZipInfo]
    passed_over: int

    @classmethod
    def of(cls, path: Path) -> _Zip:
        file = zipfile.ZipFile(path)
        infos: dict[str, zipfile.ZipInfo] = {}
        passed = 0
        for info in file.infolist():
            name = info.filename.replace("\\", "/")
            if name.endswith("/"):
                continue
            if stat.S_ISLNK(info.external_attr >> 16) or not is_safe(name):
                passed += 1
            else:
                infos[_unpacked(name)] = info
        return cls(path, file, infos, passed)

    @property
    def names(self) -> list[str]:
        return list(self.infos)

    def read(self, name: str, first: int | None = None) -> bytes:
        info = self.infos[name]
        if info.file_size > MOST_BYTES and first is None:
            raise BadImageError(f"larger than {MOST_BYTES:,} bytes")
        try:
            # No more is read than it says of itself: a bomb ends as a bad image.
            with self.file.open(info) as member:
                return member.read(MOST_BYTES if first is None else first)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise BadImageError(f"damaged in the archive ({error})") from None
        except RuntimeError as error:
            raise BadImageError(f"can't be taken out of the archive ({error})") from None


@dataclass(frozen=True, eq=False)
class _Tar:
    path: Path
    places: dict[str, tuple[int, int]]
    """Where each file begins, and its length."""
    passed_over: int

    @classmethod
    def of(cls, path: Path) -> _Tar:
        places: dict[str, tuple[int, int]] = {}
        passed = 0
        for member in members(path):
            if member.isdir():
                continue
            if not member.isreg() or member.issparse() or not is_safe(member.name):
                passed += 1
            else:
                places[_unpacked(member.name)] = (member.offset_data, member.size)
        return cls(path, places, passed)

    @property
    def names(self) -> list[str]:
        return list(self.places)

    def read(self, name: str, first: int | None = None) -> bytes:
        start, length = self.places[name]
        return read_at(self.path, start, length if first is None else min(first, length))


def members(path: Path) -> Iterator[tarfile.TarInfo]:
    """What a tar file has, one by one; its memory does not grow with them."""
    with tarfile.open(path, "r:", errorlevel=0) as tar:
        kept: list[tarfile.TarInfo] = getattr(tar, "members", [])
        for _ in range(MOST_FILES):
            member = tar.next()
            if member is None:
                return
            yield member
            kept.clear()


def read_at(path: Path, start: int, length: int) -> bytes:
    """Bytes of a file, from ``start`` on.

    Raises:
        BadImageError: it is shorter, or they are too many.
    """
    if length > MOST_BYTES:
        raise BadImageError(f"larger than {MOST_BYTES:,} bytes")
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(length)
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from None
    if len(content) < length:
        raise BadImageError("the archive ends in the middle of it")
    return content
