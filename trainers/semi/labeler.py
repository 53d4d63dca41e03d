"""A model labels a training's unlabeled images, and what changed since the last time is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeling import label
from augsearch.trainers.semi.pool import Pool, Rows
from augsearch.trainers.semi.predictions import Predictions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from augsearch.trainers.data.unlabeled.dataset import Unlabeled

    Predict = Callable[[nn.Module, str], tuple[Rows, Predictions]]
    """What a model, which is also named, predicts of the clean images: those that could be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Labeling:
    """Unlabeled images were labeled."""

    number: int
    """From 1."""
    after: int
    """Epochs of the training that learns from it."""
    labels: Rows
    """(N,): the likeliest class of each image, −1 where it could not be read."""
    confidence: NDArray[np.float32]
    """(N,): its probability, 0 to 1."""
    chosen: Rows
    """(M,): those that are learned from."""
    by_class: Rows
    """(K,): how many of each class are chosen."""
    gained: Rows
    """(K,): how many more of each class than the time before."""
    changed: float | None
    """The share of images whose likeliest class is another than the time before; None: the first time."""
    accuracy: float | None
    """The share of the chosen that are labeled rightly; None: no true label is known."""
    seconds: float


@dataclass(eq=False)
class Labeler:
    """Labels a pool's images, and remembers the last time."""

    predict: Predict
    shares: NDArray[np.float64]
    """(K,): of each class among the labels."""
    truth: Rows | None = None
    """(N,): true labels, −1 where they are not known; for the report alone."""
    _before: Labeling | None = field(default=None)

    def label(self, pool: Pool, model: nn.Module, name: str, after: int = 0) -> Labeling:
        """Have ``pool`` learn what ``model``, called ``name``, predicts of its images."""
        started = time.perf_counter()
        readable, predictions = self.predict(model, name)
        pool.relabel(readable, predictions, self.shares)
        labels = np.full(len(pool), -1)
        confidence = np.zeros(len(pool), dtype=np.float32)
        labels[readable], confidence[readable] = predictions.hard, predictions.confidence
        by_class = np.bincount(labels[pool.rows], minlength=len(self.shares))
        before = self._before
        self._before = Labeling(
            number=before.number + 1 if before else 1,
            after=after,
            labels=labels,
            confidence=confidence,
            chosen=pool.rows,
            by_class=by_class,
            gained=by_class - (before.by_class if before else 0),
            changed=float((labels != before.labels)[readable].mean()) if before else None,
            accuracy=rightly_labeled(labels[pool.rows], self.truth, pool.rows),
            seconds=time.perf_counter() - started,
        )
        return self._before


def rightly_labeled(labels: Rows, truth: Rows | None, rows: Rows) -> float | None:
    """The share of ``labels`` (M,), of the images ``rows``, that are true; None where no truth is known."""
    if truth is None or not len(rows):
        return None
    known = truth[rows] >= 0
    return float((labels == truth[rows])[known].mean()) if known.any() else None


def predict_in_memory(
    model: nn.Module, images: NDArray[np.uint8], device: torch.device
) -> tuple[Rows, Predictions]:
    """The predictions of ``images``, uint8 (N, H, W, C), as they are: all of them could be read."""
    # Here and not above: it imports torch, which the driver of a search does without.
    from augsearch.trainers.evaluation.inference import predict

    return np.arange(len(images)), Predictions.from_logits(predict(model, images, device))


def predictor(
    unlabeled: Unlabeled,
    device: torch.device,
    *,
    store: LabelStore,
    prefix: str = "",
    progress: Progress | None = None,
) -> Predict:
    """Predicts the clean images of ``unlabeled.chosen``; the rows are places in that.

    What a model predicted before is found in ``store``, under its name after ``prefix``. ``progress`` is
    called with (images done, images in all).
    """

    def predict(model: nn.Module, name: str) -> tuple[Rows, Predictions]:
        model_name = f"{prefix}{name}"
        readable, predictions = label(
            model, unlabeled, device, store=store, model_name=model_name, progress=progress
        )
        return np.searchsorted(unlabeled.chosen, readable), predictions

    return predict
