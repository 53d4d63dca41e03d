"""The torch backend: runs what was drawn for a batch, uint8 (B, C, H, W), on any torch device.

What costs on a GPU is to start kernels and to wait for answers, not arithmetic. So in every stage the
images that want the same *kind* of step are put next to one another, whatever its numbers are, and each
kind is a handful of kernels over its part of the batch. The numbers of all stages go to the device in one
copy, and nothing is ever read back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augsearch.policies.backends.torch.kernels import Cargo, Chosen, Geometry, Work, convolve, recolour
from augsearch.policies.backends.torch.tables import Bank, needs_histogram, rank
from augsearch.policies.effects import Colour, Kernel, Size, Step, Tables, Warp
from augsearch.policies.planner import Draws, Planner
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling


def run_draws(draws: Draws, images: Tensor, ranges: Ranges, sampling: Sampling) -> Tensor:
    """A new batch: ``images``, uint8 (B, C, H, W), each after its own draw."""
    _, channels, height, width = images.shape
    return _runner(ranges, Size(height, width), channels, sampling, images.device).run(draws, images)


@lru_cache(maxsize=8)
def _runner(ranges: Ranges, size: Size, channels: int, sampling: Sampling, device: torch.device) -> _Runner:
    return _Runner(ranges, size, channels, sampling, device)


class _Runner:
    """Runs draws on images of one shape on one device."""

    def __init__(
        self, ranges: Ranges, size: Size, channels: int, sampling: Sampling, device: torch.device
    ) -> None:
        # Many images that want the same table are worth more than one look-up less.
        self._planner = Planner(ranges, size, fuse_tables=False)
        self._size, self._channels, self._device = size, channels, device
        self._geometry = Geometry(size, channels, sampling, device)
        self._bank = Bank(channels, device)

    def run(self, draws: Draws, images: Tensor) -> Tensor:
        """A new batch."""
        cargo = Cargo()
        stages = []
        place = np.arange(len(images))  # of each image
        for stage in self._planner.stages(draws):
            order, works = self._arrange(stage, len(images))
            loaded = [(part, work.run, [*map(cargo.load, work.numbers)]) for part, work in works]
            stages.append((cargo.load(place[order]), loaded))
            place = np.argsort(order)
        back = cargo.load(place)
        sent = cargo.send(self._device)
        for order_number, loaded in stages:
            images = images.index_select(0, sent[order_number])
            for part, run, numbers in loaded:
                run(images[part], *(sent[number] for number in numbers))
        return images.index_select(0, sent[back])

    def _arrange(
        self, stage: dict[Step, list[int]], count: int
    ) -> tuple[NDArray[np.int64], list[tuple[slice, Work]]]:
        """The order in which a stage wants the images, and what there is to do to which part of them."""
        kinds: dict[Any, list[tuple[Step, list[int]]]] = {}
        for step, indices in stage.items():
            kind = self._kind(step)
            if kind is not None:
                kinds.setdefault(kind, []).append((step, indices))
        order: list[int] = []
        works = []
        for pairs in kinds.values():
            if isinstance(pairs[0][0], Tables):
                pairs.sort(key=_rank_of_first)
            begin = len(order)
            for _, indices in pairs:
                order += indices
            steps: list[Any] = [step for step, _ in pairs]
            chosen = Chosen(steps, [len(indices) for _, indices in pairs])
            works.append((slice(begin, len(order)), self._work(chosen)))
        concerned = np.array(order, dtype=np.int64)
        rest = np.ones(count, dtype=bool)
        rest[concerned] = False
        return np.concatenate((concerned, np.flatnonzero(rest))), works

    def _kind(self, step: Step) -> Any:
        """What steps must have in common to be done at once; None: this one does nothing here."""
        if isinstance(step, Tables) and needs_histogram(step):
            return step
        if isinstance(step, Kernel):
            kept = len(step.taps) - 1 if step.edges == "keep" else 0
            return (len(step.taps), step.edges) if kept < min(self._size) else None
        return None if isinstance(step, Colour) and self._channels == 1 else type(step)

    def _work(self, chosen: Chosen[Any]) -> Work:
        first = chosen.steps[0]
        if isinstance(first, Warp):
            return self._geometry.warp(chosen)
        if isinstance(first, Tables):
            return self._bank.equalize(chosen) if needs_histogram(first) else self._bank.look_up(chosen)
        if isinstance(first, Colour):
            return recolour(chosen)
        if isinstance(first, Kernel):
            return convolve(chosen, self._size)
        return self._geometry.patch(chosen)


def _rank_of_first(pair: tuple[Any, list[int]]) -> int:
    return rank(pair[0])
