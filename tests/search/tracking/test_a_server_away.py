"""A real MLflow server that is stopped and started again while a study is logged to it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from augsearch.policies import Policy, UserError
from augsearch.search.studies.study import Entry
from augsearch.search.tracking import outbox
from augsearch.search.tracking.runs import TRIAL_TAG, Tracker
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult
from benchmarks.servers import MlflowServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    one = MlflowServer(tmp_path)
    yield one
    one.kill()


def entry(number: int) -> Entry:
    result = FoldResult(0.8, 0.5, 0.05, 2.0, 100, np.ones(3, dtype=bool))
    return Entry(number, None, TrialState.COMPLETE, Candidate(policy=Policy(num_ops=1)), (result,))


def tracker_to(server: MlflowServer) -> Tracker:
    return Tracker(server.uri, "pictures", "study", "key", "what it is")


def logged(server: MlflowServer) -> list[tuple[str, str]]:
    client = MlflowClient(server.uri)
    (experiment,) = (one for one in client.search_experiments() if one.name == "pictures")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return sorted((run.data.tags[TRIAL_TAG], run.info.status) for run in runs if TRIAL_TAG in run.data.tags)


def test_what_was_logged_while_it_was_away_is_there_once_it_is_back(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.1)
    server.start()
    tracker = tracker_to(server)
    tracker.trials([entry(0)], {})
    tracker._connected.result(600)
    server.kill()
    tracker.trials([entry(1), entry(2)], {})
    tracker.epoch(0, {"loss": 1.0})
    time.sleep(0.5)  # some attempts
    server.start()
    tracker.trials([entry(3)], {})
    assert tracker.close("FINISHED") is None
    assert logged(server) == [(str(number), "FINISHED") for number in range(4)]
    # A kill leaves a run half written: it is written anew, whole and once.
    client = MlflowClient(server.uri)
    (experiment,) = (one for one in client.search_experiments() if one.name == "pictures")
    (half,) = client.search_runs([experiment.experiment_id], f"tags.`{TRIAL_TAG}` = '2'")
    client.update_run(half.info.run_id, status="RUNNING")
    # Away at the end, it has one chance more and costs no minutes for each call.
    tracker = tracker_to(server)
    tracker._connected.result(600)
    server.kill()
    tracker.trials([entry(number) for number in range(40)], {})
    assert tracker.close("FINISHED") == "the server does not answer"
    server.start()
    tracker = tracker_to(server)
    tracker.trials([entry(number) for number in range(5)], {})
    assert tracker.close("FINISHED") is None
    assert logged(server) == [(str(number), "FINISHED") for number in range(5)]
    assert capsys.readouterr().out == ""  # MLflow's own lines are none of JSON, or of a table


def test_one_that_is_away_from_the_beginning_is_told_without_its_password(server: MlflowServer) -> None:
    address = server.uri.replace("//", "//me:secret@")
    tracker = Tracker(address, "pictures", "study", "key", "what it is")
    problem = tracker.close("FINISHED")
    assert problem is not None
    assert "secret" not in problem
    with pytest.raises(
        UserError, match=r"MLflow at http://me:\*\*\*@.*; give another --tracking-uri"
    ) as said:
        tracker.check()
    assert "secret" not in str(said.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
