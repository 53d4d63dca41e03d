"""When a candidate stops: never for luck, at once when hopeless, and after three losses in three."""

from __future__ import annotations

import optuna
import pytest

from augsearch.search.pruner import PairedPruner

optuna.logging.set_verbosity(optuna.logging.ERROR)

BEST = [0.84, 0.86, 0.83, 0.85]
SECOND = [0.83, 0.84, 0.83, 0.83]


def study_with(*tables: list[float]) -> optuna.Study:
    study = optuna.create_study(direction="maximize", pruner=PairedPruner())
    for table in tables:
        trial = study.ask()
        for fold, value in enumerate(table):
            trial.report(value, fold)
        study.tell(trial, sum(table) / len(table))
    return study


def stops(study: optuna.Study, values: list[float]) -> bool:
    trial = study.ask()
    for fold, value in enumerate(values):
        trial.report(value, fold)
    return trial.should_prune()


@pytest.mark.parametrize(
    ("values", "stopped"),
    [
        ([0.70], True),  # 14 points behind where folds differ by one: hopeless
        ([0.83], False),
        ([0.83, 0.85], False),
        ([0.83, 0.85, 0.82], True),  # three losses in three
        ([0.83, 0.87, 0.82], False),
        ([0.87, 0.88, 0.86], False),
    ],
)
def test_stops_the_hopeless_at_once_and_steady_losers_after_three(values: list[float], stopped: bool) -> None:
    assert stops(study_with(BEST, SECOND), values) is stopped


def test_stops_nobody_before_anything_has_finished() -> None:
    assert not stops(study_with(), [0.1])


def test_one_finished_trial_says_nothing_of_noise() -> None:
    assert not stops(study_with(BEST), [0.1])


def test_equal_tables_are_no_noise_to_measure_by() -> None:
    assert not stops(study_with(BEST, BEST), [0.83])
