"""What predictions are worth: accuracy, macro-F1, log-loss, calibration; and what a search may optimise.

A metric is one object at the end of this file: to add one, declare it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
"""What a network says of N images and K classes, (N, K), before the softmax."""


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
    values: NDArray[np.float64] | None = None
    """(N,): what each image adds to the score of some metric, see ``Metric.per_image``; None: ``correct``."""

    @property
    def by_image(self) -> NDArray[np.float64]:
        """(N,): what each image adds to that score, which is their mean."""
        return (self.correct if self.values is None else self.values).astype(float)


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


def score(logits: Logits, labels: NDArray[np.int64], metric: Metric | None = None) -> Scores:
    """Compare ``logits`` (N, K) with ``labels`` (N,), each in 0..K-1; ``metric``: whose values are wanted.

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
        values=None if metric is None else metric.per_image(logits, labels),
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


def _recalls(labels: NDArray[np.int64], correct: NDArray[np.bool_]) -> dict[int, float]:
    return {int(label): float(correct[labels == label].mean()) for label in np.unique(labels)}


def _macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    right, named, occurs = _f1_counts(labels, predicted, classes)
    return float((2 * right[occurs] / named[occurs]).mean())


def _f1_counts(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """For each class: right answers; labels and answers; whether there is any of the two."""
    # F1 = 2·TP / (2·TP + FP + FN): right answers against labels and answers.
    right = np.bincount(labels[labels == predicted], minlength=classes)
    named = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    return right, named, named > 0


class Figures(Protocol):
    """What a metric may take its score from; each is as in ``Scores``."""

    @property
    def accuracy(self) -> float:
        """0 to 1."""

    @property
    def balanced_accuracy(self) -> float:
        """0 to 1."""

    @property
    def macro_f1(self) -> float:
        """0 to 1."""

    @property
    def log_loss(self) -> float:
        """In nats, 0 or more."""

    @property
    def by_image(self) -> NDArray[np.float64]:
        """(N,): what each image adds to the score, see ``Metric.per_image``."""


def mean_over_images(figures: Figures) -> float:
    """The mean of what each image adds to the score."""
    return float(figures.by_image.mean())


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that a search may optimise. Its scores are higher where predictions are better."""

    name: str
    """In settings, options and files: ``macro-f1``."""
    label: str
    """In sentences: ``macro-F1``."""
    difference_unit: str
    """What a difference of two scores is measured in, in sentences: ``points of macro-F1``."""
    margin: float
    """The gain below which hardly anyone would keep a policy file for it."""
    per_image: Callable[[Logits, NDArray[np.int64]], NDArray[np.float64]]
    """What each image adds to the score, (N,), by logits (N, K) and labels (N,); the mean is the score.

    Where the metric is no mean over images it is the linearisation (influence function): its spread is
    what another sample of images would change.
    """
    score: Callable[[Figures], float] = mean_over_images
    """The score, out of what is known of the predictions."""
    unit: str = "points"
    """What a difference is measured in, on an axis."""
    factor: float = 100.0
    """What a score is multiplied by to be shown in ``symbol`` or ``unit``."""
    digits: int = 1
    """Decimal places that are shown."""
    symbol: str = "%"
    """What is written behind a score that is shown; empty: nothing."""
    direction: Literal[1, -1] = 1
    """-1: people know it as something of which less is better, and the score is its negative."""
    perfect: float = 1.0
    """The score of predictions that could not be better."""
    widest: float = 1.0
    """The most that two scores can be apart."""

    def still_wrong(self, score: float) -> float:
        """What ``score`` lacks to be perfect."""
        return self.perfect - score

    @property
    def suffix(self) -> str:
        """What is written behind a number that is shown: `` %``, or nothing."""
        return f" {self.symbol}" if self.symbol else ""

    @property
    def title(self) -> str:
        """What is written at an axis: ``macro-F1, %``."""
        return f"{self.label}, {self.symbol}" if self.symbol else self.label

    def figure(self, score: float) -> float:
        """The number by which people know ``score``: 85.3 for 0.853, and of log-loss 0.461 for -0.461."""
        return self.direction * self.factor * score

    def shown(self, score: float, *, unit: bool = True) -> str:
        """A score as people write it: ``85.3 %``, or ``85.3`` without ``unit``; of log-loss ``0.461``."""
        return f"{self.figure(score):.{self.digits}f}{self.suffix if unit else ''}"

    def shown_spread(self, sd: float) -> str:
        """A standard deviation, as ``shown`` shows the score without its unit."""
        return f"{self.factor * sd:.{self.digits}f}"

    def shown_difference(self, mean: float, low: float, high: float) -> str:
        """``+1.2 [+0.3, +2.1] points``; positive is better, whatever the metric.

        An interval ends where differences do. One without width says nothing of how sure the mean is, of a
        single fold say, and is said to be none.
        """
        ends = (max(low, -self.widest), min(high, self.widest))
        shown = [f"{self.factor * value:+.{self.digits}f}" for value in (mean, *ends)]
        if low == high:
            return f"{shown[0]} {self.difference_unit} (no interval)"
        return f"{shown[0]} [{shown[1]}, {shown[2]}] {self.difference_unit}"


METRICS: dict[str, Metric] = {}
"""What a search may optimise, by name, in the order in which people are shown them."""


def declared(metric: Metric) -> Metric:
    """``metric``, from now on among ``METRICS``."""
    METRICS[metric.name] = metric
    return metric


def _right(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    right: NDArray[np.float64] = (logits.argmax(axis=1) == labels).astype(np.float64)
    return right


def _f1_by_image(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    right, named, occurs = _f1_counts(labels, predicted, classes)
    f1 = np.divide(2 * right, named, out=np.zeros(classes), where=occurs)
    centre, weight = _linearised(f1, named, np.bincount(labels, minlength=classes))
    # d F1 of a class: 2 for a right answer, less F1 for every label and every answer that names it.
    values = weight[labels] * (2 * _right(logits, labels) - centre[labels])
    values -= weight[predicted] * centre[predicted]
    return _with_mean(values, float(f1[occurs].mean()))


def _log_likelihoods(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    likelihoods: NDArray[np.float64] = log_probabilities(logits)[np.arange(len(labels)), labels]
    return likelihoods


def _recall_by_image(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    correct = _right(logits, labels)
    counts = np.bincount(labels)
    occurs = counts > 0
    recall = np.divide(np.bincount(labels, correct), counts, out=np.zeros(len(counts)), where=occurs)
    centre, weight = _linearised(recall, counts, counts)
    # Linearised as well: another sample has other numbers of images of each class.
    return _with_mean(weight[labels] * (correct - centre[labels]), float(recall[occurs].mean()))


def _linearised(
    shares: NDArray[np.float64], wholes: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the images of each class are compared with, and the weight of their difference, (K,) each.

    Images lie nearer to their own mean than to that of all images of their kind, n of them by √((n-1)/n), and
    one image lies at its own: it is compared with the mean of the classes. So what other images would change
    is not taken for less than it is where a class has few. Of 20 classes of one image each, 95 % intervals of
    a difference held the truth in 52 % of 200 simulations; they do in 92 %, and of two images in 94 for 82 %.

    Args:
        shares: (K,): the figure of each class, of which the score is the mean; 0 where it does not occur.
        wholes: (K,): what the figure is a share of; 0 where the class does not occur.
        counts: (K,): images of each class.
    """
    occurs = wholes > 0
    number = int(occurs.sum())
    single = counts == 1
    among = np.where(single, number, np.maximum(counts, 2))
    stretch = np.sqrt(among / np.maximum(1, among - 1))
    weight = np.divide(counts.sum() * stretch, number * wholes, out=np.zeros(len(shares)), where=occurs)
    return np.where(single, shares[occurs].mean(), shares), weight


def _with_mean(values: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """``values`` moved to where their mean is ``mean``."""
    moved: NDArray[np.float64] = values + (mean - values.mean())
    return moved


ACCURACY = declared(
    Metric(
        name="accuracy",
        label="accuracy",
        difference_unit="points",
        margin=0.01,
        per_image=_right,
        score=lambda figures: figures.accuracy,
    )
)

MACRO_F1 = declared(
    Metric(
        name="macro-f1",
        label="macro-F1",
        difference_unit="points of macro-F1",
        margin=0.01,
        per_image=_f1_by_image,
        score=lambda figures: figures.macro_f1,
    )
)

LOG_LOSS = declared(
    Metric(
        name="log-loss",
        label="log-loss",
        difference_unit="nats",
        margin=0.02,
        per_image=_log_likelihoods,
        score=lambda figures: -figures.log_loss,
        unit="nats",
        factor=1.0,
        digits=3,
        symbol="",
        direction=-1,
        perfect=0.0,
        widest=math.inf,
    )
)

BALANCED_ACCURACY = declared(
    Metric(
        name="balanced-accuracy",
        label="balanced accuracy",
        difference_unit="points of balanced accuracy",
        margin=0.01,
        per_image=_recall_by_image,
        score=lambda figures: figures.balanced_accuracy,
    )
)
