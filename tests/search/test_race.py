"""The driver, with real trainings: kept, resumed, repeated, and not thrown by a worker's death."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from augsearch.policies import UserError
from augsearch.search.data import Data, identity_of, open_data
from augsearch.search.display import Display
from augsearch.search.engines import Engine, InlineEngine, LocalEngine, WorkerLostError
from augsearch.search.race import Race, TeacherDone, TrialDone
from augsearch.search.settings import Settings
from augsearch.search.space import BASELINES
from augsearch.search.studies import entries, open_storage, open_study

ENGINE = InlineEngine()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def quick(data: str, **fields: Any) -> Settings:
    defaults: dict[str, Any] = {
        "trials": 14,
        "folds": 3,
        "epochs": 1,
        "proxy_model": "tiny",
        "teacher": "tiny",
        "seed": 5,
    }
    return Settings(data=data, **(defaults | fields))


def opened(settings: Settings, database: str = "a.db") -> tuple[optuna.Study, Data]:
    data = open_data(settings, Display())
    storage = open_storage(f"sqlite:///{database}")
    identity = identity_of(settings, data)
    return open_study(storage, "s", identity, settings.operations, with_teacher=settings.with_teacher), data


def race(
    settings: Settings, database: str = "a.db", engine: Engine = ENGINE, stop_after: int | None = None
) -> optuna.Study:
    study, data = opened(settings, database)
    for _ in itertools.islice(Race(study, engine, data.workspace, settings), stop_after):
        pass
    return study


def table(study: optuna.Study) -> list[Any]:
    return [
        (one.number, one.baseline, one.state, one.candidate, [result.accuracy for result in one.results])
        for one in entries(study)
    ]


def test_the_baselines_come_first_and_run_all_their_folds(stripes: str) -> None:
    done = entries(race(quick(stripes)))
    assert [one.baseline for one in done[:4]] == [
        "none",
        "flip + crop",
        "RandAugment (2, 9)",
        "TrivialAugment",
    ]
    assert {one.baseline for one in done[4:]} == {None}
    assert all(one.state is TrialState.COMPLETE and len(one.results) == 3 for one in done[:4])
    assert len(done) == 14
    assert any(one.candidate.distillation for one in done)


@pytest.mark.parametrize("operations", [("hue", "gamma"), ("rotate", "grey", "equalize")])
def test_baselines_are_themselves_whatever_is_searched(stripes: str, operations: tuple[str, ...]) -> None:
    settings = quick(stripes, operations=operations, trials=14, teacher="none", folds=1)
    race(settings, "parts.db", stop_after=4)
    done = entries(race(settings, "parts.db"))
    assert table(race(settings)) == table(race(settings, "parts.db"))
    assert [one.candidate.policy for one in done[:4]] == list(BASELINES.values())
    assert [one.baseline for one in done[4:]] == [None] * 10
    searched = {
        name for one in done[4:] for name in one.candidate.policy.operations if one.candidate.policy.num_ops
    }
    assert searched
    assert searched <= set(operations)


def test_one_worker_repeats_itself(stripes: str) -> None:
    assert table(race(quick(stripes), "a.db")) == table(race(quick(stripes), "b.db"))
    assert table(race(quick(stripes, seed=6), "c.db")) != table(race(quick(stripes), "a.db"))


@pytest.mark.parametrize("stop_after", [1, 2, 9, 23, 31])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(stripes: str, stop_after: int) -> None:
    whole = table(race(quick(stripes), "whole.db"))
    race(quick(stripes), "parts.db", stop_after=stop_after)
    study = race(quick(stripes), "parts.db")
    assert table(study) == whole
    assert {trial.state.is_finished() for trial in study.trials} == {True}


def test_raising_trials_goes_on_and_keeps_what_there_is(stripes: str) -> None:
    few = table(race(quick(stripes, trials=5)))
    assert table(race(quick(stripes, trials=7)))[:5] == few
    assert len(race(quick(stripes, trials=7)).trials) == 7


def test_other_data_or_settings_are_refused_and_named(stripes: str) -> None:
    opened(quick(stripes))
    with pytest.raises(
        UserError, match="made from other data or settings: folds was 3, is 4; use another --study"
    ):
        opened(quick(stripes, folds=4))


class _Losing:
    """The inline engine, whose worker dies at the submissions with these numbers."""

    slots = 1

    def __init__(self, lost: set[int]) -> None:
        self._lost, self._count = lost, 0

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        self._count += 1
        if self._count - 1 in self._lost:
            future: Future[Any] = Future()
            future.set_exception(WorkerLostError("a worker died (exit code -9)"))
            return future
        return ENGINE.submit(function, *args, **kwargs)

    def close(self) -> None:
        pass


def test_a_lost_worker_costs_a_fold_and_changes_nothing(stripes: str) -> None:
    settings = quick(stripes, trials=5)
    whole = table(race(settings, "a.db"))
    assert table(race(settings, "b.db", engine=_Losing({0, 3, 8}))) == whole


def test_a_fold_lost_twice_fails_its_trial_with_the_reason(stripes: str) -> None:
    settings = quick(stripes, trials=5, teacher="none")
    study, data = opened(settings)
    ended = [
        event
        for event in Race(study, _Losing({0, 1}), data.workspace, settings)
        if isinstance(event, TrialDone)
    ]
    assert ended[0].state is TrialState.FAIL
    assert ended[0].reason == "a worker died (exit code -9)"
    assert study.trials[0].user_attrs["reason"] == ended[0].reason
    assert len(ended) == 5


def test_the_time_limit_ends_the_search_but_not_the_baselines(stripes: str) -> None:
    study = race(quick(stripes, timeout=1e-3))
    done = entries(study)
    assert [one.state for one in done] == [TrialState.COMPLETE] * 4
    assert all(len(one.results) == 3 for one in done)


def test_the_teacher_is_trained_once_and_only_when_a_candidate_listens(stripes: str) -> None:
    settings = quick(stripes)
    study, data = opened(settings)
    events = list(Race(study, ENGINE, data.workspace, settings))
    assert sum(isinstance(event, TeacherDone) for event in events) == 1
    first = next(one.number for one in entries(study) if one.candidate.distillation)
    assert first >= 4
    without = entries(race(quick(stripes, teacher="none"), "b.db"))
    assert not any(one.candidate.distillation for one in without)


def test_a_teacher_with_other_classes_is_refused(stripes: str, tmp_path: Path) -> None:
    from augsearch.trainers.models import ModelSpec, build_model, save_model

    spec = ModelSpec(name="tiny", channels=1, image_size=16, classes=("a", "b"), mean=(0.0,), std=(1.0,))
    save_model(build_model(spec, 0), spec, tmp_path / "t.safetensors", {})
    with pytest.raises(UserError, match=r"teacher .*t.safetensors: its classes are \('a', 'b'\)"):
        race(quick(stripes, teacher=str(tmp_path / "t.safetensors")))


def test_any_number_of_workers_gives_a_fold_the_same_score(stripes: str) -> None:
    settings = quick(stripes, trials=4, teacher="none", folds=2)
    inline = table(race(settings, "a.db"))
    several = LocalEngine(workers=2, time_limit=60)
    try:
        parallel = table(race(settings, "b.db", engine=several))
    finally:
        several.close()
    assert parallel == inline
