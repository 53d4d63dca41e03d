"""Runs what was drawn in the compiled core; what that can't do takes OpenCV's path, to the same pixels."""

from __future__ import annotations

from functools import cached_property, lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.backends.compiled.agreement import block_of_columns
from augsearch.policies.backends.compiled.bilinear import FILL, REFLECT
from augsearch.policies.backends.compiled.core import IN_BLOCKS, READS_BETWEEN, SETTINGS, augment, room_for
from augsearch.policies.backends.compiled.instructions import (
    FOREIGN,
    LINE,
    LINE_BYTES,
    Instruction,
    Kind,
    instruction_of,
)
from augsearch.policies.backends.opencv import runner as opencv
from augsearch.policies.backends.opencv.prepared import Image, Images
from augsearch.policies.bands import COLOURS
from augsearch.policies.effects import Size, Warp
from augsearch.policies.planner import (
    MOST_REMEMBERED,
    OWN_FIXED,
    DrawnImage,
    DrawnOperation,
    Draws,
    decode,
    effect_of,
)
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS, Ranges
from augsearch.policies.sampling import Sampling

MOST_DRAWS = 40
"""Draws whose instructions are kept: four transforms', for a policy has 10 at most: before its chains, of
each of them, and after."""
MOST_ROWS = MOST_DRAWS * 256
"""Images of all of them: a transform draws for 256 at once, but a batch may be of thousands."""

_CODES = len(OPERATIONS) * 2 * (MAX_MAGNITUDE + 3)
_UNKNOWN, _ANEW, _BY_VALUE = -1, -2, -3
"""In place of an instruction: of a code that was not met yet, of one whose effect each draw decides, and of
one whose effect a policy's own value decides, one of few."""


Book = NDArray[np.void]
"""(N,) of ``instructions.LINE``."""

Wanted = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8], int]
"""What ``core.augment`` must know of B draws: K lines of the book for each, noise, the book as bytes; and the
bytes that it needs for one image."""


def compile_or_load() -> None:
    """Do what would otherwise keep the first images waiting."""
    for channels in COLOURS:
        block_of_columns(channels)


def run_draws(
    draws: Draws, images: Images, ranges: Ranges, sampling: Sampling, out: Images | None = None
) -> Images:
    """A new batch, or ``out``: ``images``, uint8 (B, H, W, C), each after its own draw."""
    return runner_for(ranges, images.shape[1:], sampling).augment(draws, images, out)


@lru_cache(maxsize=32)
def runner_for(ranges: Ranges, shape: tuple[int, ...], sampling: Sampling) -> Runner:
    """The one runner for images of ``shape`` (H, W, C)."""
    return Runner(ranges, shape, sampling)


class Runner:
    """Does what was drawn to images of one shape, and remembers the instruction of every code."""

    def __init__(self, ranges: Ranges, shape: tuple[int, ...], sampling: Sampling) -> None:
        self._ranges, self._shape, self._sampling = ranges, shape, sampling
        self._size = Size(*shape[:2])
        self._lock = Lock()
        self._of_code = np.full(_CODES, _UNKNOWN, dtype=np.int64)
        self._of_value: dict[tuple[int, float], int] = {}
        self._used = 0
        self._book: Book = np.zeros(64, dtype=LINE)
        fill = int.from_bytes(bytes(sampling.fill), "little")
        border = REFLECT if sampling.border == "reflect" else FILL
        self._settings = np.zeros(SETTINGS, dtype=np.int64)
        self._settings[:IN_BLOCKS] = sampling.fuse_warps, border, fill, sampling.interpolation == "bilinear"
        self._latest: dict[Draws, Wanted] = {}

    def augment(self, draws: Draws, images: Images, out: Images | None = None) -> Images:
        """A new batch, or ``out``: each image after its own draw."""
        results = np.empty(images.shape, dtype=np.uint8) if out is None else out
        left = self._run(draws, 0, images, results)
        if left is not None:
            rest = draws.chosen(left)
            results[left] = opencv.run_draws(rest, images[left], self._ranges, self._sampling)
        return results

    def augment_image(self, drawn: DrawnImage, image: Image) -> Image:
        """A new image, ``image`` (H, W, C) after its draw."""
        result = np.empty(self._shape, dtype=np.uint8)
        if self._run(drawn.draws, drawn.number, image[np.newaxis], result[np.newaxis]) is None:
            return result
        return opencv.runner_for(self._ranges, self._shape, self._sampling).augment_image(drawn, image)

    def _run(self, draws: Draws, first: int, images: Images, results: Images) -> NDArray[np.intp] | None:
        """Augment what the core can, from the draw ``first`` on; the indices of the others."""
        drawn, noise, lines, room = self._latest.get(draws) or self._remembered(draws)
        count = len(images)
        memory = np.empty(room + count, dtype=np.uint8)
        pixels = images if images.flags.c_contiguous and images.flags.writeable else images.copy(order="C")
        if not augment(pixels, results, drawn, noise, first, lines, self._settings, memory):
            return None
        return np.flatnonzero(memory[-count:])

    def _remembered(self, draws: Draws) -> Wanted:
        """What ``draws`` want, kept while its images come one by one; so are its chains'."""
        drawn, book = self.instructions_of(draws)
        noise = np.empty((*drawn.shape, 0)) if draws.noise is None else draws.noise
        room = room_for(drawn.shape[1], self._shape)
        instructions = drawn, noise, book.view(np.uint8).reshape(-1, LINE_BYTES), room
        with self._lock:
            while self._latest and not self._has_room_for(draws):
                del self._latest[next(iter(self._latest))]
            self._latest[draws] = instructions
        return instructions

    def _has_room_for(self, draws: Draws) -> bool:
        return len(self._latest) < MOST_DRAWS and sum(map(len, self._latest)) + len(draws) <= MOST_ROWS

    def instructions_of(self, draws: Draws) -> tuple[NDArray[np.int64], Book]:
        """The instruction of each draw (B, K), and the book that has them."""
        with self._lock:
            drawn = self._of_code[draws.codes]
            if (drawn == _UNKNOWN).any():
                for code in np.unique(draws.codes[drawn == _UNKNOWN]).tolist():
                    self._of_code[code] = self._number_of(code)
                drawn = self._of_code[draws.codes]
            self._look_up_values(draws, drawn)
            own = np.argwhere(drawn == _ANEW)
            if not len(own):
                return drawn, self._book
            return self._with_own(draws, drawn, own)

    def _look_up_values(self, draws: Draws, drawn: NDArray[np.int64]) -> None:
        """The instructions of codes with values of a policy's own, each worked out once."""
        where = drawn == _BY_VALUE
        if draws.values is None or not where.any():
            return
        keys = zip(draws.codes[where].tolist(), draws.values[where].tolist(), strict=True)
        drawn[where] = [self._number_with(*key) for key in keys]

    def _number_with(self, code: int, value: float) -> int:
        number = self._of_value.get((code, value))
        if number is None:
            if len(self._of_value) >= MOST_REMEMBERED:
                return _ANEW
            name, _, negative = decode(code)
            effect = effect_of(DrawnOperation(name, 0, negative, (), value), self._ranges, self._size)
            number = self._of_value[code, value] = self._write(self._instruction(effect))
        return number

    def _number_of(self, code: int) -> int:
        """The instruction of a code, or ``_ANEW``, or ``_BY_VALUE``."""
        name, magnitude, negative = decode(code)
        operation = OPERATIONS[name]
        if magnitude == OWN_FIXED and not operation.noise:
            return _BY_VALUE
        if magnitude > MAX_MAGNITUDE or (operation.noise and name != "crop"):
            return _ANEW
        if name == "crop":
            return self._write(self._shift(magnitude))
        value = operation.value(magnitude, self._ranges, self._size)
        effect = operation.effect(-value if negative else value, (), self._size)
        return self._write(self._instruction(effect))

    def _shift(self, magnitude: int) -> Instruction:
        """A crop: how many windows there are, and the farthest one, sideways and up and down."""
        crop = OPERATIONS["crop"]
        assert crop.cases is not None
        across, down = crop.cases(crop.value(magnitude, self._ranges, self._size), self._size)
        return Instruction(Kind.SHIFT, (across, across // 2, down, down // 2))

    def _with_own(
        self, draws: Draws, drawn: NDArray[np.int64], own: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Book]:
        """The same for draws of which each place of ``own`` (n, 2) has an effect that comes once."""
        kept, foreign = self._used, set()
        book = np.zeros(kept + len(own), dtype=LINE)
        book[:kept] = self._book[:kept]
        for number, (image, place) in enumerate(own.tolist(), start=kept):
            effect = effect_of(draws.operation(image, place), self._ranges, self._size)
            instruction = self._instruction(effect)
            _write_line(book, number, instruction)
            drawn[image, place] = number
            if instruction is FOREIGN:
                foreign.add(int(draws.codes[image, place]))
        for code in foreign:  # so are the others of that code; none is worked out anew
            self._of_code[code] = self._write(FOREIGN)
        return drawn, book

    def _instruction(self, effect: Any) -> Instruction:
        interpolates = bool(self._settings[READS_BETWEEN])
        if isinstance(effect, Warp) and (interpolates or effect.enlarges):  # no others are worth trying it
            return instruction_of(
                effect, self._shape[2], reads_between=self._reads_between, interpolates=interpolates
            )
        return instruction_of(effect, self._shape[2], reads_between=False, interpolates=interpolates)

    @cached_property
    def _reads_between(self) -> bool:
        """Whether the core does it as OpenCV; then the settings say how many columns are in blocks."""
        block, width = block_of_columns(self._shape[2]), self._shape[1]
        if block is not None:
            self._settings[IN_BLOCKS] = width - width % block
        return block is not None

    def _write(self, instruction: Instruction) -> int:
        """Write an instruction into the book, for good; its number."""
        if self._used == len(self._book):
            self._book = np.concatenate([self._book, np.zeros(self._used, dtype=LINE)])
        _write_line(self._book, self._used, instruction)
        self._used += 1
        return self._used - 1


def _write_line(book: Book, number: int, instruction: Instruction) -> None:
    book["kind"][number] = instruction.kind
    book["numbers"][number, : len(instruction.numbers)] = instruction.numbers
    if instruction.entries is not None:
        book["entries"][number] = instruction.entries
