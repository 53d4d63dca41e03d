"""``augsearch predict``: what a person, a pipe and a script get, of good images and bad ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from augsearch.search.cli import main
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers import Classifier, ModelSpec, build_model, save_model

CLASSES = ("cat", "dog", "[hen]")


@pytest.fixture
def model(workplace: Path) -> str:
    grey = (100.0, 110.0, 120.0)
    spec = ModelSpec(name="tiny", channels=3, image_size=16, classes=CLASSES, mean=grey, std=grey)
    save_model(build_model(spec, seed=0), spec, workplace / "model.safetensors", {})
    return "model.safetensors"


@pytest.fixture
def photos(workplace: Path) -> Path:
    """Four pictures in a folder and below it, one with a name that markup and tables may stumble over."""
    names = ("a.png", "b[red].jpg", "deep/er/c.webp", f"deep/{'z' * 160}.png")
    for seed, name in enumerate(names):
        path = workplace / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (workplace / "photos" / "notes.txt").write_text("no image, and nobody minds")
    return Path("photos")


def predict(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["predict", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_table_has_every_image_with_its_label_and_confidence(model: str, photos: Path) -> None:
    result = predict(model, photos)
    assert result.exit_code == 0
    names = sorted(path for path in photos.rglob("*") if path.suffix in {".png", ".jpg", ".webp"})
    for path, prediction in zip(names, Classifier.load(model).predict(names), strict=True):
        (row,) = [line for line in result.stdout.splitlines() if str(path)[:30] in line]
        assert prediction.label in row
        assert f"{100 * prediction.confidence:.1f} %" in row
    assert "b[red].jpg" in result.stdout
    assert result.stdout.count("z") == 160, "names are folded, never cut off"


def test_files_come_in_the_order_given_and_folders_by_name(model: str, photos: Path) -> None:
    found = lines(predict(model, photos / "b[red].jpg", photos, "--json"))
    names = ["b[red].jpg", "a.png", "b[red].jpg", "deep/er/c.webp", f"deep/{'z' * 160}.png"]
    assert [line["image"] for line in found] == [f"photos/{name}" for name in names]


def test_lines_of_json_have_all_probabilities(model: str, photos: Path) -> None:
    (line,) = lines(predict(model, photos / "a.png", "--json"))
    (prediction,) = Classifier.load(model).predict([photos / "a.png"])
    assert line == {
        "image": "photos/a.png",
        "label": prediction.label,
        "confidence": pytest.approx(prediction.confidence),
        "probabilities": pytest.approx(dict(zip(CLASSES, prediction.probabilities, strict=True))),
    }


def test_so_many_labels_as_asked_for_the_likeliest_first(model: str, photos: Path) -> None:
    (prediction,) = Classifier.load(model).predict([photos / "a.png"])
    (line,) = lines(predict(model, photos / "a.png", "--json", "--top", "2"))
    probabilities = line["probabilities"]
    assert isinstance(probabilities, dict)
    assert list(probabilities) == [label for label, _ in prediction.top(2)]
    assert probabilities == pytest.approx(dict(prediction.top(2)))
    table = predict(model, photos / "a.png", "--top", "9").stdout
    places = [table.index(label) for label, _ in prediction.top(9)]
    assert places == sorted(places)
    assert table.count("a.png") == 1


def test_bad_images_are_named_and_the_others_predicted(model: str, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (photos / "empty.png").touch()
    for options in ([], ["--json"]):
        result = predict(model, photos, "gone.png", *options)
        assert result.exit_code == 2
        assert result.stderr.splitlines() == [
            "photos/broken.jpg: Truncated File Read",
            "photos/empty.png: the file is empty",
            "gone.png: No such file or directory",
            "Error: 3 of 7 images can't be read",
        ]
        assert "c.webp" in result.stdout
        assert "broken" not in result.stdout
    assert len(lines(result)) == 4


def test_with_nothing_but_bad_images_no_table_is_printed(model: str, workplace: Path) -> None:
    (workplace / "bad.png").touch()
    result = predict(model, "bad.png")
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_reader_that_has_had_enough_ends_it_in_silence(model: str, photos: Path) -> None:
    command = [sys.executable, "-m", "augsearch.search.cli", "predict", model, *["photos"] * 2000, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["image"] == "photos/a.png"
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_name_that_is_no_text_is_printed_all_the_same(model: str, photos: Path) -> None:
    odd = os.fsdecode(b"photos/caf\xe9.png")
    (photos / "a.png").rename(odd)
    command = [sys.executable, "-m", "augsearch.search.cli", "predict", model, odd]
    for options in ([], ["--json"]):
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "photos/caf" in done.stdout


def test_a_folder_and_a_run_are_models_too(model: str, photos: Path, workplace: Path) -> None:
    tracker = Tracker("sqlite:///mlruns/mlflow.db", "pictures", "study", "key", "what it is")
    tracker.model(workplace / model, np.zeros((16, 16, 3), np.uint8))
    assert tracker.close("FINISHED") is None
    (run,) = {path.name for path in (workplace / "mlruns" / "artifacts").iterdir()}
    wanted = predict(model, photos, "--json").stdout
    assert predict(".", photos, "--json").stdout == wanted
    assert predict(f"runs:/{run}/model", photos, "--json").stdout == wanted
    elsewhere = predict(f"runs:/{run}/model", photos, "--tracking-uri", "sqlite:///elsewhere.db")
    assert "nothing was logged to sqlite:///elsewhere.db yet" in elsewhere.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.safetensors", "photos"], "gone.safetensors: no such file"),
        (["photos", "photos"], "photos: no model.safetensors in this folder"),
        (["photos/a.png", "photos"], "photos/a.png: must be a .safetensors file, a folder with"),
        (["nonsense", "photos"], "nonsense: must be a .safetensors file"),
        (["runs:/abc/model", "photos"], "runs:/abc/model: nothing was logged to sqlite:///mlruns/mlflow.db"),
        (["model.safetensors", "nothing"], "nothing: no images in this folder or below it"),
        (["model.safetensors", "photos", "--device", "tpu"], "device must be auto, cpu, cuda"),
    ],
)
def test_bad_input_is_one_line(model: str, photos: Path, arguments: list[str], message: str) -> None:
    Path("nothing").mkdir()
    result = predict(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
