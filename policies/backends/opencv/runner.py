"""The OpenCV backend: runs fused steps on uint8 images, one of any size or a batch of one size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from augsearch.policies.backends.opencv.prepared import (
    FITS_CACHE,
    SMALL,
    Image,
    Images,
    Part,
    alone,
    like,
    plane,
    pointwise,
    tall,
    unchanged,
)
from augsearch.policies.backends.opencv.tables import looked_up
from augsearch.policies.backends.opencv.warps import warped
from augsearch.policies.effects import CUT_OFF, Colour, Kernel, Patch, Size, Step, Tables, Warp
from augsearch.policies.planner import Draws, Planner, Row
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling


def prepared(step: Step, size: Size, channels: int, sampling: Sampling) -> Part:
    """Make one step ready for images (H, W, C) of ``size`` with ``channels``.

    Raises:
        UserError: a warp of an image with a side longer than OpenCV can count.
    """
    bytes_each = size.height * size.width * channels
    if isinstance(step, Warp):
        return warped(step, size, channels, sampling)
    if isinstance(step, Tables):
        return looked_up(step, bytes_each)
    if isinstance(step, Colour):
        return _recoloured(step, channels, bytes_each)
    if isinstance(step, Kernel):
        return _convolved(step, bytes_each)
    return _patched(step, sampling.fill[:channels])


def run(steps: Sequence[Step], image: Image, sampling: Sampling) -> Image:
    """A new image with ``steps`` applied in order, or ``image`` itself where nothing changes it."""
    for step in steps:
        image = prepared(step, Size(*image.shape[:2]), image.shape[2], sampling).one(image)
    return image


def run_draws(draws: Draws, images: Images, ranges: Ranges, sampling: Sampling) -> Images:
    """A new batch: ``images``, uint8 (B, H, W, C), each after its own draw."""
    by_step = len(images) > 1 and images[0].size <= FITS_CACHE
    runner = runner_for(ranges, images.shape[1:], sampling, by_step)
    return runner.by_step(draws, images) if by_step else runner.by_image(draws, images)


@lru_cache(maxsize=32)
def runner_for(ranges: Ranges, shape: tuple[int, ...], sampling: Sampling, by_step: bool = False) -> Runner:
    """The one runner for images of ``shape`` (H, W, C)."""
    return Runner(ranges, shape, sampling, by_step)


class Runner:
    """Runs draws on images of one shape, and remembers the steps that it made ready."""

    def __init__(self, ranges: Ranges, shape: tuple[int, ...], sampling: Sampling, by_step: bool) -> None:
        height, width, channels = shape
        # Step by step, many images that want the same table are worth more than one look-up less.
        self._planner = Planner(ranges, Size(height, width), fuse_tables=not by_step)
        self._shape = Size(height, width), channels, sampling
        self._parts: dict[Step, Part] = {}

    def on_image(self, row: Row, image: Image, out: Image | None = None) -> Image:
        """A new image, ``image`` (H, W, C) after its draw; written to ``out`` where it is given."""
        changes = [self._part(step).one for step in self._planner.steps(*row)]
        result = image if image.flags.c_contiguous else np.ascontiguousarray(image)
        written, last = False, len(changes) - 1
        for number, change in enumerate(changes):
            before, target = result, out if number == last else None
            result = change(before, target)
            written = target is not None and result is not before
        if out is None:
            # A copy where nothing changed it, so that nobody writes into what was given.
            return result.copy() if result is image else result
        if not written:
            out[...] = result
        return out

    def by_image(self, draws: Draws, images: Images) -> Images:
        """One image after the other."""
        results = np.empty(images.shape, dtype=np.uint8)
        for row, image, result in zip(draws.rows(), images, results, strict=True):
            self.on_image(row, image, result)
        return results

    def by_step(self, draws: Draws, images: Images) -> Images:
        """Step by step: images that want the same are worked on at once."""
        results = images.copy(order="C")
        for stage in self._planner.stages(draws):
            for step, indices in stage.items():
                self._part(step).within(results, indices)
        return results

    def _part(self, step: Step) -> Part:
        part = self._parts.get(step)
        if part is None:
            part = prepared(step, *self._shape)
            if self._planner.remembers(step):
                self._parts[step] = part
        return part


def _recoloured(colour: Colour, channels: int, bytes_each: int) -> Part:
    if channels == 1:
        return Part(unchanged, lambda images, indices: None)
    matrix = colour.matrix.copy()
    matrix[:, 3] += CUT_OFF

    def change(image: Image, out: Image | None = None) -> Image:
        return like(cv2.transform(image, matrix, out), image)

    return pointwise(change, size=bytes_each)


def _convolved(kernel: Kernel, bytes_each: int) -> Part:
    taps, amount = np.array(kernel.taps), kernel.amount
    shape, uniform = (len(taps), len(taps)), len(set(kernel.taps)) == 1

    def smoothed(image: Image, out: Image | None = None) -> Image:
        # A running mean costs the same at any width, and half of a general filter at 3 × 3.
        if uniform:
            return like(cv2.boxFilter(image, -1, shape, plane(out)), image)
        return like(cv2.sepFilter2D(image, -1, taps, taps, plane(out)), image)

    def blended(image: Image, smooth: Image, out: Image | None = None) -> Image:
        return like(cv2.addWeighted(image, 1 - amount, smooth, amount, CUT_OFF, plane(out)), image)

    if kernel.edges == "reflect":
        if amount == 1:
            return alone(smoothed)
        return alone(lambda image, out=None: blended(image, smoothed(image), out))
    margin = len(taps) // 2
    inside = slice(margin, -margin), slice(margin, -margin)

    def change(image: Image) -> None:
        inner = image[inside]
        if inner.size:
            blended(inner, smoothed(image)[inside], inner)

    def one(image: Image, out: Image | None = None) -> Image:
        out = np.empty_like(image) if out is None else out
        out[...] = image
        change(out)
        return out

    def within(images: Images, indices: list[int]) -> None:
        if bytes_each > SMALL or len(indices) == 1:
            for index in indices:
                change(images[index])
        else:
            # As one tall image: what seeps over from a neighbour stays within the edges that are kept.
            chosen = images[indices]
            changed = blended(tall(chosen), smoothed(tall(chosen))).reshape(chosen.shape)
            chosen[:, *inside] = changed[:, *inside]
            images[indices] = chosen

    return Part(one, within)


def _patched(patch: Patch, fill: tuple[int, ...]) -> Part:
    rows = slice(patch.top, patch.top + patch.height)
    columns = slice(patch.left, patch.left + patch.width)

    def one(image: Image, out: Image | None = None) -> Image:
        out = np.empty_like(image) if out is None else out
        out[...] = image
        out[rows, columns] = fill
        return out

    def within(images: Images, indices: list[int]) -> None:
        for index in indices:
            images[index, rows, columns] = fill

    return Part(one, within)
