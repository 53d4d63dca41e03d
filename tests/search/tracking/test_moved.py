"""Folders of any name, and folders that were moved: MLflow's runs keep their models and artifacts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from augsearch.search.settings.addresses import sqlite_address, sqlite_file
from augsearch.search.tracking.database import absolute
from augsearch.search.tracking.models import fetch_model
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers import ModelSpec, build_model, save_model

URI = "sqlite:///mlruns/mlflow.db"

AFTERWARDS = """
import sys
from pathlib import Path
from augsearch.search.tracking.models import fetch_model
from augsearch.search.tracking.runs import Tracker
fetched = fetch_model(f"runs:/{sys.argv[1]}/model", "sqlite:///mlruns/mlflow.db")
assert fetched.read_bytes() == Path("model.safetensors").read_bytes()
Path("more.txt").write_text("more")
tracker = Tracker("sqlite:///mlruns/mlflow.db", "pictures", "study", "key", "what it is")
tracker.artifact(Path("more.txt"))
assert tracker.close("FINISHED") is None
"""


def log(work: Callable[[Tracker], None]) -> str:
    """Have the study's run log something; returns the run's ID."""
    tracker = Tracker(URI, "pictures", "study", "key", "what it is")
    work(tracker)
    assert tracker.close("FINISHED") is None
    client = MlflowClient(absolute(URI))
    experiment = client.get_experiment_by_name("pictures")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return str(run.info.run_id)


def saved_model() -> Path:
    spec = ModelSpec(name="tiny", channels=1, image_size=16, classes=("a", "b"), mean=(128.0,), std=(60.0,))
    path = Path("model.safetensors")
    save_model(build_model(spec, seed=0), spec, path, {})
    return path


@pytest.mark.parametrize("name", ["a%20b", "a b?c#d%"])
def test_a_folder_of_any_name_moved_to_one_of_any_name_keeps_its_models(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, after = workplace / name, workplace / f"{name} moved%41"
    neighbour = workplace / "a b"
    before.mkdir()
    monkeypatch.chdir(before)
    model = saved_model()
    run = log(lambda tracker: tracker.model(model, np.zeros((16, 16, 1), np.uint8)))
    assert fetch_model(f"runs:/{run}/model", URI).read_bytes() == model.read_bytes()
    assert not neighbour.exists()
    before.rename(after)
    monkeypatch.chdir(after)
    # MLflow keeps in mind, as long as a process lives, where a run's artifacts were.
    subprocess.run([sys.executable, "-c", AFTERWARDS, run], check=True)
    assert [path.read_text() for path in Path("mlruns/artifacts").rglob("more.txt")] == ["more"]
    assert not before.exists()
    assert not neighbour.exists()


def test_artifacts_that_are_elsewhere_by_choice_stay_there(workplace: Path) -> None:
    (workplace / "mlruns" / "artifacts").mkdir(parents=True)
    log(lambda tracker: tracker.parent(metrics={"one": 1.0}))
    client = MlflowClient(absolute(URI))
    for name, place in (("bucket", "s3://bucket/mlruns/artifacts"), ("other", f"file://{workplace}/shared")):
        client.create_experiment(name, place)
    log(lambda tracker: tracker.parent(metrics={"two": 1.0}))
    places = {one.name: one.artifact_location for one in client.search_experiments()}
    assert places["bucket"] == "s3://bucket/mlruns/artifacts"
    assert places["other"] == f"file://{workplace}/shared"
    assert places["pictures"] == (workplace / "mlruns" / "artifacts").as_uri()


@pytest.mark.parametrize("name", ["a b", "a%20b", "a%", "a?b=c", "a#b", "ü", "a;b&c", "a:b@c"])
def test_the_address_of_a_file_leads_to_that_file(name: str) -> None:
    assert sqlite_file(sqlite_address(Path("/x") / name / "y.db")) == Path("/x") / name / "y.db"
