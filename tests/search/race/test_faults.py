"""Whatever fails, a study reaches its verdict: machine, limits and candidates each fail in their own way."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from mlflow import MlflowClient
from optuna.trial import TrialState

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.engines import inline
from augsearch.search.engines.engine import EngineFailedError, OverLimitError, WorkerLostError
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.pipelines import run as pipeline
from augsearch.search.pipelines.run import Outcome, run
from augsearch.search.race.lost import lost
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.studies.costs import searched
from augsearch.search.studies.study import entries, open_storage
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, Stage

Fault = Callable[[Candidate, Fold], BaseException | None]
"""What goes wrong with a candidate's fold; None: nothing."""
REAL = InlineEngine()
TIME = OverLimitError("a fold took longer than 5 s (--fold-timeout)")
DIVERGED = TrainingDivergedError("the loss became no number")


class Faulty:
    """The inline engine, on which some folds fail."""

    slots = 1

    def __init__(self, fault: Fault) -> None:
        self._fault, self.begun = fault, list[tuple[Candidate, Fold]]()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        _, candidate, fold = args
        self.begun.append((candidate, fold))
        error = self._fault(candidate, fold)
        if error is None:
            return REAL.submit(function, *args, **kwargs)
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def settings_of(data: str, **fields: Any) -> Settings:
    """A short run without its final training."""
    defaults: dict[str, Any] = {
        "trials": 9,
        "folds": 1,
        "epochs": 1,
        "proxy_model": "tiny",
        "teacher": "none",
        "study": "s",
        "confirm_folds": 2,
        "finalists": 1,
        "final": False,
        "engine": "inline",
        "budget": "none",
    }
    return Settings.of(data=data, **(defaults | fields))


@pytest.fixture
def run_with(stripes: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, Faulty]]:
    def run_it(fault: Fault, **fields: Any) -> tuple[Outcome, Faulty]:
        engine = Faulty(fault)
        monkeypatch.setattr(inline, "start", lambda _: engine)
        # MLflow is not what fails here, and takes seconds to start.
        monkeypatch.setattr(pipeline, "_track", lambda *_: None)
        return run(settings_of(stripes, **fields), Display()), engine

    return run_it


def study() -> optuna.Study:
    return optuna.load_study(storage=open_storage("sqlite:///mlruns/studies.db"), study_name="s")


def nothing(*_: Any) -> None:
    return None


def in_confirmation(number: int, error: BaseException) -> Fault:
    """Trial ``number`` fails on the confirmation's second fold."""

    def fault(candidate: Candidate, fold: Fold) -> BaseException | None:
        if fold.stage is Stage.SEARCH or fold.index != 1:
            return None
        (one,) = [one for one in entries(study()) if one.number == number]
        return error if one.candidate == candidate else None

    return fault


def best_candidates() -> list[int]:
    done = [one for one in entries(study()) if one.baseline is None and one.state is TrialState.COMPLETE]
    return [one.number for one in sorted(done, key=lambda one: -one.score)]


Run = Callable[..., tuple[Outcome, Faulty]]


@pytest.mark.parametrize("error", [DIVERGED, TIME, MemoryError("none left")])
def test_a_finalist_that_fails_loses_and_the_next_takes_its_place(
    run_with: Run, error: BaseException
) -> None:
    with pytest.raises(UserError, match="the disk is full"):  # stops between search and confirmation
        run_with(lambda _, fold: None if fold.stage is Stage.SEARCH else OSError(errno.ENOSPC, "full"))
    first, second = best_candidates()[:2]
    outcome, _ = run_with(in_confirmation(first, error))
    confirmed = [one.number for one in outcome.verdict.confirmed]
    assert second in confirmed
    assert first not in confirmed
    (said,) = [note for note in outcome.verdict.notes if f"trial {first} " in note]
    assert said == f"trial {first} could not be confirmed ({error}), so it lost."
    assert outcome.policy_file.exists()
    again, engine = run_with(nothing)
    assert not engine.begun
    assert again.verdict.sentence == outcome.verdict.sentence
    # Who lost for want of time has another chance where there is more.
    again, engine = run_with(nothing, fold_timeout=7200)
    assert bool(engine.begun) == (error is TIME)
    assert (first in [one.number for one in again.verdict.confirmed]) == (error is TIME)


def test_a_baseline_that_fails_is_named_and_the_same_command_tries_it_again(run_with: Run) -> None:
    outcome, _ = run_with(in_confirmation(1, DIVERGED))
    name = entries(study())[1].name
    assert name not in [one.name for one in outcome.verdict.confirmed]
    assert outcome.verdict.kind != "better"
    assert f"{name} could not be confirmed ({DIVERGED})." in outcome.verdict.notes
    assert any(
        f"{name} could not be trained, so nothing is called better" in n for n in outcome.verdict.notes
    )
    again, engine = run_with(nothing)
    assert {fold.index for _, fold in engine.begun} == {1}
    assert name in [one.name for one in again.verdict.confirmed]
    assert not any(name in note for note in again.verdict.notes)


def test_a_baseline_whose_fold_failed_goes_on_with_the_folds_it_had(run_with: Run) -> None:
    def fault(candidate: Candidate, fold: Fold) -> BaseException | None:
        return DIVERGED if fold == Fold(Stage.SEARCH, 1) and candidate.policy.num_ops == 0 else None

    outcome, _ = run_with(fault, folds=2, trials=6)
    failed = [one for one in study().trials if one.state is TrialState.FAIL]
    assert [one.user_attrs["baseline"] for one in failed] == ["none", "flip + crop"]
    assert any("none and flip + crop could not be trained" in note for note in outcome.verdict.notes)
    before = searched(study())
    _, engine = run_with(nothing, folds=2, trials=6)
    again = [fold for _, fold in engine.begun if fold.stage is Stage.SEARCH]
    assert again == [Fold(Stage.SEARCH, 1)] * 2
    assert searched(study()).trainings == before.trainings + 2


def test_who_overran_its_time_is_not_tried_again(run_with: Run) -> None:
    _, engine = run_with(
        lambda candidate, fold: TIME if candidate.policy.num_ops == 0 and not candidate.policy.crop else None
    )
    nothings = [fold for one, fold in engine.begun if one.policy.num_ops == 0 and not one.policy.crop]
    assert nothings == [Fold(Stage.SEARCH, 0)]


def test_a_worker_that_dies_once_or_twice_changes_nothing(run_with: Run) -> None:
    outcome, _ = run_with(nothing, study="s")
    deaths = iter([True, True, False, True, False, False, True, True] + [False] * 1000)
    other, _ = run_with(lambda *_: WorkerLostError("Killed") if next(deaths) else None, study="t")
    assert other.verdict.confirmed == outcome.verdict.confirmed


def test_several_in_a_row_stop_the_search_and_the_same_command_goes_on_without_them(run_with: Run) -> None:
    def fault(candidate: Candidate, fold: Fold) -> BaseException | None:
        return TIME if candidate.policy.num_ops else None

    with pytest.raises(UserError, match=r"3 in a row failed alike, the last: a fold took longer than 5 s"):
        run_with(fault, trials=6)
    outcome, _ = run_with(fault, trials=6)
    assert {one.name for one in outcome.verdict.confirmed} == {"none", "flip + crop"}
    assert "could not be trained" in outcome.verdict.notes[0]
    assert not lost(study())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            EngineFailedError("no worker can be started: exit code 7"),
            "trainings can't be run here: no worker",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "a.npz"), "a.npz: the disk is full"),
        (
            RuntimeError("PytorchStreamWriter failed writing file: No space left on device"),
            "the disk is full",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "images.npy"),
            "trainings can't be run here:.*images",
        ),
    ],
)
def test_what_the_machine_does_fails_no_trial(run_with: Run, error: BaseException, said: str) -> None:
    counts = iter(range(1000))
    with pytest.raises(UserError, match=f"{said}.*the same command goes on"):
        run_with(lambda *_: error if next(counts) > 3 else None, trials=6)
    assert not [one for one in study().trials if one.state is TrialState.FAIL]
    outcome, _ = run_with(nothing, trials=6)
    assert len(outcome.verdict.confirmed) == 6
    assert Path(outcome.policy_file).exists()


def test_what_a_second_run_mends_is_tracked_and_reported_too(
    stripes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = BASELINE_POLICIES["flip + crop"]

    def run_it(fault: Fault) -> tuple[str, Path, set[int]]:
        monkeypatch.setattr(inline, "start", lambda _: Faulty(fault))
        outcome = run(settings_of(stripes, trials=7), Display())
        client = MlflowClient(Settings().tracking.uri)
        runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
        (parent,) = (one for one in runs if "verdict" in one.data.tags)
        trials = {int(one.data.tags["augsearch.trial"]) for one in runs if "augsearch.trial" in one.data.tags}
        assert parent.data.tags["verdict"] == outcome.verdict.sentence
        return outcome.verdict.sentence, outcome.policy_file.with_name("report.html"), trials

    _, page, first = run_it(lambda candidate, _: DIVERGED if candidate.policy == bad else None)
    assert "could not be trained" in page.read_text("utf-8")
    assert len(first) == 6
    _, page, second = run_it(lambda *_: None)
    assert len(second) == 7
    assert "could not be trained" not in page.read_text("utf-8")
    written = page.stat().st_mtime_ns
    run_it(lambda *_: None)
    assert page.stat().st_mtime_ns == written
