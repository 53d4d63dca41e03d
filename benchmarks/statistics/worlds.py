"""Made worlds in which it is known who is better, with the noise of recorded folds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.workspace.folds import FoldResult
from benchmarks.recordings import Recording

POINT = 0.01
STEP = POINT / 15
"""About what one image more that is right adds to a recorded score."""


@dataclass(frozen=True, eq=False)
class Noise:
    """How folds of real trainings scatter."""

    recordings: tuple[Recording, ...]
    images: int | None = None
    """Validation images, of which other images would say something else; None: so many that it is nothing."""

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
    def image_sd(self) -> float:
        """Standard deviation between images of how much likelier one candidate is right than another, in
        units of the folds' standard deviation: what of it is the images' own, not the folds' chance."""
        sds = []
        for recording in self.recordings:
            means = recording.accuracy.mean(axis=1)
            good = np.flatnonzero(means >= np.median(means))
            for first, second in itertools.pairwise(good):
                gains = recording.correct[first].astype(float) - recording.correct[second]
                folds, images = gains.shape
                rest = gains - gains.mean(axis=1, keepdims=True) - gains.mean(axis=0) + gains.mean()
                chance = (rest**2).sum() / (folds - 1) / (images - 1)
                sds.append(max(0.0, gains.mean(axis=0).var(ddof=1) - chance / folds))
        return float(np.sqrt(np.mean(sds)))

    def draw(
        self, truths: NDArray[np.float64], folds: int, rng: np.random.Generator
    ) -> list[list[FoldResult]]:
        """Results of entries whose true scores are ``truths``, (E,), on ``folds`` folds: E lists.

        Each fold is a recorded one, on which each entry has the luck of some recorded candidate. With
        ``images`` the entries' true scores on those images differ from the truth, the same in every fold.
        """
        count = len(truths)
        noise = np.empty((count, folds))
        for fold in range(folds):
            scatter = self._scatter[rng.integers(len(self._scatter))]
            column = scatter[:, rng.integers(scatter.shape[1])]
            noise[:, fold] = rng.choice(column, count)
        # Between the steps of whole images: else one recorded candidate, drawn for two entries, makes ties.
        noise += rng.uniform(-STEP / 2, STEP / 2, noise.shape)
        by_image = np.zeros((count, 0))
        if self.images is not None:
            # A difference is of two entries, each with half of its variance.
            by_image = rng.normal(0, self.image_sd / np.sqrt(2), (count, self.images))
        scores = truths[:, None] + noise
        return [
            [_result(score, images) for score in row] for row, images in zip(scores, by_image, strict=True)
        ]


def _result(score: float, by_image: NDArray[np.float64]) -> FoldResult:
    off = float(by_image.mean()) if len(by_image) else 0.0
    return FoldResult(
        accuracy=score + off,
        log_loss=0.0,
        ece=0.0,
        seconds=0.0,
        images=1,
        correct=np.empty(0, dtype=bool),
        values=(score + by_image).astype(np.float16) if len(by_image) else None,
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
