"""What the declaration of a searched dimension says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from augsearch.search.space.ranges import Range, Real, shown_value
from augsearch.search.space.space import SpaceName
from augsearch.search.space.steps import Step

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True, slots=True)
class Given:
    """The condition that another dimension of the section has one of some values."""

    dimension: str
    values: tuple[Any, ...]

    def holds(self, chosen: Mapping[str, Any]) -> bool:
        """Whether it holds for what is chosen so far."""
        return self.dimension in chosen and chosen[self.dimension] in self.values

    def __str__(self) -> str:
        *others, last = [shown_value(value) for value in self.values]
        values = f"{', '.join(others)} or {last}" if others else last
        return f"`{self.dimension}` is {values}"


@dataclass(frozen=True, slots=True)
class Either:
    """The condition that one of several holds."""

    conditions: tuple[Given, ...]

    def holds(self, chosen: Mapping[str, Any]) -> bool:
        """Whether one holds for what is chosen so far."""
        return any(condition.holds(chosen) for condition in self.conditions)

    def __str__(self) -> str:
        return ", or ".join(map(str, self.conditions))


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a value lands in the section's settings, and how it is read from there."""

    names: tuple[str, ...]
    """The fields; empty where only the condition of other dimensions asks for it."""
    fields: Callable[[Any], dict[str, Any]]
    """From a value to fields and their values; ``mixing.alpha`` is a field of a field."""
    value: Callable[[Any], Any]
    """From the settings to the value."""


def _same(value: Any) -> Any:
    return value


def field(path: str, *, write: Callable[[Any], Any] = _same, read: Callable[[Any], Any] = _same) -> Landing:
    """The field at ``path``; ``write`` turns the dimension's value into the field's, ``read`` the reverse."""
    name = path.partition(".")[0]
    return Landing((name,), lambda value: {path: write(value)}, lambda own: read(attrgetter(path)(own)))


def silent(settings: Any) -> str:
    """Nothing: another dimension's words tell this one too."""
    return ""


@dataclass(frozen=True, slots=True)
class Words:
    """How a dimension is worded for people; each function gets the section's settings."""

    meaning: str
    """What it is, for the documentation."""
    short: Callable[[Any], str] | None = None
    """In a few words, empty where there is nothing to say; None: its name and value, but for the default."""
    full: Callable[[Any], str] | None = None
    """The same for a person who does not know the abbreviations."""
    last: bool = False
    """Whether they come after those of the dimensions that are declared later."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that the search chooses."""

    name: str
    """The name of its parameter in Optuna."""
    range: Range
    default: Any
    """What a baseline has, and where a neighbour starts if the candidate has no value."""
    step: Step
    """How a neighbour moves."""
    words: Words
    when: Given | Either | None = None
    """Without it the dimension means nothing, and is not asked for."""
    lands: Landing | None = None
    """None: in the field of its name."""
    start: tuple[float, float] | None = None
    """Where a neighbour starts, at random between both, if ``when`` did not hold; None: as elsewhere."""
    moves_last: bool = False
    """Whether a neighbour draws it after the dimensions that are declared later."""
    since: int = 1
    """The first edition of the space that has it."""
    space: SpaceName | None = None
    """The space that alone has it; None: all have it."""
    photos: bool = False
    """Whether it is searched for photos alone."""

    @property
    def landing(self) -> Landing:
        """Where its value lands."""
        return self.lands or field(self.name)

    def applies(self, chosen: Mapping[str, Any]) -> bool:
        """Whether it means something beside what is chosen so far."""
        return self.when is None or self.when.holds(chosen)

    def suggested(self, trial: BaseTrial, prefix: str = "") -> Any:
        """The value that the trial's sampler proposes; the parameter's name begins with ``prefix``."""
        return self.range.suggest(trial, prefix + self.name)

    def moved(self, params: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """The value of a neighbour of a trial with ``params``."""
        if self.start is not None and isinstance(self.range, Real) and not self.applies(params):
            return self.range.draw(*self.start, rng)
        return self.step(params.get(self.name, self.default), self.range, rng)

    def said(self, settings: Any, *, full: bool = False) -> str:
        """What its words say of a section's settings; empty where there is nothing to say."""
        said = self.words.full if full else self.words.short
        if said is not None:
            return said(settings)
        value = self.landing.value(settings)
        return "" if value == self.default else f"{self.name.replace('_', ' ')} {shown_value(value)}"


def told_by(other: str, meaning: str) -> Words:
    """The words of a dimension that those of ``other`` tell as well."""
    return Words(f"{meaning} (told with `{other}`)", silent, silent)
