"""Tables on a torch device: written beforehand for all that may be measured; the device only selects.

A table that depends on the mean grey value may turn out in 256 ways, one that depends on the extremes in
256 · 256. NumPy writes all of them once, and they stay on the device next to those that are known. Only
tables that depend on the histogram are written there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from threading import Lock
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor

from augsearch.policies.backends.torch.kernels import HostToDevice, PreparedGroup, StepGroup, blended
from augsearch.policies.effects import LUMA_65536THS, Entries, Kernel, MeasuredTable, Statistic, Table, Tables

MOST_TABLES: Final = 2**18
"""Tables kept for images of one size (64 MiB); TrivialAugment needs a third of them."""

_MEASURABLE: Final = {
    Statistic.GREY_MEAN: np.arange(256)[np.newaxis],
    Statistic.EXTREMES: np.moveaxis(np.indices((256, 256)), 0, -1),
}
"""All that can be measured: (1, 256), and (256, 256, 2)."""

_RANKS: Final = (None, *_MEASURABLE, Statistic.HISTOGRAM)
"""What tables depend on, in the order in which images are put next to one another."""


def rank(tables: Tables) -> int:
    """The place of ``tables``, which have one member, among others of a stage; see ``TableStore.look_up``."""
    (member,) = tables.members
    return _RANKS.index(member.statistic if isinstance(member, MeasuredTable) else None)


def needs_histogram(tables: Tables) -> bool:
    """Whether ``tables`` must be written on the device."""
    return _RANKS[rank(tables)] is Statistic.HISTOGRAM


class TableStore:
    """The tables for images of one size on one device, each written once and kept."""

    def __init__(self, channels: int, device: torch.device) -> None:
        self._channels, self._device = channels, device
        self._entries = torch.empty((0, 256), dtype=torch.uint8, device=device)
        self._first_rows: dict[Tables | Kernel, int] = {}
        self._lock = Lock()
        self._one = torch.ones((), dtype=torch.int64, device=device)
        self._luma = torch.tensor(LUMA_65536THS, dtype=torch.int32, device=device)[:, None]

    def look_up(self, group: StepGroup[Tables]) -> PreparedGroup:
        """Look up in tables that need no histogram, in the order of their ``rank``."""
        with self._lock:
            self._forget()
            first = group.per_image(self._first_row).astype(np.int32) * 256
            entries = self._entries
        ranks = group.per_image(rank)
        greys, extremes = (
            slice(*np.searchsorted(ranks, (_RANKS.index(wanted), _RANKS.index(wanted) + 1)))
            for wanted in _MEASURABLE
        )
        select = partial(self._select, entries, greys, extremes)
        return PreparedGroup(select, (np.repeat(first, self._channels).reshape(-1, self._channels, 1),))

    def look_up_by_histogram(self, group: StepGroup[Tables]) -> PreparedGroup:
        """Look up in a table that is written on the device, from each image's histogram."""
        rows = group.counts[0] * self._channels
        member = cast(MeasuredTable, group.steps[0].members[0])
        begins = np.arange(0, rows * 256, 256).reshape(-1, self._channels, 1)
        return PreparedGroup(partial(self._write, member), (begins,))

    def first_rows(self, steps: Iterable[Tables | Kernel]) -> tuple[dict[Tables | Kernel, int], Tensor]:
        """The bank of tables, (m, 256), and its row at which those of each of ``steps`` begin.

        Tables must need no histogram. A kernel has 256 rows: what becomes of a grey value, a row each, for
        each that its neighbourhood comes to.
        """
        with self._lock:
            self._forget()
            return {step: self._first_row(step) for step in steps}, self._entries

    def _forget(self) -> None:
        """Begin anew when there are too many."""
        if len(self._entries) > MOST_TABLES:
            self._entries = self._entries[:0]
            self._first_rows.clear()

    def _first_row(self, step: Tables | Kernel) -> int:
        """The row of ``_entries`` at which the tables begin that ``step`` may turn out to be."""
        if step not in self._first_rows:
            self._first_rows[step] = len(self._entries)
            if isinstance(step, Kernel):
                written = self._blends(step)
            else:
                copies = HostToDevice()
                copies.add(_all_tables(step.members[0]))
                (written,) = copies.send(self._device)
            self._entries = torch.cat((self._entries, written))
        return self._first_rows[step]

    def _blends(self, kernel: Kernel) -> Tensor:
        # By the lines that blend images, and on their device, so that it rounds alike.
        levels = torch.arange(256, dtype=torch.float32, device=self._device)
        amount = torch.full((1,), kernel.amount, dtype=torch.float32, device=self._device)
        pixels = levels.view(1, 1, 256, 1).expand(1, 1, 256, 256).contiguous()
        smoothed = levels.expand(1, 1, 256, 256).contiguous()
        return blended(pixels, smoothed, amount).to(torch.uint8).view(256, 256)

    def _select(self, entries: Tensor, greys: slice, extremes: slice, images: Tensor, first: Tensor) -> None:
        if greys.stop > greys.start:
            first[greys].add_(self._grey_means(images[greys])[:, None, None], alpha=256)
        if extremes.stop > extremes.start:
            low, high = torch.aminmax(images[extremes].flatten(2), dim=2, keepdim=True)
            first[extremes].add_(low, alpha=256 * 256).add_(high, alpha=256)
        index = images.flatten(2) + first
        torch.index_select(entries.view(-1), 0, index.view(-1), out=images.view(-1))

    def _grey_means(self, images: Tensor) -> Tensor:
        """The mean luma of each image, (n,) int64: rounded as PIL does, each pixel's and the mean."""
        if self._channels == 3:
            luma = (images.flatten(2) * self._luma).sum(1, dtype=torch.int32).add_(0x8000) >> 16
        else:
            luma = images.flatten(1)
        pixels = luma.shape[1]
        return luma.sum(1).add_(pixels // 2).div_(pixels, rounding_mode="floor")

    def _write(self, member: MeasuredTable, images: Tensor, begins: Tensor) -> None:
        index = (images.flatten(2) + begins).view(-1)
        counts = torch.zeros(begins.numel() * 256, dtype=torch.int64, device=self._device)
        counts.scatter_add_(0, index, self._one.expand(len(index)))
        histograms = counts.view(*begins.shape[:2], 256)
        if self._device.type == "mps":  # it has no float64, which such tables may need
            entries = member.write(histograms.cpu()).to(self._device)
        else:
            entries = member.write(histograms)
        torch.index_select(entries.reshape(-1), 0, index, out=images.view(-1))


def _all_tables(member: Table | MeasuredTable) -> Entries:
    """All tables that ``member`` may turn out to be: (n, 256)."""
    if isinstance(member, Table):
        return member.entries[np.newaxis]
    # In portions: float64 for all extremes at once is half a gigabyte.
    return np.concatenate([member.write(measured) for measured in _MEASURABLE[member.statistic]])
