"""The commands as a user meets them: the whole job, killed and resumed; help; bad input in one line."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import cv2
import numpy as np
import optuna
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console

from augsearch.policies import Policy, PolicyFile, read_policy, write_policy
from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.settings.settings import Settings
from augsearch.trainers.models.saved import load_model

QUICK = [
    *("--trials", "7", "--folds", "2", "--epochs", "1", "--confirm-folds", "2", "--final-epochs", "1"),
    *("--proxy-model", "tiny", "--final-model", "tiny", "--teacher", "tiny", "--workers", "2"),
]
"""Flags that make a run as short as it can be and still do everything."""

COMMAND = [sys.executable, "-m", "augsearch.search.cli"]


def augsearch(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def succeeded(*arguments: str) -> str:
    result = augsearch(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def logged_to() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').absolute()}")


def logged() -> tuple[Run, list[Run]]:
    """The parent run and its children, of the only study."""
    client = logged_to()
    experiments = [e.experiment_id for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs(experiments)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in runs if run is not parents[0]]


def started(command: list[str]) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a terminal would start it.

    A terminal does not have Ctrl-C ignored, as a shell does for what it runs in the background.
    """
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(process: subprocess.Popen[str], *beginnings: str) -> str:
    """The first line that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginnings):
            return line
    assert process.stderr is not None
    raise AssertionError(f"no line begins with {beginnings}; errors: {process.stderr.read()}")


def test_the_whole_job(stripes: str, workplace: Path) -> None:
    output = succeeded("run", stripes, "--study", "demo", *QUICK)
    assert "Confirmed on fresh folds" in output
    assert "final model: test accuracy" in output
    assert output.count("to see it alive in a browser: augsearch watch demo\n") == 1

    parent, children = logged()
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "demo"
    assert len(children) == 7
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {"accuracy", "log_loss", "seconds"} <= set(children[0].data.metrics)
    client = logged_to()
    artifacts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"policy.json", "preview.png", "history.png", "report.html", "model"} <= artifacts
    assert client.list_artifacts(parent.info.run_id, "model")

    folder = workplace / "mlruns" / "demo"
    card = json.loads((folder / "model.json").read_text())
    assert parent.data.metrics["test_accuracy"] == card["test"]["accuracy"]
    assert card["test"]["images"] == 24
    assert load_model(folder / "model.safetensors")[1].classes == ("0", "1", "2")
    file = read_policy(folder / "policy.json")
    assert file.evidence["verdict"] == parent.data.tags["verdict"]
    assert file.provenance["study"] == "demo"
    assert list(workplace.glob("mlruns/work/*/workspace.json"))
    assert not list(workplace.glob("mlruns/work/*/teachers"))

    # Again: the same result, and nothing trained, nothing logged.
    again = succeeded("run", stripes, "--study", "demo", *QUICK)
    assert "trial" not in again.split("Confirmed")[0]
    assert again.split("Confirmed")[1].split("final")[0] == output.split("Confirmed")[1].split("final")[0]
    assert len(logged()[1]) == 7
    told = json.loads(augsearch("run", stripes, "--study", "demo", *QUICK, "--json").stdout)
    assert (told["study"], told["state"]) == ("demo", "trained")
    assert told["evidence"]["verdict"] == parent.data.tags["verdict"]
    reads = list((workplace / "mlruns" / "test-reads").glob("*.jsonl"))
    assert [len(path.read_text().splitlines()) for path in reads] == [1]

    orphan = workplace / "mlruns" / "artifacts" / ("0" * 32)
    orphan.mkdir()
    os.utime(orphan, (0, 0))
    removed = json.loads(augsearch("clean", "--yes", "--json").stdout)
    assert {Path(one["path"]).parent.name for one in removed["items"]} == {"cache", "work", "artifacts"}
    assert not orphan.exists()

    assert "report.html" in succeeded("report", "demo")
    assert Path("report.html").read_text() == (folder / "report.html").read_text()
    assert "policy.json" in succeeded("export", "demo", "-o", "policy.json")
    assert read_policy("policy.json").policy == file.policy
    succeeded("export", "demo", "--trial", "3", "-o", "three.json")
    assert read_policy("three.json").policy.magnitude == "random"
    succeeded("preview", "policy.json", stripes, "-o", "sheet.png")
    assert cv2.imread("sheet.png").std() > 10
    trained = succeeded(
        "train", stripes, "--policy", "three.json", "--output", "own", "--model", "tiny", "--epochs", "2"
    )
    assert "this test part had been read once before" in trained
    assert load_model(Path("own/model.safetensors"))[1].name == "tiny"


def test_killed_and_resumed_it_has_one_parent_and_leaves_nothing_running(stripes: str) -> None:
    command = [*COMMAND, "run", stripes, "--study", "demo", *QUICK, "--no-final"]
    with started(command) as process:
        wait_for(process, "trial")
        process.kill()
    with started(command) as process:
        wait_for(process, "trial", "confirming")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "The same command goes on where it stopped" in errors
    assert "Traceback" not in errors
    assert logged()[0].info.status == "KILLED"

    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "model.safetensors" not in done.stdout
    parent, children = logged()
    assert parent.info.status == "FINISHED"
    assert len(children) == 7
    assert "RUNNING" not in {run.info.status for run in children}
    study = optuna.load_study(study_name="demo", storage="sqlite:///mlruns/studies.db")
    assert all(trial.state.is_finished() for trial in study.trials)
    assert len(study.trials) == 7


def test_two_drivers_of_one_study_are_refused(stripes: str) -> None:
    # So many trials that it can't have ended when the second comes.
    command = [*COMMAND, "run", stripes, "--study", "demo", *QUICK, "--no-final", "--trials", "500"]
    with started(command) as process:
        wait_for(process, "study demo")
        second = augsearch("run", stripes, "--study", "demo", *QUICK)
        process.send_signal(signal.SIGTERM)
    assert second.exit_code == 2
    assert "study 'demo' is being run by another process" in second.output


def test_ui_serves_the_runs(workplace: Path) -> None:
    make = (
        "from mlflow import MlflowClient; MlflowClient('sqlite:///mlflow.db').create_experiment('pictures')"
    )
    subprocess.run([sys.executable, "-c", make], check=True, capture_output=True)
    with socket.socket() as probe:  # a port of its own: other tests may serve beside this one
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [*COMMAND, "ui", "--tracking-uri", "sqlite:///mlflow.db", "--port", port]
    with started(command) as process:
        try:
            address = wait_for(process, "MLflow UI: ").split()[2]
            request = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=pictures"
            with urllib.request.urlopen(request, timeout=600) as response:
                answer = response.read()
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=600)
    assert json.loads(answer)["experiment"]["name"] == "pictures"
    assert process.returncode == 0


COMMANDS = [
    *("inspect", "init", "run", "compare", "check-proxy", "export", "import", "list", "show", "diff"),
    *(
        "watch",
        "report",
        "ablate",
        "sync",
        "train",
        "predict",
        "export-model",
        "preview",
        "operations",
        "clean",
        "ui",
    ),
]
LIGHT = (
    "init",
    "import",
    "list",
    "show",
    "diff",
    "watch",
    "sync",
    "predict",
    "export-model",
    "operations",
    "clean",
    "ui",
)
"""The commands whose help needs no registry."""


def test_the_commands_are_these() -> None:
    assert main.list_commands(click.Context(main)) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help_and_every_command_an_example(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert "Example:" in succeeded(name, "--help")
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


HEAVY = ("numpy", "cv2", "torch", "optuna", "mlflow", "rich", "pydantic", "matplotlib")
REGISTRIES_NEED = ("numpy", "cv2", "pydantic")
"""What is imported to list metrics, techniques and forms by name, as the help of some commands does."""


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (("--help",), ()),
        (("--version",), ()),
        *(((name, "--help"), ()) for name in LIGHT),
        *(
            ((name, "--help"), REGISTRIES_NEED)
            for name in ("run", "train", "compare", "check-proxy", "ablate", "export")
        ),
    ],
)
def test_help_and_version_import_nothing_heavy(arguments: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom augsearch.search.cli import main\n"
        f"main({list(arguments)}, standalone_mode=False)\n"
        f"heavy = set({HEAVY}) - set({allowed})\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "augsearch" in done.stdout


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)


@pytest.fixture
def photos(workplace: Path) -> Path:
    """A folder of class folders with eight pictures each."""
    for label in ("cats", "dogs"):
        for index in range(8):
            picture(workplace / "photos" / label / f"{index}.png", index)
    return workplace / "photos"


def refused(*arguments: str) -> str:
    """The one line that a command refuses with."""
    result = augsearch(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1].removeprefix("Error: ")


def test_bad_data_is_refused_in_one_line(photos: Path) -> None:
    assert "nowhere" in refused("run", "nowhere")
    (photos / "empty").mkdir()
    assert "empty" in refused("run", str(photos))
    (photos / "empty").rmdir()
    (photos / "cats" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    message = refused("run", str(photos))
    assert "broken.jpg" in message
    assert "--skip-bad-images" in message
    np.savez("labels.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 5, -2]))
    assert "label" in refused("run", "labels.npz")
    for name in ("cats", "one"):
        picture(photos.parent / "single" / name / "a.png", 0)
    assert "a.png" not in refused("run", str(photos.parent / "single"))


def test_one_class_is_refused(workplace: Path) -> None:
    picture(workplace / "single" / "cats" / "a.png", 0)
    assert "2" in refused("run", "single")


def test_bad_images_are_skipped_and_listed_on_demand(photos: Path) -> None:
    (photos / "cats" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    shown = io.StringIO()
    data = open_data(Settings.of(data=str(photos), skip_bad_images=True), Display(Console(file=shown)))
    assert len(data.images.labels) == 16
    assert "skipped cats/broken.jpg" in shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--trials", "2"), "trials must be at least 6, the baselines, got 2"),
        (("run", "--proxy-model", "huge"), "unknown model 'huge'; built in are tiny, small, medium, wide"),
        (("run", "--final-model", "huge"), "unknown model 'huge'"),
        (
            ("run", "--teacher", "huge"),
            "teacher: unknown model 'huge'; built in are tiny, small, medium, wide, lite0; others are",
        ),
        (("run", "--teacher", "gone.safetensors"), "gone.safetensors"),
        (("run", "--device", "cuda:7"), "cuda:7"),
        (("run", "--device", "tpu"), "device: must be auto, cpu, cuda, cuda:NUMBER or mps, got 'tpu'"),
        (("run", "--output", "/proc/x"), "/proc/x: can't be made"),
        (("run", "--tracking-uri", "foo://bar"), "MLflow at foo://bar: "),
        (("run", "--storage", "nonsense"), "storage nonsense: can't be opened"),
        (("run", "--config", "gone.toml"), "gone.toml: no such file"),
        (("export", "nothing"), "no study 'nothing' in this storage; there are: none yet; augsearch run"),
        (("report", "nothing"), "no study 'nothing' in this storage; there are: none"),
        (("train", "--policy", "gone.json"), "gone.json: no such file"),
        (("preview", "gone.json"), "gone.json: no such file"),
        (("ui",), "no runs logged there yet"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(*arguments)


def test_an_unwritable_picture_is_refused(stripes: str) -> None:
    write_policy(PolicyFile(policy=Policy()), "p.json")
    assert "sheet.xyz: can't be written" in refused("preview", "p.json", stripes, "-o", "sheet.xyz")
