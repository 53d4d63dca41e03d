"""Hashes of files, of contents and of values; all are BLAKE2b."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from augsearch.trainers.system.threads import in_order

KEY_BYTES = 16

NO_KEY = b""
"""Key of a file that can't be opened."""

FILES_AT_A_TIME = 8
"""Files that a thread reads at a time."""


def hex_hash(*contents: bytes, size: int = 16) -> str:
    """The hash of ``contents``, one after the other, in hex digits, two for each of ``size`` bytes."""
    running = growing_hash(size=size)
    for content in contents:
        running.update(content)
    return running.hexdigest()


def growing_hash(content: bytes = b"", size: int = 64) -> hashlib.blake2b:
    """A hash of ``size`` bytes that takes in more content as it comes."""
    return hashlib.blake2b(content, digest_size=size)


def content_key(content: Path | bytes) -> bytes:
    """The hash of a file's bytes, 16 bytes; ``NO_KEY`` for one that can't be opened."""
    try:
        held = content if isinstance(content, bytes) else content.read_bytes()
    except OSError:
        return NO_KEY
    return growing_hash(held, KEY_BYTES).digest()


def hashed_files(paths: Sequence[Path]) -> list[bytes]:
    """The ``content_key`` of each file, read in threads."""
    portions = [paths[start : start + FILES_AT_A_TIME] for start in range(0, len(paths), FILES_AT_A_TIME)]
    keys = in_order(lambda portion: [content_key(path) for path in portion], portions)
    return list(chain.from_iterable(keys))


def content_of(name: str) -> str:
    """A short hash of the file that ``name`` is the path of, wherever it lies; any other name as it is."""
    return _hash_of_file(name, stamp(name)) if Path(name).is_file() else name


@lru_cache
def _hash_of_file(path: str, _: tuple[int, int]) -> str:
    return file_hash(Path(path), size=6)


def file_hash(path: Path, size: int = KEY_BYTES) -> str:
    """The hash of a file of any length, in hex digits, two for each of ``size`` bytes.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: growing_hash(size=size)).hexdigest()


def stamp(path: str | Path) -> tuple[int, int]:
    """A file's size in bytes and time of change in nanoseconds; (-1, -1) for a broken link."""
    try:
        status = os.stat(path)  # noqa: PTH116  (of a million files paths take half of the time)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def cache_key(value: Any, size: int = 16) -> str:
    """The hash of a JSON value in hex digits, by which caches know it; the order of keys counts."""
    return hex_hash(json.dumps(value).encode(), size=size)


def digest(value: Any) -> str:
    """The hash of a JSON value in 16 hex digits; the order of keys doesn't count."""
    return hex_hash(json.dumps(value, sort_keys=True).encode(), size=8)
