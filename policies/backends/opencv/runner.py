"""The OpenCV backend: runs fused steps on uint8 images, one of any size or a batch of one size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from augsearch.policies.backends.opencv.prepared import (
    CACHE_BYTES,
    SMALL_BYTES,
    UNCHANGED,
    Image,
    Images,
    PreparedStep,
    one_by_one,
    output,
    pointwise,
    shaped_like,
    stacked,
)
from augsearch.policies.backends.opencv.tables import prepare_tables
from augsearch.policies.backends.opencv.warps import prepare_warp
from augsearch.policies.effects import TRUNCATING_OFFSET, Colour, Kernel, Patch, Size, Step, Tables, Warp
from augsearch.policies.planner import CodedDraw, DrawnImage, Draws, Planner
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling


def prepare(step: Step, size: Size, channels: int, sampling: Sampling) -> PreparedStep:
    """Make one step ready for images (H, W, C) of ``size`` with ``channels``.

    Raises:
        UserError: a warp of an image with a side longer than OpenCV can count.
    """
    bytes_each = size.height * size.width * channels
    if isinstance(step, Warp):
        return prepare_warp(step, size, channels, sampling)
    if isinstance(step, Tables):
        return prepare_tables(step, bytes_each)
    if isinstance(step, Colour):
        return _prepare_colour(step, channels, bytes_each)
    if isinstance(step, Kernel):
        return _prepare_kernel(step, bytes_each)
    return _prepare_patch(step, sampling.fill[:channels])


def run(steps: Sequence[Step], image: Image, sampling: Sampling) -> Image:
    """A new image with ``steps`` applied in order, or ``image`` itself where nothing changes it."""
    for step in steps:
        prepared = prepare(step, Size(*image.shape[:2]), image.shape[2], sampling)
        image = prepared.on_image(image)
    return image


def run_draws(
    draws: Draws, images: Images, ranges: Ranges, sampling: Sampling, out: Images | None = None
) -> Images:
    """A new batch, or ``out``: ``images``, uint8 (B, H, W, C), each after its own draw."""
    results = np.empty(images.shape, dtype=np.uint8) if out is None else out
    by_step = len(images) > 1 and images[0].size <= CACHE_BYTES
    runner = runner_for(ranges, images.shape[1:], sampling, by_step)
    if by_step:
        runner.augment_by_step(draws, images, results)
    else:
        runner.augment_by_image(draws, images, results)
    return results


@lru_cache(maxsize=32)
def runner_for(ranges: Ranges, shape: tuple[int, ...], sampling: Sampling, by_step: bool = False) -> Runner:
    """The one runner for images of ``shape`` (H, W, C)."""
    return Runner(ranges, shape, sampling, by_step)


class Runner:
    """Does what was drawn to images of one shape, and remembers the steps that it made ready."""

    def __init__(self, ranges: Ranges, shape: tuple[int, ...], sampling: Sampling, by_step: bool) -> None:
        height, width, channels = shape
        # Step by step, many images that want the same table are worth more than one look-up less.
        self._planner = Planner(
            ranges, Size(height, width), fuse_tables=not by_step, fuse_warps=sampling.fuse_warps
        )
        self._shape = Size(height, width), channels, sampling
        self.border = sampling.border
        self._prepared: dict[Step, PreparedStep] = {}

    def augment_image(self, drawn: DrawnImage, image: Image) -> Image:
        """A new image, ``image`` (H, W, C) after its draw."""
        return self._augment_image(drawn.coded, image)

    def _augment_image(self, drawn: CodedDraw, image: Image, out: Image | None = None) -> Image:
        """The same, written to ``out`` where it is given."""
        changes = [self._prepare(step).on_image for step in self._planner.steps(*drawn)]
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

    def warps(self, drawn: CodedDraw) -> list[Warp]:
        """The geometry of what ``augment_image`` does to an image, in order."""
        return [step for step in self._planner.steps(*drawn) if isinstance(step, Warp)]

    def augment_by_image(self, draws: Draws, images: Images, results: Images) -> None:
        """Fill ``results``, one image after the other."""
        for drawn, image, result in zip(draws.coded(), images, results, strict=True):
            self._augment_image(drawn, image, result)

    def augment_by_step(self, draws: Draws, images: Images, results: Images) -> None:
        """Fill ``results``, step by step: images that want the same step get it at once."""
        results[...] = images
        for stage in self._planner.stages(draws):
            for step, indices in stage.items():
                self._prepare(step).on_batch(results, indices)

    def _prepare(self, step: Step) -> PreparedStep:
        prepared = self._prepared.get(step)
        if prepared is None:
            prepared = prepare(step, *self._shape)
            if self._planner.remembers(step):
                self._prepared[step] = prepared
        return prepared


def _prepare_colour(colour: Colour, channels: int, bytes_each: int) -> PreparedStep:
    if channels == 1:
        return UNCHANGED
    matrix = colour.matrix.copy()
    matrix[:, 3] += TRUNCATING_OFFSET

    def change(image: Image, out: Image | None = None) -> Image:
        return shaped_like(image, cv2.transform(image, matrix, out))

    return pointwise(change, size=bytes_each)


def _prepare_kernel(kernel: Kernel, bytes_each: int) -> PreparedStep:
    taps, amount = np.array(kernel.taps), kernel.amount
    shape, uniform = (len(taps), len(taps)), len(set(kernel.taps)) == 1

    def smoothed(image: Image, out: Image | None = None) -> Image:
        # A running mean costs the same at any width, and half of a general filter at 3 × 3.
        if uniform:
            return shaped_like(image, cv2.boxFilter(image, -1, shape, output(out)))
        return shaped_like(image, cv2.sepFilter2D(image, -1, taps, taps, output(out)))

    def blended(image: Image, smooth: Image, out: Image | None = None) -> Image:
        sums = cv2.addWeighted(image, 1 - amount, smooth, amount, TRUNCATING_OFFSET, output(out))
        return shaped_like(image, sums)

    if kernel.edges == "reflect":
        if amount == 1:
            return one_by_one(smoothed)
        return one_by_one(lambda image, out=None: blended(image, smoothed(image), out))
    margin = len(taps) // 2
    inside = slice(margin, -margin), slice(margin, -margin)

    def change(image: Image) -> None:
        inner = image[inside]
        if inner.size:
            blended(inner, smoothed(image)[inside], inner)

    def on_image(image: Image, out: Image | None = None) -> Image:
        out = np.empty_like(image) if out is None else out
        out[...] = image
        change(out)
        return out

    def on_batch(images: Images, indices: list[int]) -> None:
        if bytes_each > SMALL_BYTES or len(indices) == 1:
            for index in indices:
                change(images[index])
        else:
            # As one tall image: what seeps over from a neighbour stays within the edges that are kept.
            chosen = images[indices]
            changed = blended(stacked(chosen), smoothed(stacked(chosen))).reshape(chosen.shape)
            chosen[:, *inside] = changed[:, *inside]
            images[indices] = chosen

    return PreparedStep(on_image, on_batch)


def _prepare_patch(patch: Patch, fill: tuple[int, ...]) -> PreparedStep:
    rows = slice(patch.top, patch.top + patch.height)
    columns = slice(patch.left, patch.left + patch.width)

    def on_image(image: Image, out: Image | None = None) -> Image:
        out = np.empty_like(image) if out is None else out
        out[...] = image
        out[rows, columns] = fill
        return out

    def on_batch(images: Images, indices: list[int]) -> None:
        for index in indices:
            images[index, rows, columns] = fill

    return PreparedStep(on_image, on_batch)
