"""Dividing images a whole group at a time, so that every part has its share of every class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import Indices

GROUPING, FILLING = 7, 8
"""Goes into the seed of the order in which groups are dealt, and in which a fold is given those that it
lacks; see the others in ``splits``."""


class TooFewGroupsError(Exception):
    """A class has fewer groups than there are parts; arguments: its number, its groups, and the parts."""


def dealt(
    images: Indices,
    labels: Indices,
    groups: Indices,
    shares: Sequence[float],
    *,
    seed: Sequence[int],
    every_class: bool = True,
) -> list[Indices]:
    """Divide images into parts, a whole group at a time.

    First each part gets a group of every class, the class with the fewest groups first. Then groups are dealt
    from the largest on, each to where it brings the parts' shares of its classes nearest to what they are to
    be, as scikit-learn's ``StratifiedGroupKFold`` does for parts of one size.

    Args:
        images: int64, indices into ``labels``, sorted.
        labels: int64, (N,), 0 or more where ``images`` point.
        groups: int64, (N,), one number for those that belong together.
        shares: of all images that each part is to have; together 1.
        seed: whole numbers that decide ties and the order of groups of one size.
        every_class: whether each part must have an image of every class.

    Returns:
        The indices of each part, sorted; of no group in two of them.

    Raises:
        TooFewGroupsError: a class has fewer groups than there are parts, and ``every_class`` is asked for.
    """
    counts = _counts(labels[images], groups[images])
    own = np.unique(groups[images], return_inverse=True)[1]
    rng = np.random.default_rng([*seed, GROUPING])
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    part_of = np.full(len(counts), -1)
    wanted = np.asarray(shares, dtype=np.float64)
    have = np.zeros((len(shares), counts.shape[1]))
    per_class = np.maximum(counts.sum(axis=0), 1)

    def give(group: int, part: int) -> None:
        part_of[group] = part
        have[part] += counts[group] / per_class

    if every_class:
        _cover(counts, order[::-1], part_of, have, wanted, give)
    for group in order[part_of[order] < 0]:
        classes = np.flatnonzero(counts[group])
        more = counts[group, classes] / per_class[classes]
        missing = wanted[:, np.newaxis] - have[:, classes]
        give(int(group), int(np.argmax((2 * missing * more - more**2).sum(axis=1))))
    return [_sealed(images[part_of[own] == part]) for part in range(len(shares))]


def _cover(
    counts: NDArray[np.int64],
    smallest_first: NDArray[np.int64],
    part_of: NDArray[np.int64],
    have: NDArray[np.float64],
    wanted: NDArray[np.float64],
    give: Callable[[int, int], None],
) -> None:
    """Give each part a group of every class."""
    number_of_groups = (counts > 0).sum(axis=0)
    for label in np.argsort(number_of_groups, kind="stable"):
        if not number_of_groups[label]:
            continue
        # The largest part last: it gets most of what is left in any case.
        for part in np.argsort(wanted, kind="stable"):
            if have[part, label] > 0:
                continue
            free = smallest_first[(part_of[smallest_first] < 0) & (counts[smallest_first, label] > 0)]
            if not len(free):
                raise TooFewGroupsError(int(label), int(number_of_groups[label]), len(wanted))
            give(int(free[0]), int(part))


def _counts(labels: Indices, groups: Indices) -> NDArray[np.int64]:
    """(G, K): how many images of each class each group has."""
    numbers, own = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(numbers), int(labels.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (own, labels), 1)
    return counts


def learned_and_scored(
    pool: Indices, labels: Indices, groups: Indices, *, fold: int, size: int, seed: Sequence[int]
) -> tuple[Indices, Indices]:
    """Divide ``pool``, of two groups or more, for a fold of a cross-fitting; see ``splits.cross_fitted``.

    Returns:
        What is learned from, about ``size`` images and some of every class, and all others, one at least; no
        group is in both. Where one group alone has a class, that class may be missing in either.
    """
    counts = _counts(labels[pool], groups[pool])
    number_of_groups = (counts > 0).sum(axis=0)
    number_of_groups = number_of_groups[number_of_groups > 0]
    learns_a_part = 2 * size <= len(pool)
    cut = size if learns_a_part else len(pool) - size
    # A class that has fewer groups than there are parts is missing in some. Where those are learned from, one
    # of its groups is added; where they are scored, there must be no such part, or one may be empty.
    most = number_of_groups.max() if learns_a_part else number_of_groups.min()
    stretches = max(1, min(len(pool) // max(1, cut), int(most)))
    turn, stretch = divmod(fold, stretches)
    shares = [1 / stretches] * stretches
    parts = dealt(pool, labels, groups, shares, seed=[*seed, turn], every_class=False)
    numbers, own = np.unique(groups[pool], return_inverse=True)
    inside = np.isin(numbers, groups[parts[stretch]])
    # By chance, or fold after fold would be given the same groups.
    order = np.random.default_rng([*seed, turn, FILLING, stretch]).permutation(len(numbers))
    learns = _with_every_class(inside if learns_a_part else ~inside, counts[order] > 0, order)[own]
    return _sealed(pool[learns]), _sealed(pool[~learns])


def _with_every_class(
    learns: NDArray[np.bool_], has: NDArray[np.bool_], order: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(G,): ``learns`` and a group of each class that it lacks, but not all groups.

    Args:
        learns: (G,): which groups are learned from.
        has: (G, K): which classes each group has, in this ``order``.
        order: (G,): in which groups are added.
    """
    learns = learns[order]
    for label in np.flatnonzero(has.any(axis=0)):
        if not has[learns, label].any():
            # Who is never shown a class can't be asked for it.
            learns[np.flatnonzero(has[:, label])[0]] = True
    if learns.all():
        # The group without which the fewest classes are missing: something must be left to score.
        alone = has & (has.sum(axis=0) == 1)
        learns[np.argmin(alone.sum(axis=1))] = False
    again = np.empty_like(learns)
    again[order] = learns
    return again


def _sealed(images: Indices) -> Indices:
    images = np.sort(images).astype(np.int64)
    images.flags.writeable = False
    return images
