"""What a person is told of a run's time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from augsearch.search.budget.plan import Sizes, Speed, Task, duration, plan
from augsearch.search.budget.words import cost_in_words, outlook_in_words, plan_in_words
from augsearch.search.statistics.sequential import Finalist, Finalists
from augsearch.trainers.workspace.folds import FoldResult

USUAL = Sizes(trials=16, folds=6, fold_size=800, epochs=30, confirm_folds=32, final_epochs=35)
TASK = Task(USUAL, baselines=4, finalists=2, final_passes=2000)
SPEED = Speed(workers=2, images=2345, final_images=900, reserve=12)


def test_the_plan_is_told_in_one_line() -> None:
    sizes = Sizes(12, 4, 400, 30, 16, 20)
    (line,) = plan_in_words(TASK, sizes, SPEED, spent=230 - duration(TASK, sizes, SPEED), budget=240)
    assert line == (
        "2 cores, 2,300 images/s each: 12 trials of up to 4 folds, 16 to confirm, "
        "20 epochs of the final training, about 3 min 50 s"
    )


def test_a_budget_that_is_too_short_says_what_the_least_would_be() -> None:
    _, alone, little, line = plan_in_words(TASK, plan(TASK, SPEED, 5), SPEED, spent=5, budget=10)
    assert (
        alone
        == "as planned there is time for the baselines alone: candidates are tried if folds turn out quicker"
    )
    assert little.startswith(
        "trainings of 100 images × 5 epochs are so short that they favour weak augmentation"
    )
    assert line.startswith("a budget of 10 s is too short for this: the least would be about ")


def test_without_a_budget_it_is_told_how_long_it_takes_and_what_a_budget_would_do() -> None:
    line = outlook_in_words(TASK, SPEED)
    assert line.startswith("about ")
    assert " min, give or take a third, at 2 × 2,300 images/s; --budget " in line
    assert line.endswith(" candidates instead of 12")
    fast = Speed(workers=64, images=50_000, final_images=500_000)
    assert "--budget" not in outlook_in_words(TASK, fast)
    assert "the final training not counted" in outlook_in_words(TASK, Speed(workers=2, images=2345))


def finalists_with(folds: int, lead: float) -> Finalists:
    """A baseline and a candidate that leads it by about ``lead``."""

    def results(mean: float, seed: int) -> Sequence[FoldResult]:
        rng = np.random.default_rng(seed)
        scores = [rng.random(400) < mean + rng.normal(0, 0.01) for _ in range(folds)]
        return [FoldResult(float(one.mean()), 0.5, 0.05, 1.0, 100, one) for one in scores]

    finalists = [
        Finalist(0, "none", True, results(0.7, 0)),
        Finalist(4, "trial 4", False, results(0.7 + lead, 1)),
    ]
    return Finalists(finalists, 0.01)


def test_a_verdict_by_fewer_folds_says_what_they_find_and_what_all_would() -> None:
    sizes = Sizes(9, 2, 400, 30, 8, 20)
    words = cost_in_words(TASK, sizes, finalists_with(8, 0.01), folds=8, budget=240, closed=False)
    assert words is not None
    assert words.startswith(
        "The budget of 4 min allowed 8 of up to 32 fresh folds, of 400 images × 30 epochs "
        "instead of 800 × 30: a lead of "
    )
    found, would = words.split("a lead of ")[1].split(" points would have been found four times in five; ")
    assert float(found) > float(would.removeprefix("32 folds would find ").removesuffix("."))


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        (9.0, "no lead would have been found, nor would one with 32."),
        (0.4, "no lead would have been found; 32 folds would find "),
    ],
)
def test_a_lead_that_no_score_could_have_is_none(spread: float, words: str) -> None:
    field = finalists_with(2, 0.0)
    apart = FoldResult(0.7 + spread, 0.5, 0.05, 1.0, 100, np.full(400, 0.7 + spread))
    field.members[1].results[:] = [apart, field.members[1].results[1]]  # type: ignore[index]
    assert words in str(cost_in_words(TASK, Sizes(9, 2, 400, 30, 2, 20), field, 2, budget=240, closed=False))


@pytest.mark.parametrize(("run", "folds", "lead"), [(32, 32, 0.01), (8, 16, 0.25)])
def test_what_the_budget_did_not_take_is_not_told(run: int, folds: int, lead: float) -> None:
    assert (
        cost_in_words(TASK, USUAL, finalists_with(run, lead), folds, budget=240, closed=run < folds) is None
    )


@pytest.mark.parametrize(("run", "folds", "lead"), [(32, 32, 0.01), (8, 16, 0.25)])
def test_smaller_folds_are_told_whatever_the_number_of_folds_said(run: int, folds: int, lead: float) -> None:
    words = cost_in_words(
        TASK,
        Sizes(9, 2, 240, 25, folds, 20),
        finalists_with(run, lead),
        folds,
        budget=240,
        closed=run < folds,
    )
    assert words == (
        "The budget of 4 min allowed smaller folds, of 240 images × 25 epochs instead of 800 × 30: "
        "on more images and for longer, leads may be others."
    )
