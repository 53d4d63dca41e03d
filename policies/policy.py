"""A policy: which operations, how many, how strong, and the drawing of what happens to each image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

import augsearch.policies.operations  # noqa: F401  (declares them)
from augsearch.policies.backends.engine import run_draws
from augsearch.policies.backends.opencv import deep
from augsearch.policies.backends.opencv.prepared import Image
from augsearch.policies.backends.opencv.runner import run
from augsearch.policies.bands import COLOURS, are_channels, by_band
from augsearch.policies.chains import Chains, mixed
from augsearch.policies.choices import Choice, Probability, checked_name, in_order, names_in
from augsearch.policies.describe import shown_value
from augsearch.policies.drawing import Column, choice_table, draw_fixed, draw_names, draw_with_probability
from augsearch.policies.effects import Size, fuse
from augsearch.policies.errors import UserError, explain, shown
from augsearch.policies.json_files import POLICY_FILE
from augsearch.policies.mixing import Mixing
from augsearch.policies.planner import (
    DrawnChain,
    DrawnChains,
    DrawnOperation,
    Draws,
    Happened,
    effect_of,
    value_of,
)
from augsearch.policies.ready import is_ready_name, ready_fields
from augsearch.policies.regions import Erasing, ResizedCrop
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATION_SETS, OPERATIONS, Ranges
from augsearch.policies.sampling import Border, Interpolation, Sampling
from augsearch.policies.transforms import BatchTransform, ImageTransform

RANDAUGMENT: tuple[str, ...] = OPERATION_SETS["randaugment"]
"""RandAugment's fourteen operations (Cubuk et al. 2019, arXiv:1909.13719)."""

MOST_CHOICES = 1000
"""That a policy may have, so that no stranger's file takes long to read."""

CROP_MAGNITUDE = 15
"""The random crop's padding: an eighth of the side, the customary 4 pixels of 32."""


class Policy(BaseModel):
    """An augmentation policy in RandAugment's manner (Cubuk et al. 2019, arXiv:1909.13719).

    First the basic transforms, each with its probability; then ``num_ops`` operations, drawn uniformly
    and with replacement from ``operations``. ``Policy(num_ops=2, magnitude=9)`` is RandAugment (2, 9).
    An entry of ``operations`` may say more than a name: see ``choices.OwnOperation``, ``OperationSequence``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_ops: Annotated[StrictInt, Field(ge=0, le=8)] = 2
    """N: operations for each image."""
    magnitude: StrictInt | Literal["random"] = 9
    """M: 0–30, or ``random``: drawn anew for every operation (TrivialAugment)."""
    ranges: Ranges = "standard"
    """What magnitudes mean: RandAugment's values, or TrivialAugment's ``wide`` ones."""
    operations: Annotated[tuple[Choice, ...], Field(max_length=MOST_CHOICES)] = RANDAUGMENT
    """What is drawn from: names, operations with a strength or probability of their own, sequences."""
    crop: Probability = 0.0
    """Probability of a random crop after padding each side by an eighth."""
    flip_horizontal: Probability = 0.0
    flip_vertical: Probability = 0.0
    quarter_turns: Probability = 0.0
    """Probability of a turn by 90°, 180° or 270°."""
    resized_crop: ResizedCrop | None = None
    """A random part of every image, enlarged; before all else, and of a photo before it is made small."""
    erasing: Erasing | None = None
    """A random rectangle that is filled; after the operations."""
    chains: Chains | None = None
    """The operations are chains, each of up to ``num_ops``, whose results are mixed with the image."""
    mixing: Mixing | None = None
    """CutMix or MixUp of whole batches."""
    interpolation: Interpolation = "nearest"
    border: Border = "fill"
    fill: tuple[StrictInt, StrictInt, StrictInt] = (0, 0, 0)
    """RGB of pixels that come from outside the image; grey images take the first."""
    fuse_warps: StrictBool = True
    """Warps in a row are one sampling, which keeps what a later one brings back; else each is its own, as in
    torchvision."""

    @field_validator("magnitude")
    @classmethod
    def _magnitude_in_range(cls, magnitude: int | str) -> int | str:
        if isinstance(magnitude, int) and not 0 <= magnitude <= MAX_MAGNITUDE:
            raise ValueError(f"must be a whole number from 0 to {MAX_MAGNITUDE} or 'random', got {magnitude}")
        return magnitude

    @field_validator("operations")
    @classmethod
    def _operations_known(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        names = [checked_name(choice) for choice in choices if isinstance(choice, str)]
        if len(set(names)) < len(names):
            raise ValueError(f"each operation may stand there once, got {', '.join(names)}")
        return choices

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
        for choice in self.operations:
            if not isinstance(choice, str):
                for operation in in_order(choice):
                    operation.check_limits(self.ranges)
        if self.num_ops and self.chains is not None and self.chains.shortest > self.num_ops:
            raise ValueError(
                f"chains.shortest must be at most num_ops, got {self.chains.shortest} and {self.num_ops}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_where_it_can(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Hashes of plain policies, by which trainings are known again, are those of earlier versions.
        written: dict[str, Any] = write(self)
        if self.fuse_warps:
            written.pop("fuse_warps", None)  # not there where only what was set is written
        for name in ("resized_crop", "erasing", "chains"):
            if getattr(self, name) is None:
                written.pop(name, None)
        return written

    @property
    def sampling(self) -> Sampling:
        """How warps and patches meet pixels outside the image."""
        return Sampling(self.interpolation, self.border, self.fill, self.fuse_warps)

    def draw(self, count: int, rng: np.random.Generator) -> Draws:
        """Draw what happens to each of ``count`` images."""
        before = [*self._draw_cropped(count, rng), *self._draw_basic(count, rng)]
        if self.chains is None or not self.num_ops:
            operations = [*self._draw_operations(self.num_ops, count, rng), *self._draw_erased(count, rng)]
            return self._drawn([*before, *operations], count, rng)
        return replace(
            self._drawn(before, count, rng),
            chains=DrawnChains(
                self.chains.draw_shares(count, rng),
                tuple(
                    self._drawn(self._draw_chain(self.chains, count, rng), count, rng)
                    for _ in range(self.chains.width)
                ),
                self._drawn([*self._draw_erased(count, rng)], count, rng),
            ),
        )

    def _drawn(self, columns: list[Column], count: int, rng: np.random.Generator) -> Draws:
        if not columns:
            return Draws(np.zeros((count, 0), dtype=np.int64), None)
        codes = np.stack([codes for codes, _ in columns], axis=1)
        basic = {"crop": self.crop, "resized_crop": self.resized_crop, "erase": self.erasing}
        drawable = [*(self.names if self.num_ops else ()), *(name for name, used in basic.items() if used)]
        noise = max((OPERATIONS[name].noise for name in drawable), default=0)
        values = None
        if any(own is not None for _, own in columns):
            values = np.stack([np.zeros(count) if own is None else own for _, own in columns], axis=1)
        return Draws(codes, rng.random((*codes.shape, noise)) if noise else None, values)

    def _draw_cropped(self, count: int, rng: np.random.Generator) -> Iterator[Column]:
        if self.resized_crop is not None:
            yield draw_fixed("resized_crop", self.resized_crop.smallest, 1.0, count, rng)

    def _draw_erased(self, count: int, rng: np.random.Generator) -> Iterator[Column]:
        if self.erasing is not None:
            yield draw_fixed("erase", self.erasing.largest, self.erasing.probability, count, rng)

    def _draw_basic(self, count: int, rng: np.random.Generator) -> Iterator[Column]:
        for names, magnitude, probability in (
            (("crop",), CROP_MAGNITUDE, self.crop),
            (("flip_horizontal",), 0, self.flip_horizontal),
            (("flip_vertical",), 0, self.flip_vertical),
            (("rotate_90", "rotate_180", "rotate_270"), 0, self.quarter_turns),
        ):
            if probability > 0:
                yield draw_with_probability(names, magnitude, probability, count, rng)

    def _draw_chain(self, chains: Chains, count: int, rng: np.random.Generator) -> list[Column]:
        """As many operations as the chain of each image has."""
        lengths = chains.draw_lengths(self.num_ops, count, rng)
        return [
            (np.where(place < lengths, codes, 0), None if own is None else np.where(place < lengths, own, 0))
            for place in range(self.num_ops)
            for codes, own in self._draw_operations(1, count, rng)
        ]

    def _draw_operations(self, num_ops: int, count: int, rng: np.random.Generator) -> Iterator[Column]:
        plain = [choice for choice in self.operations if isinstance(choice, str)]
        if len(plain) == len(self.operations):
            return draw_names(plain, num_ops, self.magnitude, count, rng)
        return choice_table(self.operations, self.ranges).draw(num_ops, self.magnitude, count, rng)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the operations that may be drawn, those in sequences too, each once."""
        return tuple(dict.fromkeys(names_in(self.operations)))

    @property
    def draws_names(self) -> bool:
        """Whether its operations are names alone, without a weight, probability or strength of their own."""
        return all(isinstance(choice, str) for choice in self.operations)

    @property
    def format_version(self) -> Literal[1, 2, 3, 4]:
        """The first version of policy files that can say it."""
        if self.chains is not None:
            return 4
        if self.resized_crop is not None or self.erasing is not None:
            return 3
        return 1 if self.fuse_warps and self.draws_names else 2

    def apply(self, operations: Iterable[Happened], image: Image) -> Image:
        """``image``, uint8 (H, W, C), after ``operations`` in turn; the input is never changed."""
        for are_chains, some in groupby(operations, key=lambda one: isinstance(one, DrawnChain)):
            if are_chains:
                chains = cast(list[DrawnChain], list(some))
                made = [self._applied(chain.operations, image) for chain in chains]
                image = mixed(made, np.array([chain.share for chain in chains], dtype=np.float32))
            else:
                image = self._applied(cast(Iterator[DrawnOperation], some), image)
        return image

    def _applied(self, operations: Iterable[DrawnOperation], image: Image) -> Image:
        size = Size(*image.shape[:2])
        effects = (effect_of(drawn, self.ranges, size) for drawn in operations)
        steps = fuse((effect for effect in effects if effect is not None), warps=self.fuse_warps)
        return by_band(lambda one: run(steps, one, self.sampling), image)

    def augment(
        self, images: NDArray[Any], rng: np.random.Generator, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """A new batch, each image augmented by its own draw; or ``out``, filled with it.

        Args:
            images: (B, H, W, C), uint8, uint16 of which 65,535 is white, or floating in [0, 1]. C = 1 is
                grey, C = 3 RGB, and of any other number up to 16 each channel is a band by itself, see
                ``bands.py``.
            rng: draws.
            out: of the same shape and dtype, in memory of its own, C-contiguous. At 224 px a batch into
                memory that is there already takes a seventh less time.

        Raises:
            UserError: ``images`` or ``out`` are something else.
        """
        fits = isinstance(images, np.ndarray) and images.ndim == 4 and are_channels(images.shape[3])
        if not fits or not (images.dtype == np.uint8 or deep.is_deep(images.dtype)):
            raise UserError(
                "images must be an array (B, H, W, C), uint8, uint16 or floating, C 1 to 16, "
                f"got {shown(images)}"
            )
        if out is not None:
            _check_out(out, images)
        if images.size == 0:
            return images.copy() if out is None else out
        draws = self.draw(len(images), rng)
        if images.dtype == np.uint8 and images.shape[3] in COLOURS:
            return run_draws(draws, images, self.ranges, self.sampling, out)
        if images.dtype == np.uint8:
            result = by_band(lambda one: run_draws(draws, one, self.ranges, self.sampling), images)
        else:
            result = deep.run_draws(draws, images, self.ranges, self.sampling)
        if out is None:
            return result
        out[...] = result
        return out

    @classmethod
    def named(cls, name: str) -> Policy:
        """A ready policy: ``trivialaugment``, ``flip-crop+randaugment(2,9)``; ``ready.READY`` has them all.

        Raises:
            UserError: there is none of that name, or its numbers are wrong; the message has close ones.
        """
        fields = ready_fields(name)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise UserError(f"{name}: {explain(error)}") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """The policy of a policy file, as ``augsearch export`` writes it, or a ready policy by its name.

        What else the file says, of the training and of the evidence, is not looked at; ``read_policy`` does.

        Raises:
            UserError: there is no such file, it is no policy file, or its policy is not valid; the message
                names the field.
        """
        if is_ready_name(Path(path)):
            return cls.named(str(path))
        try:
            return _WithPolicy.model_validate(POLICY_FILE.read(Path(path))).policy
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from None

    def transform(self, seed: int) -> ImageTransform:
        """A function for single images (NumPy, PIL or torch in, the same out), with its own random stream."""
        return ImageTransform(self, seed)

    def batch_transform(self, seed: int) -> BatchTransform:
        """A function for batches, uint8 (B, H, W, C) in and out, with its own random stream."""
        return BatchTransform(self, seed)

    def describe(self, drawn: Happened, size: Size) -> str:
        """``rotate -9°``: an operation and its value for an image of ``size``; or a chain and its share."""
        if isinstance(drawn, DrawnChain):
            told = ", ".join(self.describe(one, size) for one in drawn.operations)
            return f"{100 * drawn.share:.0f} %: {told or 'as it was'}"
        operation = OPERATIONS[drawn.operation]
        value = value_of(drawn, self.ranges, size)
        negative = drawn.negative != (operation.signed and value < 0)
        shown = shown_value(operation, abs(value) if operation.signed else value, negative=negative)
        return f"{operation.name.replace('_', ' ')} {shown}".strip()

    def _repr_html_(self) -> str:
        """In a notebook: its fields that are not as usual, and what it does to a picture."""
        from augsearch.policies.sheets import sheet_in_html  # draws letters, which takes Pillow's fonts

        unusual = self.model_dump(exclude_defaults=True)
        said = ", ".join(f"{name}={value!r}" for name, value in unusual.items())
        return sheet_in_html(self, f"Policy({said})")


def _check_out(out: Any, images: NDArray[Any]) -> None:
    fits = isinstance(out, np.ndarray) and (out.shape, out.dtype) == (images.shape, images.dtype)
    if not fits or not (out.flags.c_contiguous and out.flags.writeable):
        raise UserError(
            f"out must be an array to write to, C-contiguous, {images.dtype} {images.shape} as the images, "
            f"got {shown(out)}"
        )
    if np.may_share_memory(out, images):
        raise UserError("out must have memory of its own; images are read while it is written")


class _WithPolicy(BaseModel):
    """As much of a policy file as says what to do to images."""

    policy: Policy


TRIVIALAUGMENT = Policy.named("trivialaugment")
"""TrivialAugment Wide (Müller and Hutter 2021, arXiv:2103.10158)."""
