"""Which images a benchmark learns from: as many of each class, drawn by a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError

POOL_SEED = 4
"""Seed of the division of the images into those of the seeds, those of the search and those of the test."""

Indices = NDArray[np.int64]


def stratified(
    pool: Indices, labels: Indices, count: int, rng: np.random.Generator, *, fewer: bool = False
) -> Indices:
    """``count`` of each class out of ``pool``, without replacement; all of a class that has ``fewer``.

    Raises:
        UserError: a class has too few.
    """
    chosen = []
    for label in range(int(labels.max()) + 1):
        own = pool[labels[pool] == label]
        if len(own) < count and not fewer:
            raise UserError(f"class {label} has {len(own)} training images left, and {count} are wanted")
        chosen.append(rng.permutation(own)[:count])
    return np.sort(np.concatenate(chosen))
