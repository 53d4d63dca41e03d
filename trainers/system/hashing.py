"""Hashes of files, of contents and of values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augsearch.trainers.system.threads import in_order

if TYPE_CHECKING:
    pass


KEY_BYTES = 16

NO_KEY = b""
"""Key of a file that can't be opened."""

PART = 8
"""Files that a thread reads at a time."""


def content_key(content: Path | bytes) -> bytes:
    """BLAKE2b of a file's bytes, 16 bytes; ``NO_KEY`` for one that can't be opened."""
    try:
        held = content if isinstance(content, bytes) else content.read_bytes()
    except OSError:
        return NO_KEY
    return hashlib.blake2b(held, digest_size=KEY_BYTES).digest()


def hashed_files(paths: Sequence[Path]) -> list[bytes]:
    """The ``content_key`` of each file, read in threads."""
    parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    return list(chain.from_iterable(in_order(lambda part: [content_key(path) for path in part], parts)))


def content_of(name: str) -> str:
    """A short hash of the file that ``name`` is the path of, wherever it lies; any other name as it is."""
    return _hashed(name, stamp(name)) if Path(name).is_file() else name


@lru_cache
def _hashed(path: str, _: tuple[int, int]) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=6)).hexdigest()


def hashed(value: Any) -> str:
    """Return a short hex hash of a JSON-serialisable value."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def stamp(path: str | Path) -> tuple[int, int]:
    """Return a file's size in bytes and time of change in nanoseconds; (-1, -1) for a broken link."""
    try:
        status = Path(path).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def digest(value: Any) -> str:
    """A short hash of plain values."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
