"""A fold that the user's own function trains; what it gives back is scored here, image by image.

The function never sees the images that score it, so it can't learn from them by accident. And what is
compared is what every image was said to be: a score alone could not be paired image by image, and the verdict
would not know how much of a lead other images would change.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.evaluation.metrics import Logits, TrainingDivergedError
from augsearch.trainers.tasks.inputs import weights_of
from augsearch.trainers.tasks.scored import mean_of, scored_in
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult
from augsearch.trainers.workspace.own_training import function_of

AT_ONCE = 256
"""Images that are asked for at a time."""
_ADDS_UP = 1e-2
"""How far from 1 the sum of an image's probabilities may be."""
_LEAST = 1e-7
"""Probability below which none is taken: of 0 the log-loss would be infinite."""

_RETURN = "return what predicts: a function of images, or an object with predict_proba"


@dataclass(frozen=True, slots=True, eq=False)
class TrainSet:
    """The images of a fold that a function may learn from."""

    images: NDArray[np.uint8]
    """(N, H, W, C), RGB or grey."""
    labels: NDArray[np.int64]
    """(N,), each in 0..K-1."""
    classes: tuple[str, ...]
    """The K names."""
    weights: NDArray[np.float64] | None = None
    """(N,), 1 on average: how much each is to count in the loss (``--weight-column``); None: all alike."""

    def __len__(self) -> int:
        return len(self.labels)


def evaluate_own(workspace: Workspace, candidate: Candidate, fold: Fold) -> FoldResult:
    """Have the workspace's own function train on ``fold`` under ``candidate``, and score what it gives back.

    Raises:
        UserError: it gives back nothing that predicts, or its predictions are no probabilities.
        TrainingDivergedError: they are no numbers.
    """
    assert workspace.proxy.own is not None
    function, data = function_of(workspace.proxy.own), workspace.data
    chosen = workspace.training_subset(fold)
    images, weights = np.ascontiguousarray(data.images[chosen]), weights_of(data, chosen)
    train = TrainSet(images, data.labels[chosen], tuple(data.classes), weights)
    _, seed = fold.seeds(workspace.proxy.seed)
    started = time.perf_counter()
    predict = prediction_of(function(train, candidate.policy, seed))
    images, labels = workspace.scored_images(fold)
    logits = logits_of(predict, images, len(data.classes))
    beside = None
    if workspace.target is not None:
        own = workspace.scored_on(fold)
        on_own = logits_of(predict, data.images[own], len(data.classes))
        beside = mean_of(on_own, data.labels[own], workspace.proxy.metric)
    seconds = time.perf_counter() - started
    return scored_in(workspace, fold, logits, labels, seconds=seconds, images=len(chosen), beside=beside)


def prediction_of(found: Any) -> Callable[[NDArray[np.uint8]], Any]:
    """The function that predicts, out of what a training gave back.

    Raises:
        UserError: it is none.
    """
    if hasattr(found, "predict_proba"):
        probabilities: Callable[[NDArray[np.uint8]], Any] = found.predict_proba
        return probabilities
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(found, torch.nn.Module):
        raise UserError(
            f"train_fold gave back a torch module, which takes no arrays: {_RETURN}, such as "
            "lambda images: network(prepared(images)).softmax(1).numpy()"
        )
    if callable(found):
        predict: Callable[[NDArray[np.uint8]], Any] = found
        return predict
    what = "a score" if isinstance(found, float | int | np.number) else f"{type(found).__name__}"
    why = ", because what is compared is each image, and a score alone can't be" if what == "a score" else ""
    raise UserError(f"train_fold gave back {what}: {_RETURN}{why}")


def logits_of(predict: Callable[[NDArray[np.uint8]], Any], images: NDArray[np.uint8], classes: int) -> Logits:
    """The logarithms of what ``predict`` says of ``images`` (N, H, W, C), (N, K), asked in batches.

    Raises:
        UserError: it says no probabilities.
        TrainingDivergedError: it says no numbers.
    """
    found = [
        _checked(predict(np.ascontiguousarray(images[first : first + AT_ONCE])), len(images[first:]), classes)
        for first in range(0, len(images), AT_ONCE)
    ]
    return np.log(np.clip(np.concatenate(found), _LEAST, None)).astype(np.float32)


def _checked(said: Any, left: int, classes: int) -> NDArray[np.float64]:
    probabilities = np.asarray(said, dtype=np.float64)
    wanted = (min(AT_ONCE, left), classes)
    if probabilities.shape != wanted:
        raise UserError(
            f"train_fold's predictions must be probabilities of shape {wanted}, images and classes, got "
            f"{probabilities.shape}; of labels alone give np.eye({classes})[labels]"
        )
    if not np.isfinite(probabilities).all():
        raise TrainingDivergedError("the predictions are no numbers")
    if probabilities.min() < 0 or abs(probabilities.sum(axis=1) - 1).max() > _ADDS_UP:
        raise UserError(
            "train_fold's predictions must be probabilities, none below 0, that add up to 1 for each image; "
            "of logits take the softmax"
        )
    return probabilities
