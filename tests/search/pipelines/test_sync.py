"""``augsearch sync``, with a real MLflow server that is away and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Run

from augsearch.search.cli import main
from augsearch.search.studies.lock import only_driver
from augsearch.search.tracking.names import TRIAL_TAG
from benchmarks.servers import MlflowServer
from tests.search.conftest import MakeStudy


def synced(server: MlflowServer) -> Result:
    return CliRunner().invoke(main, ["sync", "demo", "--tracking-uri", server.uri])


def runs(server: MlflowServer) -> list[Run]:
    client = MlflowClient(server.uri)
    (experiment,) = (one for one in client.search_experiments() if one.name == "photos 01234567")
    return list(client.search_runs([experiment.experiment_id]))


def test_what_mlflow_lacks_is_logged_once_whenever_it_is_there(make_study: MakeStudy, tmp_path: Path) -> None:
    study, server = make_study("confirmed"), MlflowServer(tmp_path)
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "policy.json").write_text("{}", encoding="utf-8")
    study.set_user_attr("output", str(folder))
    try:
        done = synced(server)
        assert done.exit_code == 2
        assert "the server does not answer" in done.output
        server.start()
        done = synced(server)
        assert done.exit_code == 0, done.output
        assert f"has its {len(study.trials)} trials and what came of them" in done.output
        # What a kill left half written is logged anew; all else stays.
        client, before = MlflowClient(server.uri), runs(server)
        half = next(run for run in before if run.data.tags.get(TRIAL_TAG) == "3")
        client.update_run(half.info.run_id, status="RUNNING")
        server.kill()
        server.start()
        assert synced(server).exit_code == 0
        after = runs(server)
        numbers = sorted(int(run.data.tags[TRIAL_TAG]) for run in after if TRIAL_TAG in run.data.tags)
        assert numbers == list(range(len(study.trials)))
        kept = {run.info.run_id for run in before} - {half.info.run_id}
        assert kept < {run.info.run_id for run in after}
        (parent,) = [run for run in after if TRIAL_TAG not in run.data.tags]
        assert parent.data.tags["verdict"] == study.user_attrs["verdict"]["verdict"]
        assert parent.info.status == "FINISHED"
        accuracies = client.get_metric_history(parent.info.run_id, "confirmed_accuracy")
        assert len(accuracies) == 1
        assert [one.path for one in client.list_artifacts(parent.info.run_id)] == ["policy.json"]
    finally:
        server.kill()


def test_a_study_that_is_being_run_is_refused(make_study: MakeStudy) -> None:
    make_study("searching")
    with only_driver("demo"):
        done = CliRunner().invoke(main, ["sync", "demo"])
    assert done.exit_code == 2
    assert "is being run by another process" in done.output


@pytest.mark.parametrize("address", ["http://me:secret@127.0.0.1:9", "https://token@127.0.0.1:9"])
def test_a_password_that_was_not_kept_is_asked_for(make_study: MakeStudy, address: str) -> None:
    from augsearch.search.settings.settings import Settings

    study = make_study("searched")
    study.set_user_attr("settings", Settings.of(tracking_uri=address).flat())
    done = CliRunner().invoke(main, ["sync", "demo"])
    assert done.exit_code == 2
    assert "give --tracking-uri, or set MLFLOW_TRACKING_URI" in done.output
