"""When a candidate stops: at once when hopeless, and never for what luck can still mend."""

from __future__ import annotations

import itertools

import numpy as np
import optuna
import pytest

from augsearch.search.studies.pruner import PairedPruner, _noise

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
    return running(study, values).should_prune()


def running(study: optuna.Study, values: list[float]) -> optuna.trial.Trial:
    trial = study.ask()
    for fold, value in enumerate(values):
        trial.report(value, fold)
    return trial


@pytest.mark.parametrize(
    ("values", "stopped"),
    [
        ([0.70], True),  # 14 points behind where folds differ by one: hopeless
        ([0.83], False),
        ([0.83, 0.86], False),
        ([0.83, 0.85], True),  # in the two folds to come it would have to be as much better
        ([0.83, 0.85, 0.82], True),  # three losses in three
        ([0.83, 0.87, 0.82], False),
        ([0.87, 0.88, 0.86], False),
    ],
)
def test_stops_the_hopeless_at_once_and_steady_losers_after_three(values: list[float], stopped: bool) -> None:
    assert stops(study_with(BEST, SECOND), values) is stopped


def test_the_fewer_folds_are_to_come_the_less_is_hoped_of_them() -> None:
    close = [0.833, 0.86, 0.827, 0.85]  # half a point behind, then not
    study = study_with([*BEST, 0.84, 0.85], [*SECOND, 0.83, 0.83])
    assert [stops(study, close[:folds]) for folds in (1, 2)] == [False, False]
    assert stops(study, [0.833, 0.852, 0.826, 0.848, 0.836])


def test_nobody_waits_for_the_first_to_finish_where_many_run_side_by_side() -> None:
    study = study_with()
    for values in (BEST[:2], SECOND[:2], SECOND[:3]):
        assert not running(study, values).should_prune(), "of so few nothing is known of the noise"
    assert not running(study, [0.83, 0.86]).should_prune()
    assert running(study, [0.60, 0.62]).should_prune()
    assert not running(study, [0.60]).should_prune(), "after one fold nothing is known of the noise"


def test_stops_nobody_who_runs_alone() -> None:
    assert not stops(study_with(), [0.1])
    assert not stops(study_with(), [0.1, 0.2])


def test_noise_is_that_of_the_differences_of_all_pairs() -> None:
    tables = [BEST, SECOND, [0.80, 0.84, 0.82, 0.79]]
    pairs = [np.var(np.subtract(one, other), ddof=1) for one, other in itertools.combinations(tables, 2)]
    assert _noise([dict(enumerate(table)) for table in tables]) == pytest.approx(np.sqrt(np.mean(pairs)))


def test_one_finished_trial_says_nothing_of_noise() -> None:
    assert not stops(study_with(BEST), [0.1])


def test_equal_tables_are_no_noise_to_measure_by() -> None:
    assert not stops(study_with(BEST, BEST), [0.83])
