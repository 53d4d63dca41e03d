"""Tables on a torch device: written beforehand for all that may be measured; the device only selects.

A table that depends on the mean grey value may turn out in 256 ways, one that depends on the extremes in
256 · 256. NumPy writes all of them once, and they stay on the device next to those that are known. Only
tables that depend on the histogram are written there.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor

from augsearch.policies.backends.torch.kernels import HostToDevice, PreparedGroup, StepGroup
from augsearch.policies.effects import LUMA_65536THS, Entries, MeasuredTable, Statistic, Table, Tables

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
        self._first_rows: dict[Tables, int] = {}
        self._lock = Lock()
        self._one = torch.ones((), dtype=torch.int64, device=device)
        self._luma = torch.tensor(LUMA_65536THS, dtype=torch.int32, device=device)[:, None]

    def look_up(self, group: StepGroup[Tables]) -> PreparedGroup:
        """Look up in tables that need no histogram, in the order of their ``rank``."""
        with self._lock:
            if len(self._entries) > MOST_TABLES:
                self._entries = self._entries[:0]
                self._first_rows.clear()
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

    def _first_row(self, tables: Tables) -> int:
        """The row of ``_entries`` at which the tables begin that ``tables`` may turn out to be."""
        if tables not in self._first_rows:
            (member,) = tables.members
            self._first_rows[tables] = len(self._entries)
            copies = HostToDevice()
            copies.add(_all_tables(member))
            self._entries = torch.cat((self._entries, *copies.send(self._device)))
        return self._first_rows[tables]

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
