"""Warps, colours, kernels and patches on a torch device: many images at once, each with its own numbers.

The OpenCV backend is the reference. Nearest sampling is made of single float32 operations, which every
device rounds alike; the rest may differ from the reference by one grey level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from augsearch.policies.chains import OFFSET_BEFORE_TRUNCATION
from augsearch.policies.effects import Colour, Kernel, Patch, Size, Tables, Warp
from augsearch.policies.nearest import read_rows
from augsearch.policies.sampling import Sampling

WHOLE_IN_FLOAT32 = 2**24
"""Up to this, float32 holds every whole number."""

Kind = TypeVar("Kind", Warp, Tables, Colour, Kernel, Patch)


@dataclass(frozen=True, slots=True)
class StepGroup(Generic[Kind]):
    """Steps of one kind, and how many images want each; these lie next to one another, in this order."""

    steps: list[Kind]
    counts: list[int]

    def per_image(self, numbers: Callable[[Kind], Any]) -> NDArray[Any]:
        """The numbers of each image's step, of any shape: (n, ...)."""
        return np.repeat(np.array([numbers(step) for step in self.steps]), self.counts, axis=0)


@dataclass(frozen=True, slots=True)
class PreparedGroup:
    """A group of steps made ready for its n images."""

    run: Callable[..., None]
    """``run(images, *arguments)`` changes images, uint8 (n, C, H, W), in place."""
    arguments: tuple[NDArray[Any], ...]
    """To become tensors on the images' device, by a ``HostToDevice``."""


class HostToDevice:
    """Arrays that go to a device in one copy: uint8, bool, int32, int64 or float32."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []

    def add(self, array: NDArray[Any]) -> int:
        """Have ``array`` copied too; its index among the tensors that ``send`` returns."""
        self._arrays.append(np.ascontiguousarray(array))
        return len(self._arrays) - 1

    def send(self, device: torch.device) -> list[Tensor]:
        """All arrays as tensors on ``device``; the host does not wait for them to arrive."""
        begins = [0, *accumulate(-(-array.nbytes // 8) * 8 for array in self._arrays)]
        # From pinned memory, which CUDA fetches while the host goes on; torch keeps it until then.
        pinned = device.type == "cuda"
        packed = torch.empty(begins[-1], dtype=torch.uint8, pin_memory=pinned)
        writable = packed.numpy()
        for begin, array in zip(begins, self._arrays, strict=False):
            writable[begin : begin + array.nbytes] = array.reshape(-1).view(np.uint8)
        arrived = packed.to(device, non_blocking=pinned)
        return [
            arrived[begin : begin + array.nbytes].view(getattr(torch, array.dtype.name)).view(array.shape)
            for begin, array in zip(begins, self._arrays, strict=False)
        ]


class Geometry:
    """Warps and patches of images of one shape on one device."""

    def __init__(self, size: Size, channels: int, sampling: Sampling, device: torch.device) -> None:
        self._size, self._sampling = size, sampling
        self._fill = torch.tensor(sampling.fill[:channels], dtype=torch.uint8, device=device).view(-1, 1, 1)
        self._x = torch.arange(size.width, dtype=torch.float32, device=device)
        self._y = torch.arange(size.height, dtype=torch.float32, device=device)
        self._offset = self._fill.to(torch.float32)
        self._after = torch.tensor(size[::-1], dtype=torch.float32, device=device).view(2, 1, 1)
        self._before, self._last = torch.full_like(self._after, -1), self._after - 1
        self._period = (2 * self._last).clamp_(min=1)

    def warp(self, group: StepGroup[Warp]) -> PreparedGroup:
        """Read each pixel where its image's warp says; all enlarge, or none."""
        enlarges = group.steps[0].enlarges
        bilinear = self._sampling.interpolation == "bilinear" or enlarges
        matrices = group.per_image(lambda warp: read_rows(warp.matrix, self._size, nearest=not bilinear))
        if bilinear:
            self._normalize(matrices, mirrors=self._sampling.border == "reflect" and not enlarges)
        if (matrices[:, 2] == (0, 0, 1)).all():
            matrices = matrices[:, :2]
        run = self._read_part if enlarges else self._read_between if bilinear else self._read_nearest
        return PreparedGroup(run, (matrices.astype(np.float32),))

    def patch(self, group: StepGroup[Patch]) -> PreparedGroup:
        """Fill a rectangle."""
        height, width = self._size
        rows, columns = np.arange(height), np.arange(width)
        return PreparedGroup(
            self._fill_where,
            (
                group.per_image(lambda patch: (rows >= patch.top) & (rows < patch.top + patch.height)),
                group.per_image(lambda patch: (columns >= patch.left) & (columns < patch.left + patch.width)),
            ),
        )

    def _normalize(self, matrices: NDArray[np.float64], *, mirrors: bool) -> None:
        """Count from -1 to 1, as ``grid_sample`` does."""
        # Where it mirrors, its ±1 are the centres of the outermost pixels, else their outer edges.
        for row, side in zip(matrices.swapaxes(0, 1), self._size[::-1], strict=False):
            span, margin = (max(side - 1, 1), 0.0) if mirrors else (side, 0.5)
            row[...] = (row + margin * matrices[:, 2]) * (2 / span) - matrices[:, 2]

    def _read_at(self, matrices: Tensor) -> Tensor:
        """x and y of where each output pixel is read, (n, 2, H, W), for matrices (n, 2 or 3, 3)."""
        # In OpenCV's order, and no two operations in one call, which some devices would round only once.
        across = matrices[:, :, :1] * self._x
        down = (matrices[:, :, 1:2] * self._y).add_(matrices[:, :, 2:])
        at = across[:, :, None, :] + down[:, :, :, None]
        if matrices.shape[1] == 2:
            return at
        # A point on the horizon is read outside the image.
        return (at[:, :2] / at[:, 2:]).nan_to_num_(-2.0, -2.0, -2.0)

    def _read_nearest(self, images: Tensor, matrices: Tensor) -> None:
        count, channels, height, width = images.shape
        at = self._read_at(matrices)
        if self._sampling.border == "fill":
            # All that is read outside the image is read in a margin of one pixel.
            at.clamp_(self._before, self._after).round_()
            stride, first = width + 2, width + 3
            source = self._fill.expand(count, -1, height + 2, stride).contiguous()
            source[:, :, 1:-1, 1:-1] = images
        else:
            at.round_().remainder_(self._period).sub_(self._last).abs_()
            torch.sub(self._last, at, out=at)
            stride, first = width, 0
            source = images.clone()
        if source[0, 0].numel() > WHOLE_IN_FLOAT32:
            at = at.to(torch.int64)
        index = torch.add(at[:, :1], at[:, 1:], alpha=stride).add_(first).to(torch.int64)
        index = index.view(count, 1, -1).expand(-1, channels, -1)
        torch.gather(source.flatten(2), 2, index, out=images.view(count, channels, -1))

    def _read_between(self, images: Tensor, matrices: Tensor) -> None:
        mirrors = self._sampling.border == "reflect"
        sampled = grid_sample(
            images - self._offset,  # so that grid_sample's zero, outside the image, is the fill
            self._read_at(matrices).permute(0, 2, 3, 1),
            mode="bilinear",
            padding_mode="reflection" if mirrors else "zeros",
            align_corners=mirrors,
        )
        images.copy_(sampled.add_(self._offset).round_())

    def _read_part(self, images: Tensor, matrices: Tensor) -> None:
        at = self._read_at(matrices).permute(0, 2, 3, 1)
        pixels = images.to(torch.float32)
        if pixels.device.type == "mps":  # its border came late, and is an error before
            at, padding = self._within(at), "zeros"
        else:
            padding = "border"
        sampled = grid_sample(pixels, at, mode="bilinear", padding_mode=padding, align_corners=False)
        images.copy_(sampled.round_())

    def _within(self, at: Tensor) -> Tensor:
        """``at``, counted from -1 to 1, with what lies beyond the outermost pixels' centres put there."""
        last = 1 - 1 / self._after.view(2)
        return at.clamp(-last, last)

    def _fill_where(self, images: Tensor, rows: Tensor, columns: Tensor) -> None:
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        torch.where(inside, self._fill, images, out=images)


def recolour(group: StepGroup[Colour]) -> PreparedGroup:
    """Mix the channels of RGB images."""
    matrices = in_1024ths(group.per_image(lambda colour: colour.matrix))
    return PreparedGroup(_mix_channels, ((matrices / 1024).astype(np.float32),))


def in_1024ths(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colour matrices (..., 3, 4) in whole 1024ths, with what truncates their results."""
    # To ten binary places, as OpenCV: then all sums are exact in float32, in whatever order they are made.
    truncating = np.array((0, 0, 0, OFFSET_BEFORE_TRUNCATION))
    whole: NDArray[np.float64] = np.rint((matrices + truncating) * 1024)
    return whole


def _mix_channels(images: Tensor, matrices: Tensor) -> None:
    # Not as a product of matrices, whose factors may have ten bits where the user allows TF32.
    red, green, blue, offset = matrices[..., None].unbind(2)
    pixels = images.view(len(images), 3, -1)
    mixed = torch.addcmul(offset, pixels[:, 0:1], red)
    mixed.addcmul_(pixels[:, 1:2], green).addcmul_(pixels[:, 2:3], blue)
    pixels.copy_(mixed.clamp_(0, 255))


def convolve(group: StepGroup[Kernel], size: Size) -> PreparedGroup:
    """Smooth and blend, by kernels of one length and with the same edges."""
    taps = group.per_image(lambda kernel: kernel.taps).astype(np.float32)
    amounts = group.per_image(lambda kernel: kernel.amount).astype(np.float32)
    if group.steps[0].edges == "keep":
        return PreparedGroup(_blend, (taps, amounts))
    return PreparedGroup(_blend, (taps, amounts, *(_mirrored(side, taps.shape[1] // 2) for side in size)))


def _mirrored(side: int, margin: int) -> NDArray[np.int64]:
    """The pixels of a row of ``side`` with ``margin`` mirrored ones before and after."""
    last = side - 1
    return last - abs(np.arange(-margin, side + margin) % max(2 * last, 1) - last)


def _blend(
    images: Tensor, taps: Tensor, amounts: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
) -> None:
    margin = taps.shape[1] // 2
    height, width = images.shape[2:]
    if rows is not None and columns is not None:
        source, result = images.index_select(2, rows).index_select(3, columns), images
    else:
        source, result = images, images[:, :, margin : height - margin, margin : width - margin]
    pixels = source.to(torch.float32)
    smoothed = _weighted_sum(_weighted_sum(pixels, 3, taps), 2, taps).round_()
    pixels = pixels[:, :, margin : margin + result.shape[2], margin : margin + result.shape[3]]
    result.copy_(blended(pixels, smoothed, amounts))


def blended(pixels: Tensor, smoothed: Tensor, amounts: Tensor) -> Tensor:
    """Floating ``pixels``, moved towards smoothed ones by each image's amount; ready to be truncated."""
    moved = torch.lerp(pixels, smoothed, amounts.view(-1, 1, 1, 1))
    return moved.add_(OFFSET_BEFORE_TRUNCATION).clamp_(0, 255)


def _weighted_sum(pixels: Tensor, dimension: int, taps: Tensor) -> Tensor:
    """The sums of neighbours along a dimension, weighted by each image's taps (n, k)."""
    # Not the library's convolution: that may round to ten bits, where the user allows TF32.
    length = pixels.shape[dimension] - taps.shape[1] + 1
    first, *others = taps[:, :, None, None, None].unbind(1)
    total = pixels.narrow(dimension, 0, length) * first
    for shift, weight in enumerate(others, start=1):
        total.addcmul_(pixels.narrow(dimension, shift, length), weight)
    return total
