"""The registry of operations: the decorator that declares one, its ranges, its sets and all else about it.

Magnitudes: a user says 0–30; an operation sees the physical value. The operations that torchvision's
``RandAugment`` and ``TrivialAugmentWide`` also have mean at every magnitude what torchvision's mean;
their ranges are ``standard`` and ``wide``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from augsearch.policies.effects import Effect, Size

MAX_MAGNITUDE = 30
"""Magnitudes are whole numbers from 0 to this, RandAugment's scale."""

Ranges = Literal["standard", "wide"]
"""``standard``: RandAugment's values for magnitudes 0–30. ``wide``: TrivialAugment's."""

Noise = Sequence[float]
"""Independent draws from [0, 1)."""

Kind = Literal["warp", "table", "colour", "kernel", "patch"]
"""What an operation does to an image, see ``effects.py``."""

OperationSet = Literal["randaugment", "colour", "geometry", "wide", "basic"]
"""The sets that an operation can be in; ``basic`` is that of the transforms which every ``Policy`` has."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values that magnitudes 0 and 30 stand for; those between are evenly spaced."""

    weakest: float
    strongest: float
    side: Literal["height", "width"] | None = None
    """Values are multiplied by this side of the image, to give pixels."""
    whole: bool = False
    """Values are rounded to whole numbers, halves to the even one, as torchvision does."""
    farthest: float | None = None
    """How far a policy's own values may go from ``weakest``; None: to ``strongest``."""

    def value(self, magnitude: int, size: Size) -> float:
        """What ``magnitude`` (0–30) means for an image of ``size``."""
        scale = getattr(size, self.side) if self.side else 1
        return _spaced(self.weakest * scale, self.strongest * scale, self.whole)[magnitude]

    def between(self, magnitude: float) -> float:
        """What a ``magnitude`` (0–30), whole or not, means; in shares of the side where there is one."""
        return self.weakest + (self.strongest - self.weakest) * magnitude / MAX_MAGNITUDE

    def own(self, value: float, size: Size) -> float:
        """A value in this range's unit for an image of ``size``: in pixels, or whole, where values are."""
        # In float32 as the values of magnitudes: 150 / 331 of 331 pixels are 150.
        scaled = float(np.float32(value * getattr(size, self.side))) if self.side else value
        return float(round(scaled)) if self.whole else scaled


@dataclass(frozen=True, slots=True)
class Cases:
    """Noise of an operation that can turn out in a few ways only."""

    noise: int
    """How many random numbers it takes."""
    counts: Callable[[float, Size], tuple[int, ...]]
    """``counts(value, size)``: for each random number, between how many cases it decides."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the registry."""

    name: str
    index: int
    """Its place in the registry, counted from 0."""
    kind: Kind
    sets: tuple[OperationSet, ...]
    """In the order of ``OPERATION_SETS``."""
    effect: Callable[[float, Noise, Size], Effect | None]
    """``effect(value, settled noise, size)``; None where it would change nothing."""
    standard: Range | None
    """The values of magnitudes 0–30; None: the operation has no magnitude."""
    wide: Range | None
    """The same with ``wide`` ranges."""
    unit: str
    """The unit of its value, see ``describe.py``; empty without a magnitude."""
    signed: bool
    """Half of the time the value is negated."""
    noise: int
    """How many independent random numbers it takes beside its value."""
    cases: Callable[[float, Size], tuple[int, ...]] | None
    """``Cases.counts``, where there are. Each random number then is a case, 0 to n − 1, and images with the
    same case share what is made ready for them."""
    identity: float | None
    """The value at which it changes nothing, where there is one."""
    summary: str
    """What it does, in a sentence."""

    def value(self, magnitude: int, ranges: Ranges, size: Size) -> float:
        """The physical value of ``magnitude`` (0–30), before its sign; 0 without a magnitude."""
        chosen = self._range(ranges)
        return chosen.value(magnitude, size) if chosen else 0.0

    def value_between(self, magnitude: float, ranges: Ranges) -> float:
        """The value of a ``magnitude``, whole or not, see ``Range.between``; 0 without a magnitude."""
        chosen = self._range(ranges)
        return chosen.between(magnitude) if chosen else 0.0

    def own_value(self, value: float, ranges: Ranges, size: Size) -> float:
        """A policy's own value, before its sign, for an image of ``size``, see ``Range.own``."""
        chosen = self._range(ranges)
        return chosen.own(value, size) if chosen else 0.0

    def limits(self, ranges: Ranges) -> tuple[float, float]:
        """The lowest and the highest own value that a policy may give."""
        chosen = self._range(ranges)
        if chosen is None:
            return 0.0, 0.0
        end = chosen.strongest if chosen.farthest is None else chosen.farthest
        return (-end, end) if self.signed else (min(chosen.weakest, end), max(chosen.weakest, end))

    def unit_of(self, ranges: Ranges) -> str:
        """The unit of own values."""
        chosen = self._range(ranges)
        return f"share of the {chosen.side}" if chosen and chosen.side else self.unit

    def _range(self, ranges: Ranges) -> Range | None:
        return self.wide if ranges == "wide" else self.standard

    def settle(self, value: float, noise: Noise, size: Size) -> Noise:
        """The noise as ``effect`` takes it: the numbers themselves, or the case that each falls into."""
        if self.cases is None:
            return noise
        return into_cases(noise, self.cases(value, size))


OPERATIONS: dict[str, Operation] = {}
"""Every operation by name, in the order of declaration; ``@operation`` fills it."""

OPERATION_SETS: dict[str, tuple[str, ...]] = {"randaugment": (), "colour": (), "geometry": (), "wide": ()}
"""Names of operations by what they are good for, each set in the order of declaration; ``@operation`` fills
them. All have the identity, which leaves an image as it is. The basic transforms are in none of these."""


@cache
def _spaced(weakest: float, strongest: float, whole: bool) -> tuple[float, ...]:
    """31 evenly spaced values, in the arithmetic of ``torch.linspace``: float32, fused multiply-add.

    The last bit matters: a translation is cut to whole pixels, and 16.0 and 15.999999 differ by one.
    """
    start, end = np.float32(weakest), np.float32(strongest)
    step = np.float64((end - start) / np.float32(MAX_MAGNITUDE))
    counts = np.arange(MAX_MAGNITUDE + 1, dtype=np.float64)
    half = (MAX_MAGNITUDE + 1) // 2
    values = np.where(counts < half, start + step * counts, end - step * counts[::-1]).astype(np.float32)
    if whole:
        values = np.round(values)
    return tuple(float(value) for value in values)


def into_cases(noise: Noise, counts: Sequence[int]) -> Noise:
    """The case, of as many as ``counts`` says, that each number from [0, 1) falls into."""
    return [int(draw * count) for draw, count in zip(noise, counts, strict=True)]


def operation(
    kind: Kind,
    standard: Range | None = None,
    *,
    sets: Sequence[OperationSet],
    wide: Range | None = None,
    unit: str = "",
    signed: bool = False,
    noise: int | Cases = 0,
    identity: float | None = None,
) -> Callable[[Callable[..., Effect | None]], Callable[..., Effect | None]]:
    """Register the function below, whose name and docstring become the operation's.

    The function takes the value if there is a ``standard`` range, then the noise if ``noise`` asks for any,
    then the image's size if it has a parameter ``size``. ``Operation`` says what the arguments mean.

    Raises:
        ValueError: there is an operation of that name already, or no set of such a name.
    """

    def register(function: Callable[..., Effect | None]) -> Callable[..., Effect | None]:
        wants_size = "size" in inspect.signature(function).parameters

        def effect(value: float, draws: Noise, size: Size) -> Effect | None:
            arguments: list[Any] = [value] if standard else []
            if noise:
                arguments.append(draws)
            if wants_size:
                arguments.append(size)
            return function(*arguments)

        _add(
            Operation(
                name=function.__name__,
                index=len(OPERATIONS),
                kind=kind,
                sets=_in_order(sets),
                effect=effect,
                standard=standard,
                wide=wide or standard,
                unit=unit,
                signed=signed,
                noise=noise.noise if isinstance(noise, Cases) else noise,
                cases=noise.counts if isinstance(noise, Cases) else None,
                identity=identity,
                summary=" ".join((function.__doc__ or "").split()),
            )
        )
        return function

    return register


def _in_order(sets: Sequence[OperationSet]) -> tuple[OperationSet, ...]:
    known = get_args(OperationSet)
    unknown = [name for name in sets if name not in known]
    if unknown or not sets:
        raise ValueError(f"sets must be some of {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    return tuple(name for name in known if name in sets)


def _add(added: Operation) -> None:
    if added.name in OPERATIONS:
        raise ValueError(f"there is an operation {added.name} already")
    OPERATIONS[added.name] = added
    for name in added.sets:
        if name in OPERATION_SETS:
            OPERATION_SETS[name] = (*OPERATION_SETS[name], added.name)
