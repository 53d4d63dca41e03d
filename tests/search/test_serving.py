"""The final model in MLflow: loaded, served over HTTP and fetched again, from a real database."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from augsearch.policies import UserError
from augsearch.search.serving import Served
from augsearch.search.tracking.database import absolute
from augsearch.search.tracking.models import fetch_model
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers import Classifier, ModelSpec, build_model, save_model

URI = "sqlite:///mlruns/mlflow.db"
CLASSES = ("cat", "dog", "hen")


def saved(folder: Path, channels: int = 3) -> Path:
    grey = (100.0, 110.0, 120.0)[:channels]
    spec = ModelSpec(name="tiny", channels=channels, image_size=16, classes=CLASSES, mean=grey, std=grey)
    save_model(build_model(spec, seed=0), spec, folder / "model.safetensors", {"test": "kept"})
    return folder / "model.safetensors"


def picture(seed: int, kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def log(work: Callable[[Tracker], None], folder: Path) -> Run:
    """Have a model logged to a database in ``folder``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the artifacts go
        tracker = Tracker(URI, "pictures", "study", "key", "what it is")
        work(tracker)
        assert tracker.close("FINISHED") is None
        uri = absolute(URI)
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("pictures")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return Run(run.info.run_id, uri, client, folder / "model.safetensors")


class Run(NamedTuple):
    """A run with a model."""

    id: str
    uri: str
    client: MlflowClient
    model: Path
    """What was logged."""


def noise(channels: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (16, 16, channels), dtype=np.uint8)


@pytest.fixture(scope="module", params=[3], ids=["RGB"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a model, for all tests: making a database takes seconds."""
    folder = tmp_path_factory.mktemp("logged")
    model = saved(folder, request.param)
    return log(lambda tracker: tracker.model(model, noise(request.param)), folder)


@pytest.fixture
def looking(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run, in a process whose MLflow looks where it was logged."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.uri)
    return run


def test_a_logged_model_predicts_from_image_files_of_any_format(looking: Run) -> None:
    files = [picture(0), picture(1, "PNG"), picture(2, "WEBP")]
    found = mlflow.pyfunc.load_model(f"runs:/{looking.id}/model").predict(
        pd.DataFrame({"image": files}, index=[7, 8, 9])
    )
    wanted = Classifier.load(looking.model).predict(files)
    assert list(found.columns) == ["label", "confidence", "probabilities"]
    assert list(found.index) == [7, 8, 9]
    assert list(found.label) == [prediction.label for prediction in wanted]
    np.testing.assert_allclose(found.confidence, [prediction.confidence for prediction in wanted])
    np.testing.assert_allclose(list(found.probabilities), [prediction.probabilities for prediction in wanted])


@pytest.mark.parametrize("run", [1, 3], ids=["grey", "RGB"], indirect=True)
def test_its_signature_and_its_example_fit_it(looking: Run) -> None:
    model = mlflow.pyfunc.load_model(f"runs:/{looking.id}/model")
    assert model.metadata.signature.to_dict() == {
        "inputs": '[{"type": "binary", "name": "image", "required": true}]',
        "outputs": '[{"type": "string", "name": "label", "required": true}, '
        '{"type": "double", "name": "confidence", "required": true}, '
        '{"type": "array", "items": {"type": "double"}, "name": "probabilities", "required": true}]',
        "params": None,
    }
    assert model.predict(model.input_example).label[0] in CLASSES


def test_a_bad_image_is_refused_with_its_row(looking: Run) -> None:
    model = mlflow.pyfunc.load_model(f"runs:/{looking.id}/model")
    with pytest.raises(UserError, match="image 1: cut off, or not an image"):
        model.predict(pd.DataFrame({"image": [picture(0), b"nonsense"]}))


@pytest.mark.parametrize("kind", [str, Path, list], ids=["text", "path", "pixels"])
def test_it_opens_no_file_of_its_own_machine(looking: Run, workplace: Path, kind: Any) -> None:
    (workplace / "private.jpg").write_bytes(picture(0))
    images = [[[0, 0, 0]]] if kind is list else [kind(workplace / "private.jpg")]
    with pytest.raises(UserError, match="image 0: must be the bytes of an image file"):
        Served(Classifier.load(looking.model)).predict(pd.DataFrame({"image": images}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(run: Run) -> Iterator[str]:
    """``mlflow models serve`` on the model of ``run``; yields its address."""
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"runs:/{run.id}/model"]
    log = Path("serve.log")
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--port", address.rpartition(":")[2]],
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 600
        while not answers(f"{address}/ping"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=60) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def asked(address: str, files: list[bytes]) -> Any:
    rows = [[base64.b64encode(file).decode()] for file in files]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", body, headers)
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)["predictions"]


def test_mlflow_serves_it_over_http(looking: Run) -> None:
    files = [picture(0), picture(1, "PNG")]
    wanted = Classifier.load(looking.model).predict(files)
    with served(looking) as address:
        for found, prediction in zip(asked(address, files), wanted, strict=True):
            assert found["label"] == prediction.label
            assert found["confidence"] == pytest.approx(prediction.confidence)
            assert found["probabilities"] == pytest.approx(prediction.probabilities.tolist())
        with pytest.raises(urllib.error.HTTPError) as refusal:
            asked(address, [b"nonsense"])
        assert refusal.value.code == 400
        assert "image 0: cut off, or not an image" in refusal.value.read().decode()
        # A table in CSV holds texts, and a text is no image, even where it is the path of one.
        Path("private.jpg").write_bytes(files[0])
        body = f"image\n{Path('private.jpg').absolute()}\n".encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "text/csv"})
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request, timeout=600)
        assert refusal.value.code == 400
        assert "label" not in refusal.value.read().decode()
        assert len(asked(address, files[:1])) == 1


def test_it_is_with_its_run_and_nothing_global_changed(run: Run) -> None:
    files = {item.path for item in run.client.list_artifacts(run.id, "model")}
    assert {"model/MLmodel", "model/data"} <= files
    (entry,) = json.loads(run.client.get_run(run.id).data.tags["mlflow.log-model.history"])
    assert (entry["artifact_path"], entry["run_id"]) == ("model", run.id)
    assert mlflow.get_tracking_uri() != run.uri
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_logging_prints_nothing(workplace: Path) -> None:
    model = saved(workplace)
    code = (
        "from pathlib import Path\nimport numpy as np\nfrom augsearch.search.tracking.runs import Tracker\n"
        f"tracker = Tracker({URI!r}, 'pictures', 'study', 'key', 'what it is')\n"
        f"tracker.model(Path({str(model)!r}), np.zeros((16, 16, 3), np.uint8))\n"
        "assert tracker.close('FINISHED') is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def same_model(fetched: Path, original: Path) -> bool:
    return fetched.read_bytes() == original.read_bytes() and (
        fetched.with_suffix(".json").read_bytes() == original.with_suffix(".json").read_bytes()
    )


def test_a_logged_model_is_fetched_by_its_run_and_by_its_registered_name(run: Run) -> None:
    assert same_model(fetch_model(f"runs:/{run.id}/model", run.uri), run.model)
    run.client.create_registered_model("pets")
    source = f"{run.client.get_run(run.id).info.artifact_uri}/model"
    run.client.create_model_version("pets", source, run_id=run.id)
    run.client.set_registered_model_alias("pets", "best", "1")
    for name in ("models:/pets/1", "models:/pets/latest", "models:/pets@best"):
        assert same_model(fetch_model(name, run.uri), run.model)


def test_a_model_that_was_logged_as_plain_files_is_fetched(workplace: Path) -> None:
    original = saved(workplace)

    def plainly(tracker: Tracker) -> None:
        tracker.artifact(original, "model")
        tracker.artifact(original.with_suffix(".json"), "model")

    run = log(plainly, workplace)
    assert same_model(fetch_model(f"runs:/{run.id}/model", URI), original)


def test_what_is_fetched_is_gone_with_the_process(run: Run) -> None:
    code = (
        "from augsearch.search.tracking.models import fetch_model\n"
        f"path = fetch_model('runs:/{run.id}/model', {run.uri!r})\nassert path.exists()\nprint(path, end='')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("model.safetensors")
    assert done.stderr == ""
    assert not Path(done.stdout).exists()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("runs:/gone/model", "Run with id=gone not found"),
        ("runs:/RUN/other", "Failed to download artifacts from path 'other'"),
        ("runs:/RUN", "Not a proper runs:/ URI"),
        ("models:/cars/1", "cars"),
        ("models:/cars", "cars"),
        ("models:/m-1234", "m-1234"),
    ],
)
def test_what_is_not_in_mlflow_is_refused_in_one_line(run: Run, uri: str, reason: str) -> None:
    with pytest.raises(UserError, match=r"not to be had from sqlite:///.*mlflow\.db \(") as error:
        fetch_model(uri.replace("RUN", run.id), run.uri)
    assert reason in str(error.value)
    assert str(error.value).endswith("; a run's final model is runs:/RUN_ID/model")
    assert "\n" not in str(error.value)


def test_artifacts_without_a_model_are_refused(run: Run, workplace: Path) -> None:
    (workplace / "policy.json").write_text("{}")
    run.client.log_artifact(run.id, "policy.json", "files")
    with pytest.raises(UserError, match=f"runs:/{run.id}/files: no model of augsearch"):
        fetch_model(f"runs:/{run.id}/files", run.uri)


def test_where_nothing_was_logged_nothing_is_made(workplace: Path) -> None:
    with pytest.raises(UserError, match=r"nothing was logged to sqlite:///other\.db yet"):
        fetch_model("runs:/abc/model", "sqlite:///other.db")
    assert not list(workplace.iterdir())


def test_a_server_that_is_not_there_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"runs:/abc/model: not to be had from {address}"):
        fetch_model("runs:/abc/model", address)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
