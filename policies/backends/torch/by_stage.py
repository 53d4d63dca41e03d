"""What was drawn for a batch on a GPU, a Triton kernel a stage and one before it where something is measured.

Each image has its opcode and numbers, so none moves to another place, and a batch of any policy is as many
kernels as it has stages, or twice that. What they don't do (sampling between pixels, blurs, other people's
histograms and what isn't exact in whole numbers) is done by kinds afterwards, to the images that want it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augsearch.policies.backends.torch import triton_kernels as kernels
from augsearch.policies.backends.torch.by_kind import RunByKind
from augsearch.policies.backends.torch.kernels import HostToDevice, PreparedGroup, in_1024ths
from augsearch.policies.backends.torch.tables import needs_histogram
from augsearch.policies.effects import (
    Colour,
    Kernel,
    MeasuredTable,
    Patch,
    Size,
    Statistic,
    Step,
    Tables,
    Warp,
)
from augsearch.policies.nearest import read_rows
from augsearch.policies.planner import Draws
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling
from augsearch.policies.table_entries import equalize_entries

Words = NDArray[np.int32]

MOST_NUMBERS = 2**23
"""Grey values of an image: 32 bits hold 255 times as many."""

MOST_SHARPENED = 128
"""Strengths of sharpening with tables, 64 KiB each; RandAugment (2, 9) has two, TrivialAugment 62."""

_THIRDS = (1 / 3, 1 / 3, 1 / 3)
"""Taps whose sums are whole ninths, so that what they come to is known whatever was rounded on the way."""

_STATISTICS = {
    Statistic.GREY_MEAN: kernels.GREY_MEAN.value,
    Statistic.EXTREMES: kernels.EXTREMES.value,
}


def can_run(size: Size, channels: int) -> bool:
    """Whether images of that kind can be worked on here."""
    return channels in (1, 3) and channels * size.height * size.width < MOST_NUMBERS


class RunByStage(RunByKind):
    """Does what was drawn to images of one shape on one device."""

    def __init__(
        self, ranges: Ranges, size: Size, channels: int, sampling: Sampling, device: torch.device
    ) -> None:
        super().__init__(ranges, size, channels, sampling, device)
        self._sampling = sampling
        self._known: dict[Step, Words | None] = {}
        self._sharpened: set[Kernel] = set()

    def run(self, draws: Draws, images: Tensor) -> Tensor:
        """A new batch."""
        stages = self._planner.stages(draws)
        if not stages:
            return images.clone(memory_format=torch.contiguous_format)
        words, bank, left = self._written(stages, len(images))
        measures = [bool(stage.any()) for stage in words[:, :, 1]]
        copies = HostToDevice()
        copies.add(words)
        calls = [self._calls(stage, len(images), copies) for stage in left]
        sent = copies.send(self._device)
        images = images.contiguous()
        for own, measured, rest in zip(sent[0], measures, calls, strict=True):
            images = kernels.run_stage(images, own, bank, measures=measured)
            for rows, group, arguments in rest:
                part = images.index_select(0, sent[rows])
                group.run(part, *(sent[argument] for argument in arguments))
                images.index_copy_(0, sent[rows], part)
        return images

    def _calls(
        self, stage: dict[Step, list[int]], count: int, copies: HostToDevice
    ) -> list[tuple[int, PreparedGroup, list[int]]]:
        """What is to be done by kinds: to which images, and by which of the arrays that travel."""
        if not stage:
            return []
        order, groups = self._arrange(stage, count)
        return [
            (copies.add(order[rows]), group, [*map(copies.add, group.arguments)]) for rows, group in groups
        ]

    def _written(
        self, stages: list[dict[Step, list[int]]], count: int
    ) -> tuple[Words, Tensor, list[dict[Step, list[int]]]]:
        """What kernels do in each stage, (S, count, WORDS), the bank of tables, and what they don't do."""
        written = np.zeros((len(stages), count, kernels.WORDS.value), dtype=np.int32)
        left: list[dict[Step, list[int]]] = [{} for _ in stages]
        by_bank: list[tuple[Any, Words, list[int]]] = []
        for depth, stage in enumerate(stages):
            for step, indices in stage.items():
                words = self._words(step)
                if words is None:
                    left[depth][step] = indices
                    continue
                written[depth, indices] = words
                if words[0] in (kernels.TABLE.value, kernels.SHARPEN.value) and words[2] < 0:
                    by_bank.append((step, written[depth], indices))
        rows, bank = self._tables.first_rows(step for step, _, _ in by_bank)
        for step, own, indices in by_bank:
            own[indices, 2] = rows[step]
        return written, bank, left

    def _words(self, step: Step) -> Words | None:
        """What a kernel is told of ``step``, (WORDS,), rows of the bank still −1; None: it can't do it."""
        if step in self._known:
            return self._known[step]
        numbers = self._numbers(step)
        words = None
        if numbers is not None:
            words = np.zeros(kernels.WORDS.value, dtype=np.int32)
            words[: len(numbers)] = numbers
        if self._planner.remembers(step):
            self._known[step] = words
        return words

    def _numbers(self, step: Step) -> Any:
        if isinstance(step, Warp):
            return self._warp(step)
        if isinstance(step, Tables):
            return self._table(step)
        if isinstance(step, Colour):
            return self._colour(step)
        if isinstance(step, Kernel):
            return self._kernel(step)
        return self._patch(step)

    def _warp(self, warp: Warp) -> Any:
        if warp.enlarges or self._sampling.interpolation != "nearest":
            return None
        reflects = self._sampling.border == "reflect"
        rows = np.array(read_rows(warp.matrix, self._size, nearest=True))
        farthest = abs(rows[:2]) @ (self._size.width, self._size.height, 1)
        if reflects and ((rows[2] != (0, 0, 1)).any() or farthest.max() > kernels.FARTHEST):
            return None
        opcode = kernels.REFLECT_WARP.value if reflects else kernels.FILL_WARP.value
        numbers = rows.astype(np.float32).view(np.int32).ravel().tolist()
        return (opcode, 0, *numbers, *self._sampling.fill)

    def _table(self, tables: Tables) -> Any:
        (member,) = tables.members
        if not isinstance(member, MeasuredTable):
            return (kernels.TABLE.value, kernels.NO_STATISTIC.value, -1)
        if needs_histogram(tables):
            known = member.write is equalize_entries
            return (kernels.TABLE.value, kernels.HISTOGRAM.value, 0) if known else None
        return (kernels.TABLE.value, _STATISTICS[member.statistic], -1)

    def _colour(self, colour: Colour) -> Any:
        if self._channels == 1:
            return (kernels.KEEP.value,)
        matrix = in_1024ths(colour.matrix)
        # Beyond, the sums of the torch path are rounded.
        if (abs(matrix) @ (255, 255, 255, 1)).max() >= 2**24:
            return None
        return (kernels.COLOUR.value, 0, *matrix.astype(np.int32).ravel().tolist())

    def _kernel(self, kernel: Kernel) -> Any:
        if kernel.taps != _THIRDS or kernel.edges != "keep":
            return None
        # One that never comes again is not worth a table.
        if not self._planner.remembers(kernel):
            return None
        if len(self._sharpened) < MOST_SHARPENED:
            self._sharpened.add(kernel)
        if kernel not in self._sharpened:
            return None
        return (kernels.SHARPEN.value, 0, -1)

    def _patch(self, patch: Patch) -> Any:
        bottom, right = patch.top + patch.height, patch.left + patch.width
        unused = (0,) * 5
        return (kernels.PATCH.value, 0, patch.top, patch.left, bottom, right, *unused, *self._sampling.fill)
