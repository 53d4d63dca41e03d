"""Which images are copies of validation, confirmation or test images, and so must not be learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.folders import Listing
from augsearch.trainers.images import ImageData, image_paths
from augsearch.trainers.sources import stamp
from augsearch.trainers.splits import Splits
from augsearch.trainers.unlabeled_files import NO_KEY, content_key, hashed_files

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The images that must not be learned from, in any copy."""

    images: NDArray[np.uint8]
    """(N, S, S, C), others among them."""
    rows: Indices
    """(H,), of ``images``: which they are."""
    paths: tuple[Path, ...]
    """(H,), of their files; none if they are no files."""
    stamps: NDArray[np.int64]
    """Sizes in bytes and times of ``paths``."""

    @classmethod
    def of(cls, source: str | None, data: ImageData, splits: Splits) -> HeldOut:
        """Those of ``data``, which was opened from ``source``."""
        rows = np.concatenate([splits.validation, splits.confirmation, splits.test])
        every = image_paths(source, data)
        paths = () if every is None else tuple(every[row] for row in rows)
        stamps = np.array([stamp(path) for path in paths], np.int64).reshape(-1, 2)
        return cls(data.images, rows, paths, stamps)

    def same_size(self, listing: Listing) -> Indices:
        """Rows of the ``listing`` that can be a copy at all: those of the size of one of the files."""
        return np.flatnonzero(np.isin(listing.sizes, self.stamps[:, 0]) & (listing.sizes >= 0))

    def keys(self, sizes: NDArray[np.int64]) -> set[bytes]:
        """Of the files that have one of these sizes."""
        alike = np.flatnonzero(np.isin(self.stamps[:, 0], sizes))
        return set(hashed_files([self.paths[row] for row in alike])) - {NO_KEY}

    def same_pixels(self, images: NDArray[np.uint8], rows: Indices) -> NDArray[np.bool_]:
        """(len(rows),): whether each of these rows of ``images`` (N, S, S, C) is one of them.

        Images of another side or number of channels are none.
        """
        if images.shape[1:] != self.images.shape[1:]:
            return np.zeros(len(rows), bool)
        # The middle lines first: reading all pixels of all images would take seconds at each opening.
        middle = images.shape[1] // 2
        lines = [line.tobytes() for line in images[rows, middle]]
        own_lines = [line.tobytes() for line in self.images[self.rows, middle]]
        both = set(lines) & set(own_lines)
        whole = {
            content_key(self.images[row].tobytes())
            for row, line in zip(self.rows, own_lines, strict=True)
            if line in both
        }
        return np.array(
            [
                line in both and content_key(images[row].tobytes()) in whole
                for row, line in zip(rows, lines, strict=True)
            ],
            bool,
        )
