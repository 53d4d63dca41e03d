"""Differences between two entries that were trained on the same folds, and what may be said of them.

What is estimated is the lead for images of this kind: for networks that learn from as many other images, with
other seeds, and are scored on other images. Folds, the images that are scored and the images that folds learn
from are all samples of what might have been, and each adds its part to the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augsearch.trainers.workspace.folds import FoldResult

CONFIDENCE = 0.95
TRAINING_SHARE = 1.0
"""τ: the part of the variance between folds that counts as made by their training images: all of it.

With 800 images leads differed from training set to training set by some 0.3 points, from seed to seed hardly.
"""
SWEEPS = 4
"""Rounds of backfitting until the effects of folds and images no longer change by anything that counts."""

Gains = NDArray[np.float64]
"""(F, N): how much more an entry gets of each image in each fold than another; nan where it isn't scored."""


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
    """The one-sided p value of the hypothesis that it is no better."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Where a difference gets its uncertainty from."""

    by_fold: float
    """Standard deviation between folds: other seeds, other training images, chance on single images."""
    by_images: float
    """Standard error that other images to score on would make, and no number of folds takes away."""
    by_training: float = 0.0
    """Standard error that other images to learn from would make: folds draw from the same ones."""
    image_freedom: float = math.inf
    """Degrees of freedom of ``by_images``: where images come in groups, one less than there are groups."""

    @property
    def by_data(self) -> float:
        """Standard error that no number of folds takes away."""
        return math.hypot(self.by_images, self.by_training)

    def error(self, folds: float) -> float:
        """Standard error of the mean over ``folds``."""
        return math.hypot(self.by_fold / math.sqrt(folds), self.by_data)

    def half_width(self, folds: float, confidence: float = CONFIDENCE) -> float:
        """Half of the interval of the mean over ``folds``, 2 or more."""
        error = self.error(folds)
        return error * float(stats.t.ppf(0.5 + confidence / 2, self.freedom(folds))) if error else 0.0

    def freedom(self, folds: float) -> float:
        """Degrees of freedom of the error (Satterthwaite 1946): few of what is known from folds alone."""
        from_folds, from_images = self.by_fold**2 / folds + self.by_training**2, self.by_images**2
        uncertain = from_folds**2 / (folds - 1) + from_images**2 / self.image_freedom
        return (from_folds + from_images) ** 2 / uncertain if uncertain else math.inf

    def p(self, mean: float, folds: int) -> float:
        """The one-sided p value of the hypothesis that a difference of this mean is no more than chance."""
        error = self.error(folds)
        if error == 0:
            return 0.0 if mean > 0 else 1.0
        return float(stats.t.sf(mean / error, self.freedom(folds)))


def gains_of(first: Sequence[FoldResult], second: Sequence[FoldResult]) -> NDArray[np.float64]:
    """The difference of the scores, (F,), fold by fold, on the folds that both have."""
    return np.array([a.score - b.score for a, b in zip(first, second, strict=False)])


def compare(better: str, first: Sequence[FoldResult], worse: str, second: Sequence[FoldResult]) -> Difference:
    """The difference of two entries on the folds that both have, with a 95 % interval; see ``parts_of``."""
    gains = gains_of(first, second)
    return difference(better, worse, gains, spread(first, second) if len(gains) > 1 else None)


def difference(better: str, worse: str, gains: NDArray[np.float64], noise: Spread | None) -> Difference:
    """The mean of ``gains``, (F,), with a 95 % interval; without ``noise`` it is the mean itself."""
    folds, mean = len(gains), float(gains.mean())
    if noise is None:
        return Difference(better, worse, mean, mean, mean, folds)
    half = noise.half_width(folds)
    return Difference(better, worse, mean, mean - half, mean + half, folds, noise.p(mean, folds))


def spread(first: Sequence[FoldResult], second: Sequence[FoldResult]) -> Spread:
    """What the difference of two entries is uncertain by, from two folds or more; see ``parts_of``."""
    parts = parts_of(first, second)
    return parts.spread(parts.between)


@dataclass(frozen=True, slots=True)
class Parts:
    """The variances of which the uncertainty of a difference is made, by the method of moments."""

    between: float
    """Between folds, beyond chance on single images: other seeds, other training images. Less than 0 where
    folds lie closer together than chance alone lets expect."""
    chance: float
    """Of a fold's mean, by chance on its images."""
    images: float
    """Of the mean over all folds, by the images' own differences."""
    share: float
    """ρ: the share of the images that folds learn from which each learns from."""
    folds: int
    image_freedom: float = math.inf
    """Of ``images``."""

    def spread(self, between: float) -> Spread:
        """The uncertainty, with another estimate of the variance ``between`` folds."""
        between, share = max(0.0, between), TRAINING_SHARE * self.share
        return Spread(
            math.sqrt(between + self.chance),
            math.sqrt(self.images),
            math.sqrt(between * share / (1 - share)),
            self.image_freedom,
        )

    @property
    def surely_between(self) -> float:
        """What the variance between folds hardly is less than: 1.64 standard errors below the estimate."""
        total = self.between + self.chance
        return self.between - 1.64 * total * math.sqrt(2 / (self.folds - 1))


def parts_of(first: Sequence[FoldResult], second: Sequence[FoldResult]) -> Parts:
    """The parts of the uncertainty of the difference of two entries, from two folds or more.

    The gain of fold f on image i is taken apart into μ + a_f + b_i + e_fi, two-way random effects by the
    method of moments (Searle, Casella and McCulloch 1992, chapter 5).

    Folds learn from n of the same m images, so their effects a_f have ρ = n/m of that part of their variance
    in common which the training images make, and not the seeds. With that part τ, of the variance v between
    folds that is seen the mean over F folds has v·(1/F + τρ/(1−τρ)): the corrected resampling of Nadeau and
    Bengio 2003 (doi:10.1023/A:1024068626366), for the part of training alone.
    """
    pairs = list(zip(first, second, strict=False))
    share = max(0.0, min(float(np.mean([one.pool_share for one, _ in pairs])), 0.95))
    if all(len(a.by_image) > 1 for a, _ in pairs):
        between, chance, images, freedom = _components(_table(pairs), pairs[0][0].groups)
    else:
        between, chance, images = float(gains_of(first, second).var(ddof=1)), 0.0, 0.0
        freedom = math.inf
    return Parts(between, chance, images, share, len(pairs), freedom)


def _table(pairs: Sequence[tuple[FoldResult, FoldResult]]) -> Gains:
    """The gains of ``pairs``, one a fold."""
    if pairs[0][0].rows is None:
        return np.stack([a.by_image - b.by_image for a, b in pairs])
    width = len(pairs[0][0].rows)
    gains = np.full((len(pairs), width), np.nan)
    for row, (a, b) in zip(gains, pairs, strict=True):
        row[a.rows] = a.by_image - b.by_image
    return gains


def _components(gains: Gains, groups: NDArray[np.int64] | None) -> tuple[float, float, float, float]:
    """The variance between folds, that of chance in a fold's mean, and that of the whole mean by images, with
    the degrees of freedom of the last.

    Where images come in ``groups``, (N,), other groups might have come and not other images: the last is that
    of the groups' sums (Liang and Zeger 1986, doi:10.1093/biomet/73.1.13).
    """
    scored = ~np.isnan(gains)
    seen = scored.any(axis=0)
    gains, scored = gains[:, seen], scored[:, seen]
    per_fold, per_image, total = scored.sum(axis=1), scored.sum(axis=0), int(scored.sum())
    folds, images = scored.shape
    centred = np.where(scored, gains - gains[scored].mean(), 0.0)
    by_fold, by_image = np.zeros(folds), np.zeros(images)
    for _ in range(SWEEPS):
        by_fold = (centred.sum(axis=1) - scored @ by_image) / per_fold
        by_fold -= by_fold.mean()
        by_image = (centred.sum(axis=0) - by_fold @ scored) / per_image
    rest = np.where(scored, centred - by_fold[:, None] - by_image, 0.0)
    chance = float((rest**2).sum()) / max(1, total - folds - images + 1)
    between = float(by_fold.var(ddof=1)) - chance * float(np.mean(1 / per_fold))
    own = max(0.0, float(by_image.var(ddof=1)) - chance * float(np.mean(1 / per_image)))
    weights = per_image / total
    if groups is not None:
        own_group = np.unique(groups[seen], return_inverse=True)[1]
        sums = np.bincount(own_group, weights * by_image)
        by_chance = chance * float((weights**2 / per_image).sum())
        by_groups = float((sums**2).sum()) * len(sums) / max(1, len(sums) - 1)
        freedom = max(1, len(sums) - 1)
        return between, chance / float(per_fold.mean()), max(0.0, by_groups - by_chance), freedom
    return between, chance / float(per_fold.mean()), own * float((weights**2).sum()), math.inf


def mean_interval(gains: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the mean of independent ``gains``, (F,): Student's."""
    count, mean = len(gains), float(gains.mean())
    if count < 2 or np.ptp(gains) < 1e-12:
        return mean, mean
    low, high = stats.t.interval(CONFIDENCE, count - 1, mean, stats.sem(gains))
    return float(low), float(high)


def holm(values: Sequence[float]) -> list[float]:
    """p values, adjusted so that the chance of any false claim stays below the level (Holm 1979)."""
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(values)[order]))
    placed = np.empty(len(values))
    placed[order] = adjusted
    return placed.tolist()


def folds_needed(half_width: float, noise: Spread, most: int = 10_000) -> int | None:
    """Folds until an interval reaches ``half_width`` to either side; None: no number of folds does it."""
    if half_width <= stats.norm.ppf(0.5 + CONFIDENCE / 2) * noise.by_data:
        return None
    reach, fails = 2, 1
    while reach < most and half_width < noise.half_width(reach):
        fails, reach = reach, reach * 2
    if half_width < noise.half_width(reach):
        return None
    while reach - fails > 1:
        middle = (fails + reach) // 2
        fails, reach = (middle, reach) if half_width < noise.half_width(middle) else (fails, middle)
    return max(2, reach)
