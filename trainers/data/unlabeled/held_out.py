"""Which images are copies of validation, confirmation or test images, and so must not be learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import ImageData, Indices
from augsearch.trainers.data.duplicates import copies_among
from augsearch.trainers.data.sources.folders import Listing
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.system.hashing import NO_KEY, hashed_files, stamp


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The images that must not be learned from, in any copy."""

    images: tuple[tuple[NDArray[np.uint8], Indices], ...]
    """Images, (N, S, S, C), and which of them they are."""
    paths: tuple[Path, ...]
    """Their files, where they are files."""
    stamps: NDArray[np.int64]
    """Sizes in bytes and times of ``paths``."""

    @classmethod
    def of(
        cls, files: Sequence[Path] | None, data: ImageData, splits: Splits, target: Target | None = None
    ) -> HeldOut:
        """The held-out images of ``data``, and of its target.

        Args:
            files: those of ``data``, in its order, to compare by; None: by pixels alone.
            data: the labeled images.
            splits: how they are divided.
            target: what is scored on instead of the validation and confirmation images, if there is one.
        """
        rows = np.concatenate([splits.validation, splits.confirmation, splits.test])
        paths = () if files is None else tuple(files[row] for row in rows)
        images = [(data.images, rows)]
        if target is not None:
            paths += target.paths
            images.append((target.images(target.used), np.arange(len(target.used))))
        stamps = np.array([stamp(path) for path in paths], np.int64).reshape(-1, 2)
        return cls(tuple(images), paths, stamps)

    def same_size(self, listing: Listing) -> Indices:
        """Rows of the ``listing`` that can be a copy at all: those of the size of one of the files."""
        return np.flatnonzero(np.isin(listing.sizes, self.stamps[:, 0]) & (listing.sizes >= 0))

    def keys(self, sizes: NDArray[np.int64]) -> set[bytes]:
        """Hashes of those files that have one of these sizes."""
        alike = np.flatnonzero(np.isin(self.stamps[:, 0], sizes))
        return set(hashed_files([self.paths[row] for row in alike])) - {NO_KEY}

    def same_pixels(self, images: NDArray[np.uint8], rows: Indices) -> NDArray[np.bool_]:
        """(len(rows),): whether each of these rows of ``images`` (N, S, S, C) is held out.

        Images of another side or number of channels are none.
        """
        same = np.zeros(len(rows), bool)
        for others, others_rows in self.images:
            same |= copies_among(images, rows, others, others_rows)
        return same
