"""Files written whole or not at all: whoever reads one finds all of the old file or all of the new."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary path to write to, beside ``path``; after the block it takes the name ``path``.

    The temporary name is hidden, is another one in every call, and ends as ``path`` does, for libraries that
    choose a format by the suffix. If the block raises, the temporary file is removed and ``path`` stays as it
    was. The folder of ``path`` is made if it is missing.

    Args:
        path: the file to write or to replace.
        durable: the file's content is on disk before it takes the name, so that it also outlives a power cut.

    Raises:
        OSError: the file can't be written, or the block wrote none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write ``content`` to ``path``, whole or not at all; see ``whole_file``."""
    with whole_file(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write ``text`` to ``path`` in UTF-8, whole or not at all; see ``whole_file``."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def sync(path: Path) -> None:
    """Wait until the content of the file at ``path`` is on disk."""
    descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
