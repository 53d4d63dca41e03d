"""What earlier versions made opens and works; ``make.py`` made each folder ``vVERSION`` with that version."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from augsearch.policies import read_policy
from augsearch.search.cli import main
from augsearch.trainers import open_images
from tests.compatibility.make import DATA, HERE, QUICK, replace_text

ROOT = Path(__file__).parents[2]
VERSIONS = sorted(Path(__file__).parent.glob("v*"))
STUDIES = "sqlite:///mlruns/studies.db"
POLICIES = ("plain", "distilled", "transfer", "pseudo", "self-training", "fixmatch", "distillation")
FINISHED = ("run", DATA, "--study", "finished", "--trials", "6", *QUICK)
"""The command whose study is finished."""


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a version's things; the test runs in a folder of its own, which has the images."""
    monkeypatch.chdir(tmp_path)
    folder: Path = request.param
    shutil.copy(folder / DATA, tmp_path)
    return folder


@pytest.fixture
def runs(made: Path) -> Path:
    """As ``made``; ``mlruns/`` is what runs of that version left behind."""
    unpack(made / "mlruns.tar.xz")
    return made


def unpack(archive: Path) -> None:
    """Unpack into the working directory, and put its path where that of another machine was."""
    with tarfile.open(archive) as file:
        file.extractall(filter="data")
    here = str(Path.cwd())
    for path in Path(archive.name.split(".")[0]).rglob("*"):
        if path.suffix == ".db":
            connection = sqlite3.connect(path)
            replace_text(connection, HERE, here)
            connection.close()
        elif path.is_file() and HERE.encode() in (content := path.read_bytes()):
            path.write_bytes(content.replace(HERE.encode(), here.encode()))


def augsearch(*arguments: str) -> str:
    """What the command prints; it succeeds."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def study_of(name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=STUDIES)


def known(study: optuna.Study, beginning: str) -> dict[Any, Any]:
    """All folds that are known of the study: attributes whose names begin so, of its trials and its own."""
    owners = {trial.number: trial.user_attrs for trial in study.trials} | {"study": study.user_attrs}
    return {
        (owner, key): value
        for owner, attributes in owners.items()
        for key, value in attributes.items()
        if key.startswith(beginning)
    }


def read_by_example(study: str) -> str:
    """What ``examples/read_a_study.py`` prints about the study."""
    command = [sys.executable, str(ROOT / "examples" / "read_a_study.py"), study]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_example_reads_a_finished_study(runs: Path) -> None:
    said = read_by_example("finished")
    assert "study finished: 6 trials" in said
    assert study_of("finished").user_attrs["verdict"]["verdict"] in said
    assert "RandAugment (2, 9): " in said
    assert "final model: mlruns/finished/model.safetensors, test accuracy" in said


def test_a_finished_study_is_reported_and_exported(runs: Path) -> None:
    known_of = study_of("finished").user_attrs
    augsearch("report", "finished", "-o", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    for confirmed in known_of["verdict"]["confirmation"]:
        assert confirmed["name"] in page
        assert f"{100 * confirmed['accuracy']:.1f}" in page
    assert f"{100 * known_of['final']['figures']['test_accuracy']:.1f}" in page
    augsearch("export", "finished", "-o", "again.json")
    again, before = read_policy("again.json"), read_policy("mlruns/finished/policy.json")
    assert (again.policy, again.training) == (before.policy, before.training)
    assert again.evidence | before.evidence == again.evidence | {"ledger": before.evidence["ledger"]}


@pytest.mark.parametrize(
    "command",
    [FINISHED, ("run", "--config", "mlruns/finished/settings.toml")],
    ids=["flags", "settings.toml"],
)
def test_a_finished_study_is_known_by_its_command(runs: Path, command: tuple[str, ...]) -> None:
    before, model = known(study_of("finished"), ""), Path("mlruns/finished/model.safetensors")
    weights, reads = model.read_bytes(), [path.read_text() for path in Path("mlruns/test-reads").iterdir()]
    said = augsearch(*command)
    assert not {"searching", "confirming"} & set(said.split("Confirmed")[0].split())
    assert "final training" not in said
    assert before["study", "verdict"]["verdict"] in " ".join(said.split())
    assert f"saved as {model}" in said
    after = known(study_of("finished"), "")
    for kept in ("fold ", "confirmation ", "verdict", "final", "identity", "test"):
        names = [name for name in before if name[1].startswith(kept)]
        assert names
        assert [after[name] for name in names] == [before[name] for name in names]
    assert model.read_bytes() == weights
    assert [path.read_text() for path in Path("mlruns/test-reads").iterdir()] == reads


@pytest.mark.parametrize("name", ["searching", "confirming"])
def test_a_study_that_was_killed_comes_to_its_verdict(runs: Path, name: str) -> None:
    before, results = study_of(name), ("fold ", "confirmation ")
    assert "verdict" not in before.user_attrs
    assert known(before, "confirmation ") or name == "searching"
    folds = {key: value for beginning in results for key, value in known(before, beginning).items()}
    trials = {trial.number: (trial.params, trial.user_attrs.get("baseline")) for trial in before.trials}

    said = augsearch("run", DATA, "--study", name, "--trials", "7", "--no-final", *QUICK)
    assert "Confirmed on fresh folds" in said

    after = study_of(name)
    assert len(after.trials) == 7
    assert all(trial.state.is_finished() for trial in after.trials)
    began = {number: trial for number, trial in trials.items() if trial[0]}  # the others only waited
    assert {n: (after.trials[n].params, after.trials[n].user_attrs.get("baseline")) for n in began} == began
    assert (
        folds.items() <= {k: v for beginning in results for k, v in known(after, beginning).items()}.items()
    )
    assert after.user_attrs["verdict"]["verdict"] in " ".join(said.split())
    assert (
        read_policy(f"mlruns/{name}/policy.json").evidence["verdict"]
        == after.user_attrs["verdict"]["verdict"]
    )
    augsearch("report", name, "-o", "page.html")
    assert after.user_attrs["verdict"]["verdict"] in read_by_example(name)


@pytest.mark.parametrize("name", POLICIES)
def test_a_model_is_trained_from_a_policy_file(runs: Path, name: str) -> None:
    file, before = runs / "policies" / f"{name}.json", read_policy(runs / "policies" / f"{name}.json")
    assert before.training.distillation or name != "distilled"
    assert before.training.transfer or name != "transfer"
    assert (before.training.semi.technique if before.training.semi else None) in (name, None)
    teachers = sorted(Path("mlruns/work/teachers").glob("*.safetensors"))
    assert teachers

    network = "mlruns/finished/model.safetensors" if name == "transfer" else "tiny"
    flags = ("--policy", str(file), "--epochs", "1", "--model", network, "--output", "trained")
    said = augsearch("train", DATA, *flags)
    assert "this test part had been read" in said  # by that version

    trained = read_policy("trained/model.policy.json")
    assert (trained.policy, trained.training) == (before.policy, before.training)
    assert json.loads(Path("trained/model.json").read_text())["test"]["images"] == 19
    if name == "distilled":  # by the teacher that was trained then
        assert sorted(Path("mlruns/work/teachers").glob("*.safetensors")) == teachers


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_file_is_drawn(made: Path, name: str) -> None:
    augsearch("preview", str(made / "policies" / f"{name}.json"), DATA, "-o", "sheet.png")
    assert cv2.imread("sheet.png") is not None


def test_a_killed_final_training_goes_on_from_its_checkpoint(made: Path) -> None:
    unpack(made / "interrupted.tar.xz")
    policy = str(made / "policies" / "plain.json")
    command = (
        "train",
        DATA,
        "--policy",
        policy,
        "--output",
        "interrupted",
        "--model",
        "tiny",
        "--epochs",
        "60",
    )
    assert "taken up after epoch" in augsearch(*command)
    assert not Path("interrupted/.model.checkpoint").exists()


def pictures() -> list[str]:
    """Files of the images that a model's predictions are kept of."""
    with np.load(DATA) as data:
        for row in (1, 41, 81):
            cv2.imwrite(f"{row}.png", data["images"][row])
    return ["1.png", "41.png", "81.png"]


def assert_said(predictions: list[dict[str, Any]], made: Path) -> None:
    """They are what the model said in that version."""
    wanted = json.loads((made / "predictions.json").read_text(encoding="utf-8"))
    assert len(predictions) == len(wanted)
    for found, before in zip(predictions, wanted, strict=True):
        assert found["label"] == before["label"]
        assert found["probabilities"] == pytest.approx(before["probabilities"], abs=1e-3)


def test_a_model_says_what_it_said(runs: Path) -> None:
    command = ("predict", "mlruns/finished/model.safetensors", *pictures(), "--json", "--device", "cpu")
    assert_said([json.loads(line) for line in augsearch(*command).splitlines()], runs)


def test_models_of_all_networks_predict_and_are_exported(made: Path) -> None:
    unpack(made / "models.tar.xz")
    models = sorted(path.parent for path in Path("models").glob("*/model.safetensors"))
    assert {"small", "medium", "wide", "fixmatch", "distilled"} <= {model.name for model in models}
    for model in models:
        assert len(augsearch("predict", str(model), *pictures(), "--json").splitlines()) == 3
        augsearch("export-model", str(model), "-o", f"{model.name}.safetensors")


def test_a_model_in_mlflow_is_fetched_and_loaded(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{Path('mlruns/mlflow.db').absolute()}"
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, "attributes.run_name = 'finished'")
    (run,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    model, files = f"runs:/{run.info.run_id}/model", pictures()
    said = augsearch("predict", model, *files, "--json", "--device", "cpu")
    assert_said([json.loads(line) for line in said.splitlines()], runs)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    table = pd.DataFrame({"image": [Path(file).read_bytes() for file in files]})
    assert list(mlflow.pyfunc.load_model(model).predict(table).label) == [
        json.loads(line)["label"] for line in said.splitlines()
    ]


def test_a_settings_file_says_what_its_flags_say(made: Path) -> None:
    fields = tomllib.loads((made / "settings.toml").read_text(encoding="utf-8"))
    flags = [fields.pop("data")]
    for name, value in fields.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", ",".join(value) if isinstance(value, list) else str(value)]
    shown = augsearch("run", "--config", str(made / "settings.toml"), "--show-config")
    assert shown == augsearch("run", *flags, "--show-config")
    assert shown != augsearch("run", "--show-config")


def test_decoded_images_are_read_from_a_cache_of_that_time(runs: Path) -> None:
    (old,) = Path("mlruns/cache").iterdir()
    fresh = open_images(DATA, image_size=None, cache=Path("cache"))
    place = fresh.cache  # its name hangs on where the images lie
    shutil.rmtree(place)
    shutil.copytree(old, place)
    written = (place / "images.npy").stat().st_mtime_ns
    held = open_images(DATA, image_size=None, cache=Path("cache"))
    assert held.fingerprint == fresh.fingerprint
    assert held.classes == fresh.classes
    np.testing.assert_array_equal(held.labels, fresh.labels)
    assert (held.cache, (place / "images.npy").stat().st_mtime_ns) == (place, written)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_what_is_kept_is_small(version: Path) -> None:
    assert sum(path.stat().st_size for path in version.rglob("*")) < 1_500_000
