"""Which images may belong together, guessed from their paths: photos of one patient, frames of one sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.data.groups import named_in

EXPRESSIONS = (
    r"([^/]+)[-_. ]\d+\.\w+$",
    r"([^/]+)[-_. ][A-Za-z]+\.\w+$",
    r"([^/]+?)[-_ ][^/]*$",
    r"([^/]+)/[^/]+$",
)
"""Of the path: what stands before the last number, before a last word (``left``), before the first separator,
and the folder."""

IN_GROUPS = 0.5
"""The share of the images that must be in groups of two or more, for a guess to be one."""
MOST_OF_ALL = 0.05
"""The share of the images that the largest group may have: a larger one is a class, or a camera's name."""
OF_ONE_CLASS = 0.6
"""The share of the images of a group that are of one class, on average: where each class counts from 1 anew,
a number is no group. Near-duplicates that are in one group say more."""
GROUPS_A_CLASS = 4
"""Groups that there must be for each class: with fewer no part would have one of each."""


@dataclass(frozen=True, slots=True)
class GroupGuess:
    """Groups that the paths may name."""

    expression: str
    """For ``--group-by``."""
    groups: int
    """Of two images or more."""
    grouped: int
    """Images in those."""
    largest: int
    alike: float | None
    """The share of near-duplicates that would be in one group; None: there are none."""
    example: tuple[str, ...]
    """Paths of a group."""


def guess_groups(files: Sequence[str], labels: Indices, near: Indices) -> GroupGuess | None:
    """The likeliest groups that the paths name; None: they name none.

    Args:
        files: (N,), paths inside the data set.
        labels: (N,): -1 where there is none.
        near: (N,): a number for each image, one for near-duplicates.
    """
    guesses = [
        guess for expression in EXPRESSIONS if (guess := _guess(files, labels, near, expression)) is not None
    ]
    return max(guesses, key=lambda guess: (guess.alike or 0.0, guess.grouped), default=None)


def _guess(files: Sequence[str], labels: Indices, near: Indices, expression: str) -> GroupGuess | None:
    groups = named_in(files, expression)
    if groups is None:
        return None
    sizes = np.bincount(groups)
    several = np.flatnonzero(sizes > 1)
    grouped, classes = int(sizes[several].sum()), len(np.unique(labels[labels >= 0]))
    enough = grouped >= IN_GROUPS * len(files) and len(several) >= GROUPS_A_CLASS * classes
    if not enough or sizes.max() > max(2, MOST_OF_ALL * len(files)):
        return None
    alike = _alike(groups, near)
    if _of_one_class(groups, labels) < OF_ONE_CLASS and (alike or 0) < OF_ONE_CLASS:
        return None
    shown = np.flatnonzero(groups == several[len(several) // 2])[:3]
    return GroupGuess(
        expression,
        len(several),
        grouped,
        int(sizes.max()),
        alike,
        tuple(files[row] for row in shown),
    )


def _of_one_class(groups: Indices, labels: Indices) -> float:
    """The share of images with a label, in groups of two or more, that are of their group's class."""
    rows = np.flatnonzero((labels >= 0) & (np.bincount(groups)[groups] > 1))
    pairs, counts = np.unique(np.stack([groups[rows], labels[rows]]), axis=1, return_counts=True)
    most = np.zeros(int(groups.max(initial=0)) + 1, np.int64)
    np.maximum.at(most, pairs[0], counts)
    return float(most.sum() / max(1, len(rows)))


def _alike(groups: Indices, near: Indices) -> float | None:
    """Of the images that are near-duplicates of another: the share that is in the group of the first one."""
    numbers, first, own = np.unique(near, return_index=True, return_inverse=True)
    several = np.bincount(own)[own] > 1
    others = np.flatnonzero(several & (first[own] != np.arange(len(near))))
    if len(others) == 0 or len(numbers) == 0:
        return None
    return float((groups[others] == groups[first[own[others]]]).mean())
