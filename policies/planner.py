"""From what was drawn for a batch to the fused steps that do it; both backends share this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.chains import Shares
from augsearch.policies.effects import Effect, Size, Step, fusable_groups, fuse_group
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS, Noise, Ranges, into_cases

MOST_REMEMBERED = 4096
"""How many rows of codes, effects and steps, each, are remembered for images of one size. RandAugment (2, 9)
has about 500 rows, TrivialAugment 900."""

OWN_FIXED, OWN_DRAWN = MAX_MAGNITUDE + 1, MAX_MAGNITUDE + 2
"""In place of a magnitude, in a code: the value is a policy's own, one of few, or drawn and so hardly ever
the same again."""

_STRENGTHS = MAX_MAGNITUDE + 3


class DrawnOperation(NamedTuple):
    """One operation, drawn for one image."""

    operation: str
    magnitude: int
    negative: bool
    noise: tuple[float, ...]
    value: float | None = None
    """A policy's own value, in the operation's unit, instead of a magnitude."""


Codes = tuple[int, ...]
"""What was drawn for one image: K codes, see ``encode``."""
Values = tuple[float, ...]
"""The own values of K codes; 0 for those that have a magnitude."""
CodedDraw = tuple[Codes, Sequence[Noise] | None, Values | None]
"""The codes of one image, its noise (K, n), and its own values; None where there are none."""


def encode(names: Sequence[str]) -> NDArray[np.int64]:
    """The codes of operations at magnitude 0 and with a positive sign; that of ``identity`` is 0.

    A code is one number for an operation, its magnitude and its sign: add twice the magnitude, and one
    for the negative sign.
    """
    return np.array([2 * _STRENGTHS * OPERATIONS[name].index for name in names], dtype=np.int64)


def decode(code: int) -> tuple[str, int, bool]:
    """Name, magnitude (or ``OWN_FIXED``, ``OWN_DRAWN``) and whether negative, of one code."""
    rest, negative = divmod(code, 2)
    index, magnitude = divmod(rest, _STRENGTHS)
    return list(OPERATIONS)[index], magnitude, bool(negative)


class DrawnChain(NamedTuple):
    """One chain of a mixture, drawn for one image; that of the image itself has no operations."""

    share: float
    """What it contributes to the mixture, of 1."""
    operations: tuple[DrawnOperation, ...]


Happened = DrawnOperation | DrawnChain
"""One thing that was drawn for an image; chains that follow one another are one mixture."""


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """What happens to each of B images: up to K operations in order, as numbers."""

    codes: NDArray[np.int64]
    """(B, K), see ``encode``."""
    noise: NDArray[np.float64] | None
    """(B, K, n) from [0, 1), for operations that are random beyond their sign; None where none is."""
    values: NDArray[np.float64] | None = None
    """(B, K), where codes have own values instead of magnitudes; None where none has."""
    chains: DrawnChains | None = None
    """What happens next, where the policy has chains."""

    def __len__(self) -> int:
        return len(self.codes)

    def coded(self) -> Iterator[CodedDraw]:
        """What was drawn for each image, as plain numbers."""
        codes = map(tuple, self.codes.tolist())
        noise = repeat(None) if self.noise is None else self.noise.tolist()
        values = repeat(None) if self.values is None else map(tuple, self.values.tolist())
        return zip(codes, noise, values, strict=False)

    def images(self) -> Iterator[DrawnImage]:
        """What was drawn for each image."""
        plain = (DrawnImage(self, number, coded) for number, coded in enumerate(self.coded()))
        if self.chains is None:
            return plain
        each = zip(*(chain.images() for chain in self.chains.each), strict=True)
        mixtures = map(Mixture, each, self.chains.shares, self.chains.after.images())
        return (one._replace(mixture=mixture) for one, mixture in zip(plain, mixtures, strict=True))

    def chosen(self, indices: NDArray[np.int64]) -> Draws:
        """The draws of some of the images, without their chains."""
        noise, values = (None if part is None else part[indices] for part in (self.noise, self.values))
        return Draws(self.codes[indices], noise, values)

    def operations(self, index: int) -> tuple[Happened, ...]:
        """What was drawn for one image, in order, without what leaves it as it is."""
        if self.chains is None:
            return self._operations(index)
        made = [(), *(chain._operations(index) for chain in self.chains.each)]
        mixture = map(DrawnChain, self.chains.shares[index].tolist(), made)
        return (*self._operations(index), *mixture, *self.chains.after._operations(index))

    def _operations(self, index: int) -> tuple[DrawnOperation, ...]:
        return tuple(self.operation(index, place) for place in np.flatnonzero(self.codes[index]).tolist())

    def operation(self, index: int, place: int) -> DrawnOperation:
        """What was drawn for one image as its operation number ``place``."""
        name, magnitude, negative = decode(int(self.codes[index, place]))
        noise = () if self.noise is None else self.noise[index, place, : OPERATIONS[name].noise].tolist()
        if magnitude > MAX_MAGNITUDE and self.values is not None:
            return DrawnOperation(name, 0, negative, tuple(noise), float(self.values[index, place]))
        return DrawnOperation(name, magnitude, negative, tuple(noise))


class DrawnImage(NamedTuple):
    """What was drawn for one of many images."""

    draws: Draws
    number: int
    """Which of them."""
    coded: CodedDraw
    """The same as plain numbers."""
    mixture: Mixture | None = None
    """What happens next, where the policy has chains."""


class Mixture(NamedTuple):
    """How one image is mixed with what chains make of it."""

    chains: tuple[DrawnImage, ...]
    shares: Shares
    """(1 + W,)."""
    after: DrawnImage
    """What happens to the mixture."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnChains:
    """How each of B images is mixed with what W chains of operations make of it."""

    shares: Shares
    """(B, 1 + W)."""
    each: tuple[Draws, ...]
    """What every chain does to each image."""
    after: Draws
    """What happens to the mixture."""


def value_of(drawn: DrawnOperation, ranges: Ranges, size: Size) -> float:
    """The physical value of a drawn operation, before its sign; 0 without one."""
    operation = OPERATIONS[drawn.operation]
    if drawn.value is not None:
        return operation.own_value(drawn.value, ranges, size)
    return operation.value(drawn.magnitude, ranges, size)


def effect_of(drawn: DrawnOperation, ranges: Ranges, size: Size) -> Effect | None:
    """What a drawn operation does to an image of ``size``; None: nothing."""
    operation = OPERATIONS[drawn.operation]
    value = value_of(drawn, ranges, size)
    noise = operation.settle(value, drawn.noise, size)
    return operation.effect(-value if drawn.negative else value, noise, size)


_Key = tuple[float, ...]
"""What an effect is remembered by: a code, with its own value, and the cases that its noise fell into."""


class _Decoded(NamedTuple):
    """What a code means for images of one size."""

    key: _Key | None
    """By which it is known; None: its value hardly ever comes again."""
    effect: Callable[[float, Noise, Size], Effect | None]
    value: float
    noise: int
    cases: tuple[int, ...] | None


class Planner:
    """Turns codes into fused steps for images of one size; the same work is the same step, as an object.

    By that a backend finds the images that want the same work.
    """

    def __init__(
        self, ranges: Ranges, size: Size, *, fuse_tables: bool = True, fuse_warps: bool = True
    ) -> None:
        self._ranges, self._size = ranges, size
        self._fuse_tables, self._fuse_warps = fuse_tables, fuse_warps
        self._decoded: dict[_Key, _Decoded] = {}
        self._effects: dict[_Key, Effect | None] = {}
        self._steps: dict[tuple[_Key, ...], Step] = {}
        self._by_codes: dict[Codes | tuple[Codes, Values], tuple[Step, ...]] = {}
        self._remembered: set[Step] = set()

    def steps(
        self, codes: Codes, noise: Sequence[Noise] | None, values: Values | None = None
    ) -> tuple[Step, ...]:
        """The fused steps of one image, whose ``noise`` is (K, n) and whose own ``values`` (K,)."""
        row = codes if values is None else (codes, values)
        known = self._by_codes.get(row)
        if known is not None:
            return known
        effects: list[Effect] = []
        keys: list[_Key | None] = []
        noisy = False
        for position, code in enumerate(codes):
            if code:
                decoded = self._decode(code, values[position] if values else 0.0)
                noisy |= decoded.noise > 0 or decoded.key is None
                own = noise[position] if noise and decoded.noise else ()
                effect, key = self._effect(decoded, own)
                if effect is not None:
                    effects.append(effect)
                    keys.append(key)
        steps = []
        begin = 0
        for group in fusable_groups(effects, tables=self._fuse_tables, warps=self._fuse_warps):
            steps.append(self._step(group, keys[begin : begin + len(group)]))
            begin += len(group)
        result = tuple(steps)
        if not noisy and len(self._by_codes) < MOST_REMEMBERED:
            self._by_codes[row] = result
        return result

    def remembers(self, step: Step) -> bool:
        """Whether ``step`` may come again, as the same object."""
        return step in self._remembered

    def stages(self, draws: Draws) -> list[dict[Step, list[int]]]:
        """What to do to a batch: all first steps, all second ones, …, each step with its images' indices."""
        stages: list[dict[Step, list[int]]] = []
        for index, drawn in enumerate(draws.coded()):
            for depth, step in enumerate(self.steps(*drawn)):
                if depth == len(stages):
                    stages.append({})
                stages[depth].setdefault(step, []).append(index)
        return stages

    def _decode(self, code: int, own: float) -> _Decoded:
        key = (code, own)
        known = self._decoded.get(key)
        if known is not None:
            return known
        name, magnitude, negative = decode(code)
        operation = OPERATIONS[name]
        if magnitude > MAX_MAGNITUDE:
            value = operation.own_value(own, self._ranges, self._size)
        else:
            value = operation.value(magnitude, self._ranges, self._size)
        cases = operation.cases(value, self._size) if operation.cases else None
        signed = -value if negative else value
        once = magnitude == OWN_DRAWN
        decoded = _Decoded(None if once else key, operation.effect, signed, operation.noise, cases)
        if not once and len(self._decoded) < MOST_REMEMBERED:
            self._decoded[key] = decoded
        return decoded

    def _effect(self, decoded: _Decoded, noise: Noise) -> tuple[Effect | None, _Key | None]:
        """An effect, and the key under which it is known; None: it never comes again."""
        known_by, effect_of, value, wanted, cases = decoded
        if cases:
            noise = into_cases(noise[:wanted], cases)
        if known_by is None or (wanted and not cases):
            return effect_of(value, noise[:wanted], self._size), None
        key = (*known_by, *noise)
        if key in self._effects:
            return self._effects[key], key
        effect = effect_of(value, noise, self._size)
        if len(self._effects) < MOST_REMEMBERED:
            self._effects[key] = effect
        return effect, key

    def _step(self, group: list[Effect], keys: list[_Key | None]) -> Step:
        """The step that a group of effects fuses into."""
        if None in keys:
            return fuse_group(group)
        key = cast(tuple[_Key, ...], tuple(keys))
        step = self._steps.get(key)
        if step is None:
            step = fuse_group(group)
            if len(self._steps) < MOST_REMEMBERED:
                self._steps[key] = step
                self._remembered.add(step)
        return step
