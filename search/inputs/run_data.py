"""The data of a run, opened and divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.workspace.folder import Workspace

if TYPE_CHECKING:
    from augsearch.trainers.data.unlabeled.dataset import Unlabeled


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
