"""Images by their content: which are copies of others."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

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


def repeats(groups: Indices, parts: dict[str, Indices]) -> dict[tuple[str, ...], Indices]:
    """Which images are of one group with others.

    Args:
        groups: (N,): a number for each image, one for those that are alike.
        parts: which images are for what.

    Returns:
        By one part: those of its images that repeat others of it; by two: the images of the second that are
        of one group with images of the first. What has none is left out.
    """
    found: dict[tuple[str, ...], Indices] = {}
    for names in [*((part,) for part in parts), *combinations(parts, 2)]:
        rows = parts[names[-1]]
        if len(names) > 1:
            repeated = np.isin(groups[rows], groups[parts[names[0]]])
        else:
            repeated = np.ones(len(rows), bool)
            repeated[np.unique(groups[rows], return_index=True)[1]] = False
        if repeated.any():
            found[names] = rows[repeated]
    return found


def contradictions(groups: Indices, labels: Indices) -> list[Indices]:
    """Images of one group that have several labels: those of a group each, in the order of the first.

    Args:
        groups: (N,): a number for each image, one for the same pixels.
        labels: (N,): -1 where there is none; these contradict nothing.
    """
    rows = np.flatnonzero(labels >= 0)
    pairs = np.unique(np.stack([groups[rows], labels[rows]]), axis=1)
    numbers, several = np.unique(pairs[0], return_counts=True)
    torn = rows[np.isin(groups[rows], numbers[several > 1])]
    by_group: dict[int, list[int]] = {}
    for row in torn.tolist():
        by_group.setdefault(int(groups[row]), []).append(row)
    return [np.array(own, np.int64) for own in by_group.values()]
