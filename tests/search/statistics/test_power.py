"""How large a lead a confirmation finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsearch.search.statistics.paired import Spread, folds_needed
from augsearch.search.statistics.power import clear_in_most, detectable, shown_lead
from augsearch.trainers.evaluation.metrics import METRICS


@given(st.floats(0.001, 0.1), st.floats(0, 0.02), st.integers(3, 60))
def test_so_many_folds_are_needed_for_the_lead_that_they_find(
    by_fold: float, by_images: float, folds: int
) -> None:
    noise = Spread(by_fold, by_images)
    # As a verdict counts the seeds that would decide; folds of the smallest such number do find it.
    needed = folds_needed(detectable(noise, folds) * clear_in_most(0.025) * (1 + 1e-9), noise)
    assert needed is not None
    assert needed <= folds
    assert needed == folds or detectable(noise, needed) <= detectable(noise, folds) * (1 + 1e-6)


def test_four_in_five_such_leads_are_found() -> None:
    noise, folds = Spread(0.02, 0.0), 16
    rng = np.random.default_rng(0)
    gains = rng.normal(detectable(noise, folds), noise.by_fold, (4000, folds))
    error = gains.std(axis=1, ddof=1) / np.sqrt(folds)
    found = (gains.mean(axis=1) > 2.131 * error).mean()
    assert 0.75 < found < 0.85


@pytest.mark.parametrize(("metric", "words"), [("accuracy", "2.1 points"), ("log-loss", "0.021 nats")])
def test_a_lead_is_shown_with_its_unit(metric: str, words: str) -> None:
    assert shown_lead(METRICS[metric], 0.021) == words
