"""The data of a run, opened and divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from augsearch.policies.bands import COLOURS
from augsearch.search.tracking.inputs import TrackedData
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.workspace.folder import Workspace

MEASURED = 1000
"""Images of which the mean colour is taken."""

if TYPE_CHECKING:
    from augsearch.trainers.data.unlabeled.dataset import Unlabeled


def tracked_data(data: Data, source: str | None) -> TrackedData:
    """What MLflow is told of ``data``, which was named ``source``."""
    parts = ("train", "validation", "confirmation", "test", "unlabeled")
    counts = {part: len(getattr(data.splits, part)) for part in parts}
    shown = {"classes": len(data.images.classes), "side": int(data.images.images.shape[1]), **counts}
    return TrackedData(data.images.name, data.images.fingerprint, source or "embedded", shown)


@dataclass(frozen=True, slots=True)
class Data:
    """The images of a run, divided, and the folder that its workers see."""

    images: ImageData
    splits: Splits
    workspace: Workspace
    unlabeled: Unlabeled | None = None
    """What the search learns from beside them."""
    target: Target | None = None
    """What it scores on instead of their own validation and confirmation part."""

    @property
    def experiment(self) -> str:
        """The MLflow experiment of this data set."""
        return f"{self.images.name} {self.images.fingerprint[:8]}"

    @property
    def label(self) -> str:
        """The data set's name and content."""
        return f"{self.images.name} {self.images.fingerprint[:12]}"

    @property
    def mean_colour(self) -> tuple[int, int, int]:
        """RGB of the mean of the training images, of some where there are many; of bands the same grey."""
        train = self.splits.train
        some = np.sort(train[:: max(1, len(train) // MEASURED)])
        mean = np.asarray(self.images.images[some]).mean(axis=(0, 1, 2), dtype=np.float64)
        mean = mean if len(mean) in COLOURS else mean.mean(keepdims=True)
        red, green, blue = np.broadcast_to(np.round(mean).astype(int), 3)
        return int(red), int(green), int(blue)
