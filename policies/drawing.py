"""The drawing of what happens to each image: random numbers to codes and values, for many images at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.choices import Choice, OwnOperation, in_order
from augsearch.policies.planner import OWN_DRAWN, OWN_FIXED, encode
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS, Ranges

Column = tuple[NDArray[np.int64], NDArray[np.float64] | None]
"""The codes (count,) of one operation for each image, and their own values; None where none has one."""

Magnitude = int | Literal["random"]


def draw_with_probability(
    names: Sequence[str], magnitude: int, probability: float, count: int, rng: np.random.Generator
) -> Column:
    """One of ``names`` for each of ``count`` images, with a probability."""
    chosen = encode(names)[rng.integers(len(names), size=count)] + 2 * magnitude
    return np.where(rng.random(count) < probability, chosen, 0), None


def draw_fixed(name: str, value: float, probability: float, count: int, rng: np.random.Generator) -> Column:
    """The operation ``name`` with one own value for each of ``count`` images, with a probability."""
    (code,) = encode([name]).tolist()
    applied = rng.random(count) < probability
    return np.where(applied, code + 2 * OWN_FIXED, 0), np.where(applied, value, 0.0)


def draw_names(
    names: Sequence[str], num_ops: int, magnitude: Magnitude, count: int, rng: np.random.Generator
) -> Iterator[Column]:
    """``num_ops`` of ``names``, drawn uniformly and with replacement, for each of ``count`` images."""
    codes, strong, signed = _as_arrays(tuple(names))
    for _ in range(num_ops):
        chosen = rng.integers(len(codes), size=count)
        magnitudes = _magnitudes(magnitude, count, rng)
        negative = rng.random(count) < 0.5
        yield codes[chosen] + 2 * magnitudes * strong[chosen] + (negative & signed[chosen]), None


@lru_cache(maxsize=64)
def _as_arrays(names: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Codes at magnitude 0; which have a strength; and which a sign."""
    strong = np.array([OPERATIONS[name].standard is not None for name in names])
    return encode(names), strong, np.array([OPERATIONS[name].signed for name in names])


def _magnitudes(magnitude: Magnitude, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if magnitude == "random":
        return rng.integers(MAX_MAGNITUDE + 1, size=count)
    return np.full(count, magnitude)


@lru_cache(maxsize=64)
def choice_table(choices: tuple[Choice, ...], ranges: Ranges) -> ChoiceTable:
    """The one table of ``choices``."""
    return ChoiceTable(choices, ranges)


class ChoiceTable:
    """A policy's choices as arrays, so that drawing from them is a few look-ups for many images."""

    def __init__(self, choices: Sequence[Choice], ranges: Ranges) -> None:
        weights = np.array([1.0 if isinstance(one, str) else one.weight for one in choices])
        self._shares = weights / weights.sum()
        orders = [in_order(one) for one in choices]
        self._places = [
            _Place.of([order[place] if place < len(order) else None for order in orders], ranges)
            for place in range(max(map(len, orders)))
        ]

    def draw(
        self, num_ops: int, magnitude: Magnitude, count: int, rng: np.random.Generator
    ) -> Iterator[Column]:
        """``num_ops`` choices, drawn by weight and with replacement, for each of ``count`` images."""
        for _ in range(num_ops):
            chosen = rng.choice(len(self._shares), size=count, p=self._shares)
            for place in self._places:
                yield place.draw(chosen, magnitude, rng)


@dataclass(frozen=True, slots=True)
class _Place:
    """The n-th operation of every choice, each (choices,)."""

    codes: NDArray[np.int64]
    """At magnitude 0, or with the mark of own values; 0 where a choice has no n-th operation."""
    probability: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """Own values, or 0."""
    sd: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    """Between which normal draws are clipped."""
    by_policy: NDArray[np.bool_]
    """Whether the strength is the policy's magnitude."""
    negated: NDArray[np.bool_]

    @classmethod
    def of(cls, operations: Sequence[OwnOperation | None], ranges: Ranges) -> _Place:
        rows = [_row(operation, ranges) for operation in operations]
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        return cls(*columns)

    def draw(self, chosen: NDArray[np.int64], magnitude: Magnitude, rng: np.random.Generator) -> Column:
        count = len(chosen)
        applied = rng.random(count) < self.probability[chosen]
        codes = self.codes[chosen]
        if self.by_policy.any():
            codes = codes + 2 * _magnitudes(magnitude, count, rng) * self.by_policy[chosen]
        low, high = self.low[chosen], self.high[chosen]
        values = low + (high - low) * rng.random(count)
        if self.sd.any():
            moved = values + self.sd[chosen] * rng.standard_normal(count)
            normal = self.sd[chosen] > 0
            values = np.where(normal, np.clip(moved, self.least[chosen], self.most[chosen]), values)
        negative = (rng.random(count) < 0.5) & self.negated[chosen]
        codes = np.where(applied & (codes > 0), codes + negative, 0)
        return codes, np.where(codes > 0, values, 0.0)


_Row = tuple[int, float, float, float, float, float, float, bool, bool]
_NOTHING: _Row = (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, False, False)


def _row(own: OwnOperation | None, ranges: Ranges) -> _Row:
    """One choice's column of a place, in the order of the fields."""
    if own is None:
        return _NOTHING
    (code,) = encode([own.name]).tolist()
    values = own.values(ranges)
    if values is None:
        strong = own.operation.standard is not None
        return (code, own.probability, 0.0, 0.0, 0.0, 0.0, 0.0, strong, own.negated)
    low, high = values
    sd, (least, most) = own.sd or 0.0, own.operation.limits(ranges)
    if own.magnitude is not None:
        ends = [own.operation.value_between(end, ranges) for end in (0, MAX_MAGNITUDE)]
        sd, least, most = sd * abs(ends[1] - ends[0]) / MAX_MAGNITUDE, min(ends), max(ends)
    slot = OWN_FIXED if low == high and not sd else OWN_DRAWN
    return (code + 2 * slot, own.probability, low, high, sd, least, most, False, own.negated)
