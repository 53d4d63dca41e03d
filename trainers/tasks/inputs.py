"""A workspace's images as a training takes them, and the network that suits them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import ImageData, Weights
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.evaluation.metrics import Logits
from augsearch.trainers.models.build import channel_statistics, design
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.workspace.folder import Workspace, open_workspace


def labeled(workspace: Workspace, chosen: NDArray[np.int64], teacher: Logits | None = None) -> LabeledImages:
    """The chosen images, read into memory."""
    images, labels = workspace.data.images[chosen], workspace.data.labels[chosen]
    return LabeledImages(images, labels, len(workspace.data.classes), teacher)


def weights_of(data: ImageData, chosen: NDArray[np.int64]) -> Weights | None:
    """How much each of the chosen images counts in the loss of a training on them: 1 on average.

    None: all alike.
    """
    return None if data.weights is None else data.weights[chosen] / data.weights[chosen].mean()


def unlabeled(workspace: Workspace) -> LabeledImages:
    """The images without labels, as they lie in memory or are mapped into it; all labels are 0."""
    images = workspace.unlabeled
    return LabeledImages(images, np.zeros(len(images), dtype=np.int64), len(workspace.data.classes))


@lru_cache(maxsize=8)
def _statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    workspace = open_workspace(folder)
    return channel_statistics(workspace.data.images[workspace.sample(5000)])


def spec_for(
    workspace: Workspace,
    name: str,
    weights: str = "none",
    input_size: int | None = None,
    image_size: int | None = None,
) -> ModelSpec:
    """The network ``name`` for a workspace's images, or the same images of ``image_size`` pixels.

    Normalised as its weights want it, or by the training part where there are none.
    """
    _, side, _, channels = workspace.data.images.shape
    reading = workspace.data.form.reading.model_dump(mode="json", exclude_defaults=True)
    spec = design(
        name,
        channels=channels,
        image_size=image_size or side,
        classes=workspace.data.classes,
        statistics=_statistics(workspace.folder),
        weights=weights,
        input_size=input_size,
    )
    return spec.model_copy(update={"reading": reading or None})
