"""What a policy draws, as names and values, for tests to count."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from augsearch.policies import Policy
from augsearch.policies.effects import Size
from augsearch.policies.planner import DrawnChain, DrawnOperation, Happened, value_of


def in_a_row(happened: Iterable[Happened]) -> Iterator[DrawnOperation]:
    """Operations in order, those of chains one chain after the other."""
    for one in happened:
        yield from one.operations if isinstance(one, DrawnChain) else (one,)


Drawn = tuple[tuple[str, float], ...]


def drawn(policy: Policy, count: int, size: Size, seed: int = 0) -> list[Drawn]:
    """What was drawn for each of ``count`` images: operations in order, each with its value, or 0."""
    draws = policy.draw(count, np.random.default_rng(seed))
    result = []
    for index in range(count):
        happened = []
        for one in in_a_row(draws.operations(index)):
            value = value_of(one, policy.ranges, size)
            value = -value if one.negative else value
            happened.append(
                (one.operation, math.trunc(value) if one.operation.startswith("translate") else value)
            )
        result.append(tuple(happened))
    return result
