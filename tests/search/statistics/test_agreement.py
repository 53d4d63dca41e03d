"""How far two rankings agree, against scores whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from augsearch.search.statistics.agreement import agreement, attainable, ranks


def column(*scores: float) -> np.ndarray:
    return np.array(scores)[:, np.newaxis]


def test_the_same_order_agrees_wholly_and_costs_nothing() -> None:
    proxies = np.linspace(0.5, 0.7, 12)[:, np.newaxis] + np.array([0.0, 0.01])
    found = agreement(proxies, column(*np.linspace(0.6, 0.9, 12) ** 2))
    assert found.spearman.value == pytest.approx(1)
    assert found.kendall.value == pytest.approx(1)
    assert found.regret.value == found.regret.high == 0
    assert found.belief == "believe"
    assert found.between_seeds is None


def test_the_reverse_order_is_not_to_be_believed() -> None:
    final = np.linspace(0.6, 0.9, 12)
    found = agreement(column(*final[::-1]), column(*final))
    assert found.spearman.value == pytest.approx(-1)
    assert found.belief == "not"
    assert found.regret.value == pytest.approx(0.3)
    assert found.blind == pytest.approx(0.15)


def test_few_candidates_leave_open_what_many_decide() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=80)
    proxies, finals = (truth + rng.normal(0, 0.5, 80) for _ in range(2))
    few, many = (
        agreement(column(*proxies[:8]), column(*finals[:8])),
        agreement(column(*proxies), column(*finals)),
    )
    assert many.belief == "believe"
    assert many.spearman.high - many.spearman.low < 0.3 < few.spearman.high - few.spearman.low
    assert few.belief in ("likely", "doubtful")
    for one in (few, many):
        assert one.spearman.low <= one.spearman.value <= one.spearman.high
        assert one.kendall.low <= one.kendall.value <= one.kendall.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    correlation = 0.7
    truth = 6 / math.pi * math.asin(correlation / 2)  # Spearman's of two normals
    held = 0
    for _ in range(60):
        first, noise = rng.normal(size=(2, 12))
        second = correlation * first + math.sqrt(1 - correlation**2) * noise
        found = agreement(column(*first), column(*second)).spearman
        held += found.low <= truth <= found.high
    assert held >= 52


def test_final_trainings_say_how_far_they_agree_with_themselves() -> None:
    final = np.linspace(0.6, 0.9, 12)
    found = agreement(column(*final), np.stack([final, final[::-1], final], axis=1))
    assert found.between_seeds == pytest.approx((1 - 1 - 1) / 3)


def test_the_best_that_a_stand_in_can_do_is_what_few_seeds_leave() -> None:
    assert attainable(0.5, 1) == pytest.approx(math.sqrt(0.5))
    assert attainable(0.5, 4) == pytest.approx(math.sqrt(0.8))
    assert attainable(1.0, 2) == 1
    assert attainable(-0.1, 2) is None
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    seeds = truth[:, np.newaxis] + rng.normal(size=(4000, 3))  # any two correlate by a half
    assert np.corrcoef(truth, seeds.mean(axis=1))[0, 1] == pytest.approx(attainable(0.5, 3), abs=0.02)


def test_equal_scores_have_no_rank() -> None:
    found = agreement(column(*np.linspace(0, 1, 6)), column(*[0.5] * 6))
    assert found.belief == "nothing to rank"
    assert found.regret.value == 0


def test_ties_are_counted_as_scipy_counts_them() -> None:
    rng = np.random.default_rng(0)
    proxies, finals = rng.integers(4, size=(2, 15)).astype(float)
    found = agreement(column(*proxies), column(*finals))
    assert found.spearman.value == pytest.approx(stats.spearmanr(proxies, finals).statistic)
    assert found.kendall.value == pytest.approx(stats.kendalltau(proxies, finals).statistic)


def test_equals_share_their_place() -> None:
    assert ranks(np.array([0.9, 0.5, 0.9, 0.1])) == [1.5, 3, 1.5, 4]


def test_fewer_than_four_say_nothing() -> None:
    with pytest.raises(ValueError, match="needs 4 candidates"):
        agreement(column(1, 2, 3), column(1, 2, 3))
