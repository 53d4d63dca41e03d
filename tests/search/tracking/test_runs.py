"""MLflow, a real database: what the UI will show, whatever happened before."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from augsearch.policies import Policy, UserError
from augsearch.search.studies.study import Entry
from augsearch.search.tracking.database import absolute
from augsearch.search.tracking.inputs import TrackedData
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult

URI = "sqlite:///mlruns/mlflow.db"
NESTED = "mlflow.parentRunId"


def entry(number: int, state: TrialState = TrialState.COMPLETE, baseline: str | None = None) -> Entry:
    folds = tuple(
        FoldResult(accuracy, 0.5, 0.05, 2.0, 100, np.ones(3, dtype=bool)) for accuracy in (0.8, 0.9)
    )
    return Entry(number, baseline, state, Candidate(policy=Policy(num_ops=number % 3)), folds)


def log(entries: list[Entry], status: str = "FINISHED", key: str = "k1") -> None:
    data = TrackedData("pictures", "1234", "photos/", {"train": 3})
    tracker = Tracker(URI, "pictures 1234", "study-a", key, "what it is", data)
    tracker.parent(params={"seed": 3})
    tracker.trials(entries, {1: "behind the best so far"})
    assert tracker.close(status) is None


def test_a_resumed_study_has_one_parent_and_one_child_a_trial(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    log([entry(0, baseline="none"), entry(1, TrialState.PRUNED)], status="KILLED")
    same = replace(entry(3), same_as=0)
    log([entry(0, baseline="none"), entry(1, TrialState.PRUNED), entry(2, TrialState.FAIL), same])
    client = MlflowClient(absolute(URI))
    experiment = client.get_experiment_by_name("pictures 1234")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if NESTED not in run.data.tags]
    children = {run.data.tags["augsearch.trial"]: run for run in runs if NESTED in run.data.tags}
    assert len(parents) == 1
    assert len(runs) == 5
    assert {run.data.tags[NESTED] for run in children.values()} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED", "FAILED"}
    assert children["2"].info.status == "FAILED"
    assert children["0"].info.run_name == "none"
    assert children["0"].data.params["policy.num_ops"] == "0"
    assert children["0"].data.params["policy.magnitude"] == "9"
    assert children["0"].data.metrics["accuracy"] == pytest.approx(0.85)
    assert children["0"].data.metrics["seconds"] == pytest.approx(4.0)
    history = client.get_metric_history(children["0"].info.run_id, "fold_accuracy")
    assert [(point.step, point.value) for point in history] == [(0, 0.8), (1, 0.9)]
    assert children["1"].data.tags["state"] == "pruned"
    assert children["1"].data.tags["reason"] == "behind the best so far"
    assert "N=1 M=9" in children["1"].data.tags["mlflow.note.content"]
    for run in runs:
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("pictures", "1234")
    # What took over an equal trial's folds says so, and cost nothing.
    assert children["3"].data.tags["same_as"] == "trial 0"
    assert [children["3"].data.metrics[name] for name in ("images", "seconds", "folds")] == [0, 0, 2]
    assert "same_as" not in children["0"].data.tags
    assert (workplace / "mlruns" / "mlflow.db").exists()


def test_an_unreachable_server_is_named(workplace: Path) -> None:
    (workplace / "file").write_text("no database")
    tracker = Tracker("sqlite:///file", "x", "y", "k", "z")
    assert tracker.close("FINISHED") is not None
    with pytest.raises(UserError, match=r"MLflow at sqlite:///.*file: .*; give another --tracking-uri"):
        tracker.check()


def test_a_new_study_of_an_old_name_has_its_own_runs(workplace: Path) -> None:
    log([entry(0)])
    log([entry(0)], key="k2")
    client = MlflowClient(absolute(URI))
    experiment = client.get_experiment_by_name("pictures 1234")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 4


def test_a_kill_while_the_database_is_made_leaves_none(workplace: Path) -> None:
    # It waits for the kill before the last step.
    code = (
        "import pathlib, time\n"
        "from augsearch.search.tracking.runs import Tracker\n"
        "pathlib.Path.replace = lambda *_: time.sleep(600)\n"
        f"Tracker({URI!r}, 'e', 's', 'k', 'd').close('FINISHED')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    part = workplace / "mlruns" / ".mlflow.db.part"
    while not (part.exists() and part.stat().st_size > 100_000):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (workplace / "mlruns" / "mlflow.db").exists()
    log([entry(0)])
    assert (workplace / "mlruns" / "mlflow.db").exists()
    assert not part.exists()


def test_a_run_below_the_parent_that_is_no_trial_is_logged_once_and_whole(workplace: Path) -> None:
    for metrics in ({"held_out_accuracy": 0.5, "seconds": 2.0}, {"held_out_accuracy": 0.9}):
        tracker = Tracker(URI, "pictures 1234", "study-a", "k1", "what it is")
        tracker.child("student 1", "training round 1", metrics, {"network": "tiny"}, {"threshold": 0.9})
        assert tracker.close("FINISHED") is None
    client = MlflowClient(absolute(URI))
    experiment = client.get_experiment_by_name("pictures 1234")
    assert experiment is not None
    (child,) = [r for r in client.search_runs([experiment.experiment_id]) if NESTED in r.data.tags]
    assert child.data.metrics == {"held_out_accuracy": 0.5, "seconds": 2.0}
    assert child.data.params == {"threshold": "0.9"}
    assert (child.info.run_name, child.data.tags["network"]) == ("student 1", "tiny")
    assert child.info.status == "FINISHED"
    # A kill leaves one half written.
    client.update_run(child.info.run_id, status="RUNNING")
    tracker = Tracker(URI, "pictures 1234", "study-a", "k1", "what it is")
    tracker.child("student 1", "training round 1", {"held_out_accuracy": 0.7})
    assert tracker.close("FINISHED") is None
    (child,) = [r for r in client.search_runs([experiment.experiment_id]) if NESTED in r.data.tags]
    assert child.data.metrics == {"held_out_accuracy": 0.7}
