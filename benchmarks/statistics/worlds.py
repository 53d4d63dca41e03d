"""Made worlds in which it is known who is better, with the noise of recorded folds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.splits import cross_fitted
from augsearch.trainers.workspace.folds import FoldResult, default_fold_size
from benchmarks.recordings import Recording

POINT = 0.01
CLASSES = 10
LEARNED = 1000 / 1750
"""The share of the images that neither scored the search nor are sealed which the search learns from."""
SQRT2 = np.sqrt(2)
STEP = POINT / 15
"""About what one image more that is right adds to a recorded score."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Standard deviations of what one candidate gains over another, as shares of images."""

    by_image: float
    """Between images, of what is the images' own."""
    by_chance: float
    """Of one image in one fold, beyond that."""
    by_fold: float
    """Between folds, beyond the chance of their images."""


@dataclass(frozen=True, eq=False)
class Noise:
    """How folds of real trainings scatter."""

    recordings: tuple[Recording, ...]

    @cached_property
    def _scatter(self) -> list[NDArray[np.float64]]:
        """The folds' scores of each recording less their candidate's mean, (C, F); the standard deviation
        between the folds of a candidate is 1 point on average. The folds' common ups and downs stay in it."""
        scattered = []
        for recording in self.recordings:
            # Those that hardly learn scatter in another way, and never come to a confirmation.
            means = recording.accuracy.mean(axis=1)
            good = recording.accuracy[means >= np.median(means)]
            rows = good - good.mean(axis=1, keepdims=True)
            # About a mean of its own F values scatter by √((F−1)/F) too little.
            sd = np.sqrt((rows**2).sum(axis=1) / (rows.shape[1] - 1)).mean()
            scattered.append(rows / sd * np.sqrt(rows.shape[1] / (rows.shape[1] - 1)) * POINT)
        return scattered

    @cached_property
    def parts(self) -> Scatter:
        """The parts of the gains of recorded candidates over each other: two-way random effects."""
        found = []
        for recording in self.recordings:
            means = recording.accuracy.mean(axis=1)
            good = np.flatnonzero(means >= np.median(means))
            for first, second in itertools.pairwise(good):
                gains = recording.correct[first].astype(float) - recording.correct[second]
                folds, images = gains.shape
                rest = gains - gains.mean(axis=1, keepdims=True) - gains.mean(axis=0) + gains.mean()
                chance = (rest**2).sum() / (folds - 1) / (images - 1)
                own = gains.mean(axis=0).var(ddof=1) - chance / folds
                between = gains.mean(axis=1).var(ddof=1) - chance / images
                found.append((own, chance, between))
        return Scatter(*(float(np.sqrt(max(0.0, value))) for value in np.mean(found, axis=0)))

    def scores(self, truths: NDArray[np.float64], folds: int, rng: np.random.Generator) -> list[list[float]]:
        """Scores of entries whose true scores are ``truths``, (E,), on ``folds`` folds of a search: E lists.

        Each fold is a recorded one, on which each entry has the luck of some recorded candidate.
        """
        noise = np.empty((len(truths), folds))
        for fold in range(folds):
            scatter = self._scatter[rng.integers(len(self._scatter))]
            noise[:, fold] = rng.choice(scatter[:, rng.integers(scatter.shape[1])], len(truths))
        # Between the steps of whole images: else one recorded candidate, drawn for two entries, makes ties.
        noise += rng.uniform(-STEP / 2, STEP / 2, noise.shape)
        scores: list[list[float]] = (truths[:, None] + noise).tolist()
        return scores

    def confirmation(
        self, truths: NDArray[np.float64], pool: int, folds: int, rng: np.random.Generator
    ) -> list[list[FoldResult]]:
        """Results of entries on folds of a cross-fitted confirmation on ``pool`` images: E lists.

        All that could have been otherwise is drawn: the images that are scored, chance on each, and the
        images that are learned from. What differs between folds is all of it those images' doing, as though
        seeds did nothing: the worst case, as folds that have images in common then err alike.
        """
        parts, count = self.parts, len(truths)
        labels, size, seed = np.arange(pool) % CLASSES, fold_size(pool), int(rng.integers(2**31))
        # A difference is of two entries, each with half of its variance.
        own = rng.normal(0, parts.by_image / SQRT2, (count, pool))
        taught = rng.normal(0, parts.by_fold / SQRT2 / np.sqrt(size), (count, pool))
        results: list[list[FoldResult]] = [[] for _ in truths]
        for fold in range(folds):
            learned, scored = cross_fitted(
                np.arange(pool), labels, fold=fold, size=size, most=pool, seed=seed
            )
            rows = np.zeros(pool, dtype=bool)
            rows[scored] = True
            by_fold = truths + taught[:, learned].sum(axis=1)
            values = by_fold[:, None] + own[:, scored]
            values = values + rng.normal(0, parts.by_chance / SQRT2, values.shape)
            for one, row in zip(results, values, strict=True):
                one.append(_result(row, rows, size / pool))
        return results


def fold_size(pool: int) -> int:
    """Images that a fold learns from where ``pool`` are not scored by the search: as ``run`` divides them."""
    return default_fold_size(round(pool * LEARNED), CLASSES)


def _result(values: NDArray[np.float64], rows: NDArray[np.bool_], share: float) -> FoldResult:
    return FoldResult(
        accuracy=float(values.mean()),
        log_loss=0.0,
        ece=0.0,
        seconds=0.0,
        images=1,
        correct=np.zeros(len(values), dtype=bool),
        values=values.astype(np.float32),
        pool_share=share,
        rows=rows,
    )


@dataclass(frozen=True, slots=True)
class World:
    """Who is how good: points above the strongest baseline."""

    name: str
    baselines: tuple[float, ...]
    candidates: tuple[float, ...]

    @property
    def truths(self) -> NDArray[np.float64]:
        """True scores of the baselines, then of the candidates, (E,), as shares."""
        return 0.8 + POINT * np.array([*self.baselines, *self.candidates])


def null(baselines: int, candidates: int) -> World:
    """All alike."""
    return World("all alike", (0.0,) * baselines, (0.0,) * candidates)


def one_strong(baselines: int, candidates: int) -> World:
    """All candidates are like one baseline, and the other baselines far behind: where one error is enough."""
    return World("one strong baseline", (0.0,) + (-4.0,) * (baselines - 1), (0.0,) * candidates)


def planted(points: float, baselines: int, candidates: int) -> World:
    """One candidate, in the middle of the order, is better by so many points than all else."""
    others = [0.0] * candidates
    others[candidates // 2] = points
    return World(f"planted {points:g}", (0.0,) * baselines, tuple(others))
