"""Intervals that hold what they promise, tests that SciPy agrees with, and what is made of several."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from augsearch.search.statistics.paired import (
    TRAINING_SHARE,
    Spread,
    compare,
    folds_needed,
    holm,
    mean_interval,
    parts_of,
    spread,
)
from augsearch.trainers.workspace.folds import FoldResult


def result(score: float, values: np.ndarray | None = None) -> FoldResult:
    empty = np.empty(0, dtype=bool)
    return FoldResult(score, 0.5, 0.05, 1.0, 100, empty, values=values)


def results(*scores: float) -> list[FoldResult]:
    return [result(score) for score in scores]


def test_a_difference_is_of_pairs_on_the_folds_that_both_have() -> None:
    difference = compare("a", results(0.8, 0.9, 0.7), "b", results(0.7, 0.8))
    assert difference.mean == pytest.approx(0.1)
    assert difference.folds == 2
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)


@pytest.mark.parametrize("folds", [4, 8, 16])
def test_the_interval_of_a_mean_misses_the_truth_in_one_of_twenty(folds: int) -> None:
    misses = 0
    for world in range(400):
        low, high = mean_interval(np.random.default_rng(world).normal(0, 1, folds))
        misses += not low <= 0 <= high
    # 20 are expected; fewer than 6 or more than 42 happen once in some 10,000 runs.
    assert 6 <= misses <= 42


def gain(values: np.ndarray, rows: np.ndarray | None = None, share: float = 0.0) -> FoldResult:
    """A result whose every image adds its value to the score."""
    mean, empty = float(values.mean()), np.empty(0, dtype=bool)
    return FoldResult(mean, 0.5, 0.05, 1.0, 100, empty, values=values, pool_share=share, rows=rows)


def nothing_like(results: list[FoldResult]) -> list[FoldResult]:
    """Results on the same folds and images that gain nothing."""
    return [gain(np.zeros_like(one.values), one.rows, one.pool_share) for one in results]  # type: ignore[arg-type]


def test_the_interval_widens_by_what_other_images_would_say() -> None:
    rng = np.random.default_rng(0)
    folds, images = 8, 200
    truth = rng.normal(0, 0.5, images)  # the same in every fold: only other images would change it
    first = [gain(truth + rng.normal(0, 0.1, images)) for _ in range(folds)]
    second = nothing_like(first)
    assert spread(first, second).by_images == pytest.approx(0.5 / math.sqrt(images), rel=0.2)
    blind = [result(one.score) for one in first], results(*[0.0] * folds)
    seen, unseen = compare("a", first, "b", second), compare("a", blind[0], "b", blind[1])
    assert seen.mean == pytest.approx(unseen.mean)
    assert seen.high - seen.low > 3 * (unseen.high - unseen.low)


def test_luck_of_folds_is_not_taken_for_that_of_images() -> None:
    rng = np.random.default_rng(0)

    def lucky() -> list[FoldResult]:
        rows = rng.random((16, 400)) < 0.8
        return [FoldResult(float(row.mean()), 0.5, 0.05, 1.0, 100, row) for row in rows]

    parts = [parts_of(lucky(), lucky()) for _ in range(40)]
    chance = 2 * 0.8 * 0.2 / 400
    assert np.mean([one.images for one in parts]) < 0.2 * chance / 16
    assert np.mean([one.chance for one in parts]) == pytest.approx(chance, rel=0.05)
    assert abs(np.mean([one.between for one in parts])) < 0.2 * chance


def cross_fitted_gains(
    rng: np.random.Generator, folds: int, sds: tuple[float, float, float]
) -> list[FoldResult]:
    """Gains of standard deviations ``sds`` between images, between folds, and of chance on an image."""
    pool, own = 400, rng.normal(0, sds[0], 400)
    found = []
    for _ in range(folds):
        rows = np.zeros(pool, dtype=bool)
        rows[rng.permutation(pool)[:220]] = True
        values = own[rows] + rng.normal(0, sds[1]) + rng.normal(0, sds[2], 220)
        found.append(gain(values, rows, 0.45))
    return found


def test_of_images_that_are_scored_in_some_folds_each_part_is_found() -> None:
    rng = np.random.default_rng(0)
    sds = (0.3, 0.02, 0.4)
    found = []
    for _ in range(60):
        first = cross_fitted_gains(rng, 24, sds)
        found.append(parts_of(first, nothing_like(first)))
    assert np.mean([one.images for one in found]) == pytest.approx(0.3**2 / 400, rel=0.1)
    assert np.mean([one.chance for one in found]) == pytest.approx(0.4**2 / 220, rel=0.1)
    assert np.mean([one.between for one in found]) == pytest.approx(0.02**2, rel=0.3)


def test_the_more_images_folds_share_the_less_more_of_them_say() -> None:
    parts = parts_of(*(cross_fitted_gains(np.random.default_rng(n), 16, (0.0, 0.05, 0.1)) for n in (0, 1)))
    wide, narrow = (replace(parts, share=share).spread(parts.between) for share in (0.8, 0.1))
    assert replace(parts, share=0.0).spread(parts.between).by_training == 0
    assert wide.by_training > narrow.by_training > 0
    rho = 0.8 * TRAINING_SHARE
    assert wide.by_training**2 == pytest.approx(parts.between * rho / (1 - rho))
    assert wide.by_fold == narrow.by_fold


def test_p_and_interval_say_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        first = cross_fitted_gains(rng, 8, (0.1, 0.02, 0.3))
        lead = compare("a", first, "b", nothing_like(first))
        assert (lead.p < 0.025) == (lead.low > 0)
        assert (lead.p > 0.975) == (lead.high < 0)


def test_holm_is_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_as_many_folds_are_needed_as_make_the_interval_so_narrow() -> None:
    noise = Spread(by_fold=0.01, by_images=0.0)
    needed = folds_needed(0.005, noise)
    assert needed == 18  # t(0.975, 17) · 0.01 / √18 = 0.00497
    assert folds_needed(0.005, Spread(0.01, 0.002)) > needed  # type: ignore[operator]
    assert folds_needed(0.005, Spread(0.01, 0.003)) is None  # 1.96 · 0.003 is more already


def test_images_of_one_group_count_as_one() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, 200)
    alone = [gain(images + rng.normal(0, 0.1, 200)) for _ in range(8)]
    groups = np.repeat(np.arange(200), 5)
    frames = [replace(one, values=np.repeat(one.values, 5)) for one in alone]  # type: ignore[arg-type]
    grouped = [replace(one, groups=groups) for one in frames]
    truth, blind, told = (spread(one, nothing_like(one)) for one in (alone, frames, grouped))
    assert blind.by_images == pytest.approx(truth.by_images / math.sqrt(5), rel=0.05)
    assert told.by_images == pytest.approx(truth.by_images, rel=0.05)


@pytest.mark.parametrize("count", [3, 6])
def test_of_few_groups_the_interval_counts_how_little_they_tell(count: int) -> None:
    rng = np.random.default_rng(count)
    groups, held = np.repeat(np.arange(count), 10), 0
    for _ in range(400):
        images = np.repeat(rng.normal(0, 1, count), 10) + rng.normal(0, 0.1, 10 * count)
        own = [replace(gain(images + rng.normal(0, 0.1, 10 * count)), groups=groups) for _ in range(8)]
        found = compare("one", own, "other", nothing_like(own))
        held += found.low <= 0 <= found.high
    assert held >= 364  # 95 % ± 2 standard errors are 372 to 388; with normal quantiles it was 336 and 360


def test_groups_of_one_image_each_change_nothing() -> None:
    rng = np.random.default_rng(1)
    images, rows = rng.normal(0, 1, 300), [rng.random(300) < 0.6 for _ in range(6)]
    alone = [gain((images + rng.normal(0, 0.3, 300))[own], own) for own in rows]
    grouped = [replace(one, groups=np.arange(300)) for one in alone]
    without, told = (spread(one, nothing_like(one)) for one in (alone, grouped))
    assert told.by_images == pytest.approx(without.by_images, rel=0.1)
    assert told.by_fold == without.by_fold
