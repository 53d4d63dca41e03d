"""The driver, with real trainings: kept, resumed, repeated, and not thrown by a worker's death."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from augsearch.policies import Transfer, UserError
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine, WorkerLostError
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.local import LocalEngine
from augsearch.search.engines.worker import Limits
from augsearch.search.inputs.identity import identity_of
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.race.race import FoldDone, Race
from augsearch.search.settings.sections import Pruner
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.studies.costs import searched
from augsearch.search.studies.policy_file import policy_file_of
from augsearch.search.studies.pruner import pruner_of
from augsearch.search.studies.study import entries, open_storage, open_study, reasons
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.saved import save_model
from augsearch.trainers.models.spec import ModelSpec

ENGINE = InlineEngine()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def quick(data: str, **fields: Any) -> Settings:
    """A short search; its teacher is a file, and knows nothing."""
    defaults: dict[str, Any] = {
        "trials": 14,
        "folds": 3,
        "epochs": 1,
        "proxy_model": "tiny",
        "teacher": fields.get("teacher") or teacher_file("teacher.safetensors", ("0", "1", "2")),
        "seed": 5,
    }
    return Settings.of(data=data, **(defaults | fields))


def teacher_file(path: str, classes: tuple[str, ...]) -> str:
    if not Path(path).exists():
        spec = ModelSpec(name="tiny", channels=1, image_size=16, classes=classes, mean=(128.0,), std=(60.0,))
        save_model(build_model(spec, 0), spec, Path(path), {})
    return path


def opened(settings: Settings, database: str = "a.db") -> tuple[optuna.Study, Data]:
    data = open_data(settings, Display())
    storage = open_storage(f"sqlite:///{database}")
    identity = identity_of(settings, data)
    return open_study(storage, "s", identity, settings.space), data


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


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_sampler_searches_and_goes_on_where_it_was_stopped(stripes: str, sampler: str) -> None:
    settings = quick(stripes, sampler=sampler, folds=1, trials=18)
    whole = table(race(settings, "whole.db"))
    race(settings, "halves.db", stop_after=40)
    assert table(race(settings, "halves.db")) == whole
    assert len(whole) == 18


def test_random_search_takes_no_small_steps(stripes: str) -> None:
    study = race(quick(stripes, sampler="random", folds=1, trials=8))
    assert not any("near" in trial.user_attrs for trial in study.get_trials())


@pytest.mark.parametrize("pruner", ["hyperband", "median", "none"])
def test_pruners_that_ask_for_less_than_being_behind_leave_the_baselines_all_their_folds(
    stripes: str, pruner: Pruner
) -> None:
    settings = quick(stripes, pruner=pruner, folds=4, trials=12)
    study, data = opened(settings)
    study.pruner = pruner_of(pruner, settings.search.folds)
    for _ in Race(study, ENGINE, data.workspace, settings):
        pass
    done = entries(study)
    assert [len(one.results) for one in done[: len(BASELINE_POLICIES)]] == [4] * len(BASELINE_POLICIES)
    if pruner == "none":
        assert all(len(one.results) == 4 for one in done)


def test_a_budget_of_images_ends_the_search_after_the_baselines_at_the_earliest(stripes: str) -> None:
    settings = quick(stripes, folds=1)
    study, data = opened(settings)
    for _ in Race(study, ENGINE, data.workspace, settings, budget=1):
        pass
    assert [one.baseline for one in entries(study)] == list(BASELINE_POLICIES)
    images = sum(result.images for one in entries(study) for result in one.results)
    for _ in Race(study, ENGINE, data.workspace, settings, budget=images + 1):
        pass
    assert len(entries(study)) == len(BASELINE_POLICIES) + 1


@pytest.mark.parametrize("metric", ["macro-f1", "log-loss", "balanced-accuracy"])
def test_the_metric_is_what_trials_are_told_by(stripes: str, metric: str) -> None:
    study = race(quick(stripes, metric=metric, folds=2, trials=6))
    for trial, one in zip(study.get_trials(), entries(study), strict=True):
        for fold, result in enumerate(one.results):
            figure = {
                "macro-f1": result.macro_f1,
                "log-loss": -result.log_loss,
                "balanced-accuracy": result.balanced_accuracy,
            }[metric]
            assert trial.intermediate_values[fold] == figure == result.score
            assert result.by_image.mean() == pytest.approx(result.score, abs=2e-3)
        if trial.state is TrialState.COMPLETE:
            assert trial.value == one.score


def test_the_baselines_come_first_and_the_best_of_them_runs_all_its_folds(stripes: str) -> None:
    done = entries(race(quick(stripes)))
    assert [one.baseline for one in done[:6]] == list(BASELINE_POLICIES)
    assert {one.baseline for one in done[6:]} == {None}
    ends = [(one.state, len(one.results) == 3) for one in done[:6]]
    assert set(ends) <= {(TrialState.COMPLETE, True), (TrialState.PRUNED, False)}
    assert ends.count((TrialState.COMPLETE, True)) >= 2, "of one alone nobody knows how folds differ"
    assert len(done) == 14
    assert any(one.candidate.distillation for one in done)


@pytest.mark.parametrize("operations", [("hue", "gamma"), ("rotate", "grey", "equalize")])
def test_baselines_are_themselves_whatever_is_searched(stripes: str, operations: tuple[str, ...]) -> None:
    settings = quick(stripes, operations=operations, trials=14, teacher="none", folds=1)
    race(settings, "parts.db", stop_after=4)
    done = entries(race(settings, "parts.db"))
    assert table(race(settings)) == table(race(settings, "parts.db"))
    assert [one.candidate.policy for one in done[:6]] == list(BASELINE_POLICIES.values())
    assert [one.baseline for one in done[6:]] == [None] * 8
    searched = {
        name for one in done[6:] for name in one.candidate.policy.operations if one.candidate.policy.num_ops
    }
    assert searched
    assert searched <= set(operations)


def test_one_worker_repeats_itself(stripes: str, whole: list[Any]) -> None:
    assert table(race(quick(stripes), "b.db")) == whole
    assert table(race(quick(stripes, seed=6), "c.db")) != whole


@pytest.fixture(scope="module")
def whole(stripes_made: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a search comes to that nothing stopped."""
    with contextlib.chdir(tmp_path_factory.mktemp("whole")):
        return table(race(quick(str(stripes_made))))


@pytest.mark.parametrize("stop_after", [1, 2, 9, 23, 31])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(
    stripes: str, whole: list[Any], stop_after: int
) -> None:
    race(quick(stripes), "parts.db", stop_after=stop_after)
    study = race(quick(stripes), "parts.db")
    assert table(study) == whole
    assert {trial.state.is_finished() for trial in study.trials} == {True}


def test_how_weights_are_used_is_searched_and_taken_up_too(stripes: str) -> None:
    start = teacher_file("start.safetensors", ("0", "1", "2"))
    settings = quick(stripes, proxy_model=start, transfer="search", teacher="none", trials=18, folds=1)
    whole = race(settings, "whole.db")
    race(settings, "parts.db", stop_after=20)
    assert table(race(settings, "parts.db")) == table(whole)
    transfers = [one.candidate.transfer for one in entries(whole)]
    assert transfers == [policy_file_of(whole, one, None).training.transfer for one in entries(whole)]
    assert transfers[:6] == [Transfer(mode="full")] * 6
    assert {transfer.mode for transfer in transfers if transfer} == {"head", "full"}
    assert len({transfer.backbone_lr_scale for transfer in transfers[6:] if transfer}) > 2


def test_raising_trials_goes_on_and_keeps_what_there_is(stripes: str) -> None:
    few = table(race(quick(stripes, trials=7)))
    assert table(race(quick(stripes, trials=9)))[:7] == few
    assert len(race(quick(stripes, trials=9)).trials) == 9


def test_other_data_or_settings_are_refused_and_named(stripes: str) -> None:
    opened(quick(stripes))
    with pytest.raises(
        UserError, match="made from other data or settings: folds was 3, is 4; use another --study"
    ):
        opened(quick(stripes, folds=4))
    with pytest.raises(UserError, match="settings: teacher view was same, is clean; use another --study"):
        opened(quick(stripes, teacher_view="clean"))
    start = teacher_file("start.safetensors", ("0", "1", "2"))
    with pytest.raises(UserError, match="settings: transfer was None, is search; proxy model was tiny, is "):
        opened(quick(stripes, proxy_model=start, transfer="search"))


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
    settings = quick(stripes, trials=6)
    whole = table(race(settings, "a.db"))
    assert table(race(settings, "b.db", engine=_Losing({0, 3, 8}))) == whole


def test_the_time_limit_ends_the_search_but_not_the_baselines(stripes: str) -> None:
    study = race(quick(stripes, timeout=1e-3))
    done = entries(study)
    assert [one.baseline for one in done] == list(BASELINE_POLICIES)
    assert not any("time is up" in reason for reason in reasons(study).values())


def test_a_fold_has_a_teacher_only_where_a_candidate_listens(stripes: str) -> None:
    settings = quick(stripes, teacher="tiny")
    study, data = opened(settings)
    for _ in Race(study, ENGINE, data.workspace, settings):
        pass
    listening = [one for one in entries(study) if one.candidate.distillation]
    assert listening[0].number >= 6
    folds = {fold for one in listening for fold in range(len(one.results))}
    teachers = {path.name.split("-")[1] for path in data.workspace.fold_teachers.glob("*.safetensors")}
    assert teachers == {str(fold) for fold in folds}
    took = {result.teacher_images for one in listening for result in one.results}
    alone = sum(result.images for one in entries(study) for result in one.results)
    assert searched(study).images == alone + len(folds) * took.pop()
    assert not took
    without = entries(race(quick(stripes, teacher="none"), "b.db"))
    assert not any(one.candidate.distillation for one in without)


def test_a_teacher_with_other_classes_is_refused(stripes: str) -> None:
    teacher = teacher_file("other.safetensors", ("a", "b"))
    said = r"teacher other\.safetensors: its classes are a, b, the data's 0, 1, 2; "
    with pytest.raises(UserError, match=said):
        race(quick(stripes, teacher=teacher))


def test_any_number_of_workers_gives_a_fold_the_same_score(stripes: str) -> None:
    settings = quick(stripes, trials=6, teacher="none", folds=2, pruner="none")
    inline = table(race(settings, "a.db"))
    several = LocalEngine(2, Limits(600))
    try:
        parallel = table(race(settings, "b.db", engine=several))
    finally:
        several.close()
    assert parallel == inline


def test_workers_killed_in_the_middle_of_a_race_change_nothing(stripes: str) -> None:
    settings = quick(stripes, trials=6, teacher="none", folds=2, pruner="none")
    undisturbed = table(race(settings, "a.db"))
    engine = LocalEngine(2, Limits(600))
    study, data = opened(settings, "b.db")
    folds, killed = 0, 0
    try:
        for event in Race(study, engine, data.workspace, settings):
            folds += isinstance(event, FoldDone)
            # All workers: the one that has just told its result waits, another is at its fold.
            if isinstance(event, FoldDone) and folds in (3, 7):
                for place in engine._places:
                    if place._worker is not None:
                        place._worker.end()
                        killed += 1
    finally:
        engine.close()
    assert killed >= 2
    assert table(study) == undisturbed
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
