"""Differences between two entries that were trained on the same folds, and what may be said of them.

All of it is SciPy's but for the arithmetic that puts it together.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augsearch.trainers.workspace.folds import FoldResult

RESAMPLES = 2000
CONFIDENCE = 0.95
EXACT_FOLDS = 13
"""Up to here the signed-rank test tries all 2^folds signs, ties and all."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one entry is than another, in the metric's unit (a share of images, nats)."""

    better: str
    worse: str
    mean: float
    low: float
    high: float
    folds: int = 0
    """How many both were trained on."""
    p: float = 1.0
    """The p value of the one-sided Wilcoxon signed-rank test over folds."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Where a difference gets its uncertainty from."""

    by_fold: float
    """Standard deviation between folds: other training images, other seeds."""
    by_images: float
    """Standard error that other validation images would make, and no number of folds takes away."""

    def error(self, folds: float) -> float:
        """Standard error of the mean over ``folds``."""
        return math.hypot(self.by_fold / math.sqrt(folds), self.by_images)


def gains_of(first: Sequence[FoldResult], second: Sequence[FoldResult]) -> NDArray[np.float64]:
    """The difference of the scores, (F,), fold by fold, on the folds that both have."""
    return np.array([a.score - b.score for a, b in zip(first, second, strict=False)])


def compare(better: str, first: Sequence[FoldResult], worse: str, second: Sequence[FoldResult]) -> Difference:
    """The difference of two entries on the folds that both have, with a 95 % interval.

    Folds and images are both samples of what might have been. Over folds the interval is bootstrapped,
    expanded for so few of them; what other images would change is added to it as the intervals of two
    independent parts are (MOVER: Zou and Donner 2008, doi:10.1002/sim.3095).
    """
    gains = gains_of(first, second)
    mean = float(gains.mean())
    low, high = fold_interval(gains)
    images = _normal(CONFIDENCE) * image_error(first, second)
    return Difference(
        better,
        worse,
        mean,
        mean - math.hypot(mean - low, images),
        mean + math.hypot(high - mean, images),
        len(gains),
        signed_rank(gains),
    )


def spread(first: Sequence[FoldResult], second: Sequence[FoldResult]) -> Spread:
    """What the difference of two entries is uncertain by."""
    gains = gains_of(first, second)
    return Spread(float(gains.std(ddof=1)), image_error(first, second))


def leads_over(
    baseline: Sequence[FoldResult], others: Sequence[Sequence[FoldResult]]
) -> list[tuple[float, float]]:
    """The mean lead of each of ``others`` over ``baseline``, and its standard error.

    The error is from the noise of all: the few folds of one that was stopped early say little of their own.
    """
    noises = [spread(results, baseline) for results in others if len(results) > 1]
    if not noises:
        return []
    pooled = Spread(
        math.sqrt(np.mean([noise.by_fold**2 for noise in noises])),
        math.sqrt(np.mean([noise.by_images**2 for noise in noises])),
    )
    leads = [(float(gains_of(results, baseline).mean()), len(results)) for results in others if results]
    return [(lead, pooled.error(folds)) for lead, folds in leads]


def fold_interval(gains: NDArray[np.float64]) -> tuple[float, float]:
    """The mean's interval over folds: a bootstrap's percentiles, wider by what it lacks with few folds.

    Of n values a bootstrap's spread is too small by √((n−1)/n), and its tails are the normal
    distribution's instead of Student's (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, section 3.2).
    """
    count, mean = len(gains), float(gains.mean())
    if count < 2 or np.ptp(gains) < 1e-12:
        return mean, mean
    wanted = stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1) * math.sqrt(count / (count - 1))
    # So far out that some 1/10,000 is left, a bootstrap of few resamples knows little: go on in proportion.
    reached = min(wanted, 2.5)
    bootstrap = stats.bootstrap(
        (gains,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=float(2 * stats.norm.cdf(reached) - 1),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = bootstrap.confidence_interval
    return mean - (mean - low) * wanted / reached, mean + (high - mean) * wanted / reached


def image_error(first: Sequence[FoldResult], second: Sequence[FoldResult]) -> float:
    """Standard error of the mean difference that another sample of validation images would make.

    The variance between images of what each gains on average over folds, less what of it is chance of the
    folds (two-way random effects by the method of moments); 0 where single images aren't known.
    """
    gains = np.stack([a.by_image - b.by_image for a, b in zip(first, second, strict=False)])
    folds, images = gains.shape
    if images < 2 or folds < 2:
        return 0.0
    rows, columns = gains.mean(axis=1, keepdims=True), gains.mean(axis=0, keepdims=True)
    chance = ((gains - rows - columns + gains.mean()) ** 2).sum() / ((folds - 1) * (images - 1))
    return math.sqrt(max(0.0, columns.var(ddof=1) - chance / folds) / images)


def signed_rank(gains: NDArray[np.float64]) -> float:
    """p of the Wilcoxon signed-rank test (one-sided) that the gains are no more than chance."""
    # Scores are shares of whole images: differences that are equal must be equal to the last bit.
    gains = np.round(gains, 9)
    if not gains.any():
        return 1.0
    ties = len(np.unique(np.abs(gains))) < len(gains) or not gains.all()
    method: Any = "exact"
    if ties:
        few = len(gains) <= EXACT_FOLDS
        method = stats.PermutationMethod(n_resamples=2**EXACT_FOLDS) if few else "approx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ties, where there are many folds
        result = stats.wilcoxon(gains, zero_method="zsplit", alternative="greater", method=method)
    return float(result.pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p values, adjusted so that the chance of any false claim stays below the level (Holm 1979)."""
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(values)[order]))
    placed = np.empty(len(values))
    placed[order] = adjusted
    return placed.tolist()


def shrunken(
    lead: float, error: float, others: Sequence[tuple[float, float]]
) -> tuple[float, float, float] | None:
    """A lead corrected for having been picked as the largest: its mean and 95 % interval.

    Empirical Bayes (Efron and Morris 1975): what the leads of ``others``, (lead, standard error) each, say
    of how far leads lie apart is the prior; normal on both sides. None where they are fewer than three.
    """
    if len(others) < 3:
        return None
    leads, errors = (np.array(values) for values in zip(*others, strict=True))
    # Method of moments: what of the spread between leads isn't noise (DerSimonian and Laird 1986).
    weights = 1 / np.maximum(errors, 1e-6) ** 2
    mean = float(weights @ leads / weights.sum())
    excess = weights @ (leads - mean) ** 2 - (len(leads) - 1)
    between = max(0.0, excess / (weights.sum() - (weights**2).sum() / weights.sum()))
    centre_weights = 1 / (np.maximum(errors, 1e-6) ** 2 + between)
    centre = float(centre_weights @ leads / centre_weights.sum())
    if error == 0:
        return lead, lead, lead
    # The prior's own mean is an estimate as well.
    prior = between + 1 / centre_weights.sum()
    trust = prior / (prior + error**2)
    half = _normal(CONFIDENCE) * math.sqrt(trust) * error
    middle = trust * lead + (1 - trust) * centre
    return middle, middle - half, middle + half


def folds_needed(half_width: float, noise: Spread, most: int = 10_000) -> int | None:
    """Folds until an interval reaches ``half_width`` to either side; None: no number of folds does it."""
    z = _normal(CONFIDENCE)
    room = (half_width / z) ** 2 - noise.by_images**2
    if room <= 0:
        return None
    folds = max(2, math.ceil(noise.by_fold**2 / room))
    while folds < most and half_width < math.hypot(
        stats.t.ppf(0.5 + CONFIDENCE / 2, folds - 1) * noise.by_fold / math.sqrt(folds), z * noise.by_images
    ):
        folds += 1
    return folds if folds < most else None


@lru_cache
def _normal(confidence: float) -> float:
    return float(stats.norm.ppf(0.5 + confidence / 2))
