"""Images by their content: which are copies of others."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.decode import in_order

Indices = NDArray[np.int64]

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


def copies_among(
    images: NDArray[np.uint8], rows: Indices, others: NDArray[np.uint8], others_rows: Indices
) -> NDArray[np.bool_]:
    """(len(rows),): whether each of these rows of ``images`` (N, S, S, C) is also one of those of ``others``.

    It is by exactly the same pixels. Images of another side or number of channels are no copies.
    """
    if images.shape[1:] != others.shape[1:]:
        return np.zeros(len(rows), bool)
    lines, others_lines = middle_lines(images, rows), middle_lines(others, others_rows)
    both = set(lines) & set(others_lines)
    whole = {
        content_key(others[row].tobytes())
        for row, line in zip(others_rows, others_lines, strict=True)
        if line in both
    }
    return np.array(
        [
            line in both and content_key(images[row].tobytes()) in whole
            for row, line in zip(rows, lines, strict=True)
        ],
        bool,
    )


def groups_of_copies(images: NDArray[np.uint8], rows: Indices) -> Indices:
    """(len(rows),): a number for each of these rows of ``images`` (N, S, S, C), one for the same pixels."""
    lines = middle_lines(images, rows)
    often = Counter(lines)
    keys = [
        (line, content_key(images[row].tobytes()) if often[line] > 1 else b"")
        for row, line in zip(rows, lines, strict=True)
    ]
    numbers: dict[tuple[bytes, bytes], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def middle_lines(images: NDArray[np.uint8], rows: Indices) -> list[bytes]:
    """The middle line of each of these rows.

    It tells most images apart; reading all pixels of all images would take seconds at each opening.
    """
    return [line.tobytes() for line in images[rows, images.shape[1] // 2]]
