"""What was drawn for a batch, uint8 (B, C, H, W), by torch's own operations, on any torch device.

What costs on a GPU is to start kernels and to wait for answers, not arithmetic. So in every stage the
images that want the same *kind* of step are put next to one another, whatever its numbers are, and each
kind is a handful of kernels over its part of the batch. The numbers of all stages go to the device in one
copy, and nothing is ever read back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augsearch.policies.backends.torch.kernels import (
    Geometry,
    HostToDevice,
    PreparedGroup,
    StepGroup,
    convolve,
    recolour,
)
from augsearch.policies.backends.torch.tables import TableStore, needs_histogram, rank
from augsearch.policies.effects import Colour, Kernel, Size, Step, Tables, Warp
from augsearch.policies.planner import Draws, Planner
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling


class RunByKind:
    """Does what was drawn to images of one shape on one device."""

    def __init__(
        self, ranges: Ranges, size: Size, channels: int, sampling: Sampling, device: torch.device
    ) -> None:
        # Many images that want the same table are worth more than one look-up less.
        self._planner = Planner(ranges, size, fuse_tables=False, fuse_warps=sampling.fuse_warps)
        self._size, self._channels, self._device = size, channels, device
        self._geometry = Geometry(size, channels, sampling, device)
        self._tables = TableStore(channels, device)

    def run(self, draws: Draws, images: Tensor) -> Tensor:
        """A new batch."""
        copies = HostToDevice()
        stages = []
        place = np.arange(len(images))  # of each image
        for stage in self._planner.stages(draws):
            order, groups = self._arrange(stage, len(images))
            calls = [(rows, group.run, [*map(copies.add, group.arguments)]) for rows, group in groups]
            stages.append((copies.add(place[order]), calls))
            place = np.argsort(order)
        original_order = copies.add(place)
        sent = copies.send(self._device)
        for stage_order, calls in stages:
            images = images.index_select(0, sent[stage_order])
            for rows, run, arguments in calls:
                run(images[rows], *(sent[argument] for argument in arguments))
        return images.index_select(0, sent[original_order])

    def _arrange(
        self, stage: dict[Step, list[int]], count: int
    ) -> tuple[NDArray[np.int64], list[tuple[slice, PreparedGroup]]]:
        """The order in which a stage wants the images, and what to do to which of them."""
        kinds: dict[Any, list[tuple[Step, list[int]]]] = {}
        for step, indices in stage.items():
            kind = self._kind(step)
            if kind is not None:
                kinds.setdefault(kind, []).append((step, indices))
        order: list[int] = []
        groups = []
        for pairs in kinds.values():
            if isinstance(pairs[0][0], Tables):
                pairs.sort(key=_rank_of_first)
            begin = len(order)
            for _, indices in pairs:
                order += indices
            steps: list[Any] = [step for step, _ in pairs]
            group = StepGroup(steps, [len(indices) for _, indices in pairs])
            groups.append((slice(begin, len(order)), self._prepare(group)))
        concerned = np.array(order, dtype=np.int64)
        rest = np.ones(count, dtype=bool)
        rest[concerned] = False
        return np.concatenate((concerned, np.flatnonzero(rest))), groups

    def _kind(self, step: Step) -> Any:
        """What steps must have in common to be done at once; None: this one does nothing here."""
        if isinstance(step, Tables) and needs_histogram(step):
            return step
        if isinstance(step, Kernel):
            kept = len(step.taps) - 1 if step.edges == "keep" else 0
            return (len(step.taps), step.edges) if kept < min(self._size) else None
        if isinstance(step, Warp):
            return Warp, step.enlarges
        return None if isinstance(step, Colour) and self._channels == 1 else type(step)

    def _prepare(self, group: StepGroup[Any]) -> PreparedGroup:
        first = group.steps[0]
        if isinstance(first, Warp):
            return self._geometry.warp(group)
        if isinstance(first, Tables):
            by_histogram = needs_histogram(first)
            return self._tables.look_up_by_histogram(group) if by_histogram else self._tables.look_up(group)
        if isinstance(first, Colour):
            return recolour(group)
        if isinstance(first, Kernel):
            return convolve(group, self._size)
        return self._geometry.patch(group)


def _rank_of_first(pair: tuple[Any, list[int]]) -> int:
    return rank(pair[0])
