"""The values that a searched dimension may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True, slots=True)
class Integer:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def suggest(self, trial: BaseTrial, name: str) -> int:
        """The value that the trial's sampler proposes for the parameter ``name``."""
        return trial.suggest_int(name, self.low, self.high)

    def nearest(self, value: float) -> int:
        """The value in the range that is nearest to ``value``."""
        return min(max(round(value), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Real:
    """Numbers from ``low`` to ``high``, both included; ``log``: evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: BaseTrial, name: str) -> float:
        """The value that the trial's sampler proposes for the parameter ``name``."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def nearest(self, value: float) -> float:
        """The value in the range that is nearest to ``value``."""
        return min(max(value, self.low), self.high)

    def draw(self, low: float, high: float, rng: np.random.Generator) -> float:
        """A number from ``low`` to ``high``, evenly on the range's scale."""
        if self.log:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return float(rng.uniform(low, high))

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values without an order."""

    values: Sequence[Any]

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """The value that the trial's sampler proposes for the parameter ``name``."""
        return trial.suggest_categorical(name, list(self.values))

    def __str__(self) -> str:
        return ", ".join(shown_value(value) for value in self.values)


SWITCH = Choice((True, False))
"""On or off."""

Range = Integer | Real | Choice


def shown_value(value: Any) -> str:
    """A dimension's value as people read it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
