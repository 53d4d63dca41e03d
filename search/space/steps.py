"""How a neighbour moves along one dimension.

A step is called with the present value, the dimension's range and a random stream, and returns a value in the
range. How many numbers it draws is part of what it promises: a search with a fixed seed hangs on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from augsearch.search.space.ranges import Choice, Integer, Real, shown_value


class Step(Protocol):
    """A move along one dimension; as a string it says how far it goes."""

    def __call__(self, value: Any, range_: Any, rng: np.random.Generator, /) -> Any:
        """The value after the step, in ``range_``."""
        ...


@dataclass(frozen=True, slots=True)
class Stay:
    """No move, and no random number."""

    def __call__(self, value: Any, range_: Any, rng: np.random.Generator, /) -> Any:
        """``value``."""
        return value

    def __str__(self) -> str:
        return "stays"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number up to ``reach`` to either side, and not below ``least`` where that is given."""

    reach: int
    least: int | None = None
    turns_back: bool = False
    """Whether a step below the range goes up by as much instead, so that it is not left less often."""

    def __call__(self, value: int, range_: Integer, rng: np.random.Generator, /) -> int:
        """The value after the step."""
        least = range_.low if self.least is None else self.least
        moved = value + rng.integers(-self.reach, self.reach + 1)
        if self.turns_back and moved < least:
            moved = 2 * least - moved
        return int(np.clip(moved, least, range_.high))

    def __str__(self) -> str:
        least = "" if self.least is None else f", at least {self.least}"
        return f"up to ± {self.reach}{least}"


@dataclass(frozen=True, slots=True)
class Normal:
    """A normally distributed step of standard deviation ``sd``; on a logarithmic range, of the logarithm."""

    sd: float

    def __call__(self, value: float, range_: Real, rng: np.random.Generator, /) -> float:
        """The value after the step."""
        step = rng.normal(0, self.sd)
        moved = value * np.exp(step) if range_.log else value + step
        return float(np.clip(moved, range_.low, range_.high))

    def __str__(self) -> str:
        return f"standard deviation {self.sd:g}"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Drawn anew between ``low`` and ``high``, wherever it was."""

    low: float
    high: float

    def __call__(self, value: float, range_: Real, rng: np.random.Generator, /) -> float:
        """The value after the step."""
        return range_.draw(self.low, self.high, rng)

    def __str__(self) -> str:
        return f"drawn anew from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Flip:
    """To the other of two values, with probability ``chance``."""

    chance: float

    def __call__(self, value: Any, range_: Choice, rng: np.random.Generator, /) -> Any:
        """The value after the step."""
        first, second = range_.values
        if rng.random() < self.chance:
            return second if value == first else first
        return value

    def __str__(self) -> str:
        return f"to the other in {self.chance:.0%}"


@dataclass(frozen=True, slots=True)
class Redraw:
    """Drawn anew from all values, the present one included, with probability ``chance``."""

    chance: float

    def __call__(self, value: Any, range_: Choice, rng: np.random.Generator, /) -> Any:
        """The value after the step."""
        if rng.random() < self.chance:
            return range_.values[int(rng.integers(len(range_.values)))]
        return value

    def __str__(self) -> str:
        return f"drawn anew in {self.chance:.0%}"


@dataclass(frozen=True, slots=True)
class Leave:
    """From ``value`` to another one, with probability ``chance``; from elsewhere the step ``otherwise``."""

    value: Any
    chance: float
    otherwise: Step

    def __call__(self, value: Any, range_: Choice, rng: np.random.Generator, /) -> Any:
        """The value after the step."""
        if value != self.value:
            return self.otherwise(value, range_, rng)
        others = Choice([other for other in range_.values if other != self.value])
        return Redraw(self.chance)(value, others, rng)

    def __str__(self) -> str:
        return f"from {shown_value(self.value)} to another in {self.chance:.0%}, else {self.otherwise}"


@dataclass(frozen=True, slots=True)
class Toss:
    """To ``value`` with probability ``chance``, or ``kept`` if it is that already; else to the other one."""

    value: Any
    chance: float
    kept: float | None = None

    def __call__(self, value: Any, range_: Choice, rng: np.random.Generator, /) -> Any:
        """The value after the step."""
        (other,) = (one for one in range_.values if one != self.value)
        chance = self.chance if self.kept is None or value != self.value else self.kept
        return self.value if rng.random() < chance else other

    def __str__(self) -> str:
        kept = "" if self.kept is None else f", {self.kept:.0%} where it was that"
        return f"{shown_value(self.value)} in {self.chance:.0%}{kept}"
