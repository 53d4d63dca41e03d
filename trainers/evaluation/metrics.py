"""What predictions are worth: accuracy, macro-F1, log-loss, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.system.aliases import Logits

Metric = Literal["accuracy", "macro-f1", "log-loss", "balanced-accuracy"]
"""What a search optimises."""


class TrainingDivergedError(ArithmeticError):
    """A loss or an output is no longer a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of predictions on some images."""

    accuracy: float
    balanced_accuracy: float
    """Mean over the classes among the labels of the share of their images that are classified rightly."""
    macro_f1: float
    """Mean over classes of F1, the harmonic mean of precision and recall: rare classes weigh as much as
    common ones. Classes that are neither among the labels nor among the predictions don't count."""
    log_loss: float
    """Mean negative log-likelihood of the labels, in nats."""
    ece: float
    """Expected calibration error, see ``CalibrationBins``."""
    correct: NDArray[np.bool_]
    """(N,): whether each image was classified rightly; it pairs images across models."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationBins:
    """Images by how sure the model was of its answer, in bins of equal width from 0 to 1."""

    counts: NDArray[np.int64]
    """(bins,): images in each bin."""
    confidence: NDArray[np.float64]
    """(bins,): mean probability of the model's answer, 0 to 1; nan in an empty bin."""
    accuracy: NDArray[np.float64]
    """(bins,): share of right answers, 0 to 1; nan in an empty bin."""

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1 (Guo et al. 2017, arXiv:1706.04599, eq. 3)."""
        held = self.counts > 0
        gaps = np.abs(self.confidence[held] - self.accuracy[held])
        return float(self.counts[held] @ gaps / self.counts.sum())


def log_probabilities(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """log softmax(``logits`` / ``temperature``), (N, K), in nats.

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    if not np.isfinite(logits).all():
        raise TrainingDivergedError("the model's outputs are no numbers; lower the learning rate")
    # In place: of 50,000 images and 1,000 classes each array is 400 MB.
    values = logits.astype(np.float64)
    values -= logits.max(axis=1, keepdims=True)
    values /= temperature
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return values


def score(logits: Logits, labels: NDArray[np.int64]) -> Scores:
    """Compare ``logits`` (N, K) with ``labels`` (N,), each in 0..K-1.

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    predicted = logits.argmax(axis=1)
    correct = predicted == labels
    return Scores(
        accuracy=float(correct.mean()),
        balanced_accuracy=float(np.mean(list(_recalls(labels, correct).values()))),
        macro_f1=_macro_f1(labels, predicted, logits.shape[1]),
        log_loss=float(-log_probabilities(logits)[np.arange(len(labels)), labels].mean()),
        ece=calibration_bins(logits, labels).ece,
        correct=correct,
    )


def calibration_bins(logits: Logits, labels: NDArray[np.int64], bins: int = 15) -> CalibrationBins:
    """``logits`` (N, K) and ``labels`` (N,), sorted into ``bins`` by the probability of the likeliest class.

    A probability on the border of two bins falls into the upper one, and certainty into the last.

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    confidence = np.exp(log_probabilities(logits).max(axis=1))
    correct = logits.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: the mean of an empty bin
        return CalibrationBins(
            counts=counts,
            confidence=np.bincount(bin_of, confidence, minlength=bins) / counts,
            accuracy=np.bincount(bin_of, correct, minlength=bins) / counts,
        )


def values_by(metric: Metric, logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each image adds to the score by ``metric``, (N,); the mean is the score.

    For macro-F1 and balanced accuracy, which are no means over images, these are their linearisation
    (influence function): their spread is what another sample of images would change.
    """
    if metric == "log-loss":
        likely: NDArray[np.float64] = log_probabilities(logits)[np.arange(len(labels)), labels]
        return likely
    predicted = logits.argmax(axis=1)
    correct: NDArray[np.float64] = (predicted == labels).astype(np.float64)
    if metric == "accuracy":
        return correct
    if metric == "balanced-accuracy":
        counts = np.bincount(labels).astype(np.float64)
        occurring = counts > 0
        recall = np.divide(np.bincount(labels, correct), counts, out=np.zeros(len(counts)), where=occurring)
        # Linearised as well: another sample has other numbers of images of each class.
        weighted: NDArray[np.float64] = (correct - recall[labels]) * len(labels) / counts[labels]
        weighted /= occurring.sum()
        weighted += recall[occurring].mean()
        return weighted
    classes = logits.shape[1]
    right, named, occurs = _f1_counts(labels, predicted, classes)
    f1 = np.divide(2 * right, named, out=np.zeros(classes), where=occurs)
    weight = np.divide(len(labels), occurs.sum() * named, out=np.zeros(classes), where=occurs)
    # d F1 of a class: 2 for a right answer, less F1 for every label and every answer that names it.
    values: NDArray[np.float64] = weight[labels] * (2 * correct - f1[labels])
    values += f1[occurs].mean() - weight[predicted] * f1[predicted]
    return values


def _recalls(labels: NDArray[np.int64], correct: NDArray[np.bool_]) -> dict[int, float]:
    return {int(label): float(correct[labels == label].mean()) for label in np.unique(labels)}


def _macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    right, named, occurs = _f1_counts(labels, predicted, classes)
    return float((2 * right[occurs] / named[occurs]).mean())


def _f1_counts(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Of each class: right answers, labels and answers, and whether there is any of the two."""
    # F1 = 2·TP / (2·TP + FP + FN): right answers against labels and answers.
    right = np.bincount(labels[labels == predicted], minlength=classes)
    named = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    return right, named, named > 0
