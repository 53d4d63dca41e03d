"""Learners whose true difference is known: does the interval hold it?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from augsearch.search.statistics.paired import Difference, compare
from augsearch.trainers.data.splits import cross_fitted
from augsearch.trainers.workspace.folds import FoldResult
from benchmarks.statistics.worlds import fold_size

LEARNERS = "linear and quadratic discriminant analysis, k nearest neighbours; 8 classes in 10 dimensions"
CLASSES, DIMENSIONS = 8, 10
TRUTH_SETS, TRUTH_SCORED = 150, 8000
FOLDS = 32

Learner = Callable[[], Any]
Drawn = tuple[NDArray[np.float64], NDArray[np.int64]]

PAIRS: dict[str, tuple[Learner, Learner]] = {
    "LDA and QDA": (
        LinearDiscriminantAnalysis,
        lambda: QuadraticDiscriminantAnalysis(reg_param=0.05),
    ),
    "LDA and 9 neighbours": (LinearDiscriminantAnalysis, lambda: KNeighborsClassifier(9)),
    "5 and 15 neighbours": (lambda: KNeighborsClassifier(5), lambda: KNeighborsClassifier(15)),
}


def draw(count: int, rng: np.random.Generator) -> Drawn:
    """Points (N, 10) of eight normal distributions, as many of each, and their classes (N,)."""
    of_world = np.random.default_rng(1)
    means = of_world.normal(0, 1.1, (CLASSES, DIMENSIONS))
    shapes = np.eye(DIMENSIONS) + of_world.normal(0, 0.18, (CLASSES, DIMENSIONS, DIMENSIONS))
    labels = np.arange(count) % CLASSES
    points = means[labels] + np.einsum("nij,nj->ni", shapes[labels], rng.normal(size=(count, DIMENSIONS)))
    return points, labels


def right(learner: Learner, learned: Drawn, scored: Drawn) -> NDArray[np.bool_]:
    """Which of the ``scored`` points (N,) a learner classifies rightly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nearly collinear points
        found: NDArray[np.bool_] = learner().fit(*learned).predict(scored[0]) == scored[1]
    return found


def truth(pair: str, pool: int) -> float:
    """The difference of the pair's accuracies over many training sets, on many points."""
    rng, size = np.random.default_rng(5), fold_size(pool)
    scored = draw(TRUTH_SCORED, rng)
    first, second = PAIRS[pair]
    gains = []
    for _ in range(TRUTH_SETS):
        learned = draw(size, rng)
        gains.append(right(first, learned, scored).mean() - right(second, learned, scored).mean())
    return float(np.mean(gains))


def cross_fit(pair: str, pool: int, number: int) -> Difference:
    """The difference as it comes out on pool ``number`` of ``pool`` points."""
    points, labels = draw(pool, np.random.default_rng([9, number]))
    size = fold_size(pool)
    results: tuple[list[FoldResult], list[FoldResult]] = ([], [])
    for fold in range(FOLDS):
        learned, scored = cross_fitted(np.arange(pool), labels, fold=fold, size=size, most=pool, seed=number)
        rows = np.zeros(pool, dtype=bool)
        rows[scored] = True
        for learner, found in zip(PAIRS[pair], results, strict=True):
            correct = right(learner, (points[learned], labels[learned]), (points[scored], labels[scored]))
            accuracy = float(correct.mean())
            found.append(FoldResult(accuracy, 0.0, 0.0, 0.0, 1, correct, pool_share=size / pool, rows=rows))
    return compare("first", results[0], "second", results[1])


def _one(task: tuple[str, int, int]) -> Difference:
    return cross_fit(*task)


def measured(pools: int, sizes: tuple[int, ...], workers: int) -> list[dict[str, Any]]:
    """Every pair on ``pools`` pools of each size: how often the interval holds the truth, in points."""
    rows = []
    with ProcessPoolExecutor(workers) as executor:
        for size in sizes:
            for pair in PAIRS:
                true = executor.submit(truth, pair, size)
                found = list(executor.map(_one, [(pair, size, number) for number in range(pools)]))
                rows.append(_row(pair, size, true.result(), found))
    return rows


def _row(pair: str, size: int, true: float, found: list[Difference]) -> dict[str, Any]:
    errors = np.array([one.mean - true for one in found])
    return {
        "pair": pair,
        "images": size,
        "pools": len(found),
        "truth": 100 * true,
        "covered": [one.low <= true <= one.high for one in found],
        "half": 100 * float(np.mean([(one.high - one.low) / 2 for one in found])),
        "rmse": 100 * float(np.sqrt(np.mean(errors**2))),
    }
