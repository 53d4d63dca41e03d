"""Images by their content: which are copies of others."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.system.hashing import content_key


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
