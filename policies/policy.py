"""A policy: which operations, how many, how strong, and the drawing of what happens to each image."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator, model_validator

from augsearch.policies import opencv
from augsearch.policies.errors import UserError
from augsearch.policies.kinds import Effect, Size, Step, fuse
from augsearch.policies.mixing import Mixing
from augsearch.policies.operations import MAX_MAGNITUDE, OPERATIONS, RANDAUGMENT, Ranges

Images = NDArray[np.uint8]

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

CROP_MAGNITUDE = 15
"""The random crop's padding: an eighth of the side, the customary 4 pixels of 32."""


MOST_PROGRAMS = 4096
"""Programs remembered for images of one size: RandAugment (2, 9) has about 500, TrivialAugment 900."""


class Drawn(NamedTuple):
    """One operation, drawn for one image."""

    operation: str
    magnitude: int
    negative: bool
    noise: tuple[float, ...]


Recipe = tuple[Drawn, ...]
"""What happens to one image, in order."""


class Policy(BaseModel):
    """An augmentation policy in RandAugment's manner (Cubuk et al. 2019, arXiv:1909.13719).

    First the basic transforms, each with its probability; then ``num_ops`` operations, drawn uniformly
    and with replacement from ``operations``. ``Policy(num_ops=2, magnitude=9)`` is RandAugment (2, 9).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_ops: Annotated[StrictInt, Field(ge=0, le=8)] = 2
    """N: operations for each image."""
    magnitude: StrictInt | Literal["random"] = 9
    """M: 0–30, or ``random``: drawn anew for every operation (TrivialAugment)."""
    ranges: Ranges = "standard"
    """What magnitudes mean: RandAugment's values, or TrivialAugment's ``wide`` ones."""
    operations: tuple[str, ...] = RANDAUGMENT
    crop: Probability = 0.0
    """Probability of a random crop after padding each side by an eighth."""
    flip_horizontal: Probability = 0.0
    flip_vertical: Probability = 0.0
    quarter_turns: Probability = 0.0
    """Probability of a turn by 90°, 180° or 270°."""
    mixing: Mixing | None = None
    """CutMix or MixUp of whole batches."""
    interpolation: opencv.Interpolation = "nearest"
    border: opencv.Border = "fill"
    fill: tuple[StrictInt, StrictInt, StrictInt] = (0, 0, 0)
    """RGB of pixels that come from outside the image; grey images take the first."""

    @field_validator("magnitude")
    @classmethod
    def _magnitude_in_range(cls, magnitude: int | str) -> int | str:
        if isinstance(magnitude, int) and not 0 <= magnitude <= MAX_MAGNITUDE:
            raise ValueError(f"must be a whole number from 0 to {MAX_MAGNITUDE} or 'random', got {magnitude}")
        return magnitude

    @field_validator("operations")
    @classmethod
    def _operations_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in OPERATIONS:
                raise ValueError(f"unknown operation {name!r}; known are {', '.join(OPERATIONS)}")
        if len(set(names)) < len(names):
            raise ValueError(f"each operation may stand there once, got {', '.join(names)}")
        return names

    @field_validator("fill")
    @classmethod
    def _fill_is_a_colour(cls, fill: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(0 <= level <= 255 for level in fill):
            raise ValueError(f"must be three grey levels from 0 to 255, got {list(fill)}")
        return fill

    @model_validator(mode="after")
    def _something_to_draw(self) -> Policy:
        if self.num_ops and not self.operations:
            raise ValueError(f"operations must not be empty when num_ops is {self.num_ops}")
        return self

    @property
    def sampling(self) -> opencv.Sampling:
        """How warps and patches meet pixels outside the image."""
        return opencv.Sampling(self.interpolation, self.border, self.fill)

    def draw(self, count: int, rng: np.random.Generator) -> list[Recipe]:
        """Draw what happens to each of ``count`` images."""
        basic = self._draw_basic(count, rng)
        choices = rng.integers(max(len(self.operations), 1), size=(count, self.num_ops)).tolist()
        if self.magnitude == "random":
            magnitudes = rng.integers(MAX_MAGNITUDE + 1, size=(count, self.num_ops)).tolist()
        else:
            magnitudes = [[self.magnitude] * self.num_ops] * count
        negatives = (rng.random((count, self.num_ops)) < 0.5).tolist()
        names = self.operations
        return [
            (
                *first,
                *(_drawn(names[choice], magnitude, negative, rng) for choice, magnitude, negative in own),
            )
            for first, own in zip(basic, map(zip, choices, magnitudes, negatives), strict=True)
        ]

    def _draw_basic(self, count: int, rng: np.random.Generator) -> list[list[Drawn]]:
        basic: list[list[Drawn]] = [[] for _ in range(count)]
        turns = ("rotate_90", "rotate_180", "rotate_270")
        for names, probability in (
            (("crop",), self.crop),
            (("flip_horizontal",), self.flip_horizontal),
            (("flip_vertical",), self.flip_vertical),
            (turns, self.quarter_turns),
        ):
            if probability > 0:
                for image in np.flatnonzero(rng.random(count) < probability).tolist():
                    name = names[int(rng.integers(len(names)))] if len(names) > 1 else names[0]
                    basic[image].append(_drawn(name, CROP_MAGNITUDE, False, rng))
        return basic

    def steps(self, recipe: Recipe, size: Size) -> tuple[Step, ...]:
        """The fused steps of ``recipe`` for an image of ``size``."""
        effects = (effect_of(drawn, self.ranges, size) for drawn in recipe)
        return fuse(effect for effect in effects if effect is not None)

    def apply(self, recipe: Recipe, image: Images) -> Images:
        """``image``, uint8 (H, W, C), after ``recipe``; the input is never changed."""
        size = Size(*image.shape[:2])
        program = opencv.prepare(self.steps(recipe, size), size, image.shape[2], self.sampling)
        return opencv.run(program, image)

    def augment(self, images: Images, rng: np.random.Generator) -> Images:
        """A new batch, each image augmented by its own draw; ``images``: uint8 (B, H, W, C), C = 1 or 3."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise UserError(f"images must be uint8 (B, H, W, C) with C 1 or 3, got {_shown(images)}")
        augmented = np.empty_like(images)
        if images.size == 0:
            return augmented
        size, channels, sampling = Size(*images.shape[1:3]), images.shape[3], self.sampling
        programs = _programs(self.ranges, size, channels, sampling)
        for index, recipe in enumerate(self.draw(len(images), rng)):
            program = programs.get(recipe)
            if program is None:
                program = opencv.prepare(self.steps(recipe, size), size, channels, sampling)
                if len(programs) < MOST_PROGRAMS and not any(drawn.noise for drawn in recipe):
                    programs[recipe] = program
            augmented[index] = opencv.run(program, images[index])
        return augmented

    def batch_transform(self, seed: int) -> Callable[[Images], Images]:
        """A function for batches, uint8 (B, H, W, C) in and out, with its own random stream."""
        rng = np.random.default_rng(seed)
        return lambda images: self.augment(images, rng)

    def transform(self, seed: int) -> Callable[[Images], Images]:
        """A function for single images, uint8 (H, W) or (H, W, C) in and out, with its own stream."""
        rng = np.random.default_rng(seed)

        def augment(image: Images) -> Images:
            if image.ndim not in (2, 3):
                raise UserError(f"an image must be uint8 (H, W) or (H, W, C), got {_shown(image)}")
            stacked = image.reshape(1, *image.shape[:2], -1)
            return self.augment(stacked, rng).reshape(image.shape)

        return augment

    def describe(self, drawn: Drawn, size: Size) -> str:
        """``rotate -9°``: an operation and its value for an image of ``size``."""
        operation = OPERATIONS[drawn.operation]
        name = operation.name.replace("_", " ")
        if operation.standard is None:
            return name
        value = operation.value(drawn.magnitude, self.ranges, size)
        sign = "" if not operation.signed else "-" if drawn.negative else "+"
        shown = f"{int(value)}" if operation.unit == "px" else f"{value:.3g}"
        return f"{name} {sign}{shown}{_unit(operation.unit)}"


TRIVIALAUGMENT = Policy(num_ops=1, magnitude="random", ranges="wide")
"""TrivialAugment Wide (Müller and Hutter 2021, arXiv:2103.10158)."""


@lru_cache(maxsize=16)
def _programs(
    ranges: Ranges, size: Size, channels: int, sampling: opencv.Sampling
) -> dict[Recipe, opencv.Program]:
    """The programs made so far for such images, by recipe; ``augment`` fills it."""
    return {}


def _drawn(name: str, magnitude: int, negative: bool, rng: np.random.Generator) -> Drawn:
    noise = OPERATIONS[name].noise
    if noise:
        return Drawn(name, magnitude, negative and OPERATIONS[name].signed, tuple(rng.random(noise).tolist()))
    return _without_noise(name, magnitude, negative)


@cache
def _without_noise(name: str, magnitude: int, negative: bool) -> Drawn:
    operation = OPERATIONS[name]
    return Drawn(name, magnitude if operation.standard else 0, negative and operation.signed, ())


def effect_of(drawn: Drawn, ranges: Ranges, size: Size) -> Effect | None:
    """What a drawn operation does to an image of ``size``; None: nothing."""
    operation = OPERATIONS[drawn.operation]
    value = operation.value(drawn.magnitude, ranges, size)
    return operation.effect(-value if drawn.negative else value, drawn.noise, size)


def _unit(unit: str) -> str:
    return {"°": "°", "px": " px", "bits": " bits"}.get(unit, "")


def _shown(value: Any) -> str:
    return f"{getattr(value, 'dtype', type(value).__name__)} {getattr(value, 'shape', '')}".strip()
