"""Intervals that hold what they promise, tests that SciPy agrees with, and what is made of several."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsearch.search.statistics.paired import (
    Spread,
    compare,
    fold_interval,
    folds_needed,
    holm,
    image_error,
    leads_over,
    shrunken,
    signed_rank,
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
def test_the_interval_over_folds_misses_the_truth_in_one_of_twenty(folds: int) -> None:
    worlds = 400
    misses = 0
    for world in range(worlds):
        low, high = fold_interval(np.random.default_rng(world).normal(0, 1, folds))
        misses += not low <= 0 <= high
    # 20 are expected; fewer than 6 or more than 42 happen once in some 10,000 runs.
    assert 6 <= misses <= 42


def test_the_interval_widens_by_what_other_images_would_say() -> None:
    rng = np.random.default_rng(0)
    folds, images = 8, 200
    truth = rng.normal(0, 0.5, images)  # the same in every fold: only other images would change it
    first = []
    for _ in range(folds):
        values = (truth + rng.normal(0, 0.1, images)).astype(np.float16)
        first.append(result(float(values.astype(float).mean()), values))
    second = [result(0.0, np.zeros(images, dtype=np.float16)) for _ in range(folds)]
    assert image_error(first, second) == pytest.approx(0.5 / math.sqrt(images), rel=0.2)
    blind = [result(one.score) for one in first], results(*[0.0] * folds)
    seen, unseen = compare("a", first, "b", second), compare("a", blind[0], "b", blind[1])
    assert seen.mean == pytest.approx(unseen.mean)
    assert seen.high - seen.low > 3 * (unseen.high - unseen.low)
    assert seen.p == unseen.p


def test_luck_of_folds_is_not_taken_for_that_of_images() -> None:
    rng = np.random.default_rng(0)

    def lucky() -> list[FoldResult]:
        rows = rng.random((16, 400)) < 0.8
        return [FoldResult(float(row.mean()), 0.5, 0.05, 1.0, 100, row) for row in rows]

    errors = [image_error(lucky(), lucky()) for _ in range(40)]
    naive = math.sqrt(2 * 0.8 * 0.2 / 16 / 400)
    assert np.mean(np.square(errors)) < 0.2 * naive**2


def test_eight_gains_of_eight_have_the_p_that_can_be_counted() -> None:
    assert signed_rank(np.arange(1, 9) / 100) == pytest.approx(1 / 2**8)


def test_ties_and_noughts_are_counted_exactly_too() -> None:
    # Ranks 1.5 1.5 3 with the nought's half on either side: of 16 signs, the largest sum in 1.
    assert signed_rank(np.array([0.01, 0.01, 0.02])) == pytest.approx(1 / 2**3)
    assert signed_rank(np.zeros(8)) == 1.0
    assert signed_rank(np.array([0.0, 0.01, 0.01, 0.02])) < 0.2


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=8))
def test_a_lead_and_its_contrary_cannot_both_be_sure(points: list[int]) -> None:
    gains = np.array(points) / 100
    p, contrary = signed_rank(gains), signed_rank(-gains)
    assert 0 < p <= 1
    assert p + contrary >= 1 - 1e-9


def test_the_last_bits_of_scores_make_no_ranks() -> None:
    exact = np.array([0.01, 0.01, 0.01, 0.02, -0.01])
    assert signed_rank(exact) == signed_rank(exact + np.array([1, -1, 2, 0, 1]) * 1e-15)


def test_holm_is_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_a_lead_among_many_equals_is_mostly_luck_and_one_among_unlike_ones_is_not() -> None:
    rng = np.random.default_rng(0)
    alike = [(float(lead), 0.01) for lead in rng.normal(0, 0.01, 12)]
    unlike = [(float(lead), 0.01) for lead in rng.normal(0, 0.10, 12)]
    lucky, earned = shrunken(0.02, 0.01, alike), shrunken(0.02, 0.01, unlike)
    assert lucky is not None
    assert earned is not None
    assert lucky[0] < 0.01
    assert earned[0] == pytest.approx(0.02, abs=0.002)
    assert lucky[1] < lucky[0] < lucky[2]
    assert shrunken(0.02, 0.01, alike[:2]) is None


def test_the_corrected_lead_of_the_luckiest_does_not_flatter() -> None:
    raw, corrected = [], []
    for world in range(200):
        rng = np.random.default_rng(world)
        truths = rng.normal(0, 0.01, 12)
        seen = truths + rng.normal(0, 0.01, 12)
        best = int(seen.argmax())
        estimate = shrunken(float(seen[best]), 0.01, [(float(lead), 0.01) for lead in seen])
        assert estimate is not None
        raw.append(seen[best] - truths[best])
        corrected.append(estimate[0] - truths[best])
    assert np.mean(raw) > 0.008
    assert abs(np.mean(corrected)) < 0.002


def test_leads_of_those_that_stopped_count_with_the_noise_of_all() -> None:
    baseline = results(0.80, 0.81, 0.79, 0.80)
    whole, stopped = results(0.82, 0.83, 0.80, 0.81), results(0.70)
    (lead, error), (behind, unsure) = leads_over(baseline, [whole, stopped])
    assert lead == pytest.approx(0.015)
    assert behind == pytest.approx(-0.10)
    assert unsure == pytest.approx(2 * error)  # of one fold instead of four
    assert leads_over(baseline, [stopped]) == []


def test_as_many_folds_are_needed_as_make_the_interval_so_narrow() -> None:
    noise = Spread(by_fold=0.01, by_images=0.0)
    needed = folds_needed(0.005, noise)
    assert needed == 18  # t(0.975, 17) · 0.01 / √18 = 0.00497
    assert folds_needed(0.005, Spread(0.01, 0.002)) > needed  # type: ignore[operator]
    assert folds_needed(0.005, Spread(0.01, 0.003)) is None  # 1.96 · 0.003 is more already
