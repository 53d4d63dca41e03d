"""``augsearch export-model``: a model by whatever name, as a file for use elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from augsearch.search.cli import main
from augsearch.search.pipelines.export_model import find_model
from augsearch.trainers import ModelSpec, build_model, save_model


@pytest.fixture
def model(workplace: Path) -> Path:
    spec = ModelSpec(
        name="tiny", channels=1, image_size=16, classes=("cat", "dog"), mean=(100.0,), std=(50.0,)
    )
    save_model(build_model(spec, seed=0), spec, workplace / "model.safetensors", {})
    return Path("model.safetensors")


def export(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["export-model", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("file", "options"),
    [("m.onnx", []), ("m.pt", []), ("w.safetensors", []), ("new/m.bin", ["--format", "torchscript"])],
)
def test_it_says_what_it_wrote_and_how_far_it_is_from_the_model(
    model: Path, file: str, options: list[str]
) -> None:
    if file.endswith("onnx"):
        pytest.importorskip("onnxruntime", reason="pip install 'augsearch[onnx]'")
    result = export(model, "-o", file, *options)
    assert result.exit_code == 0, result.stderr
    told, _, difference = result.stdout.strip().rpartition(" ")
    assert told == (
        f"{file}: network tiny for grey images of 16 × 16 pixels; "
        "its outputs differ from the model's by at most"
    )
    assert float(difference) < 1e-5
    assert Path(file).stat().st_size > 10_000


def test_a_folder_is_the_model_in_it(model: Path, workplace: Path) -> None:
    assert find_model(".") == model
    assert export(workplace, "-o", "w.safetensors").exit_code == 0
    own, written = load_file(model), load_file("w.safetensors")
    assert set(own) == set(written)
    assert all(torch.equal(own[name], written[name]) for name in own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model.safetensors", "-o", "m.xyz"],
            "m.xyz: no format ends so; end it in .onnx, .safetensors, ",
        ),
        (["model.safetensors", "-o", "model.safetensors"], "model.safetensors: is the model itself; give"),
        ([".", "-o", "../{here}/model.safetensors"], "../{here}/model.safetensors: is the model itself"),
        (["model.safetensors", "-o", "model.json/m.pt"], "model.json/m.pt: can't be written"),
        (["gone.safetensors", "-o", "m.onnx"], "gone.safetensors: no such file"),
        (["model.json", "-o", "m.onnx"], "model.json: must be a .safetensors file, a folder with"),
        (["runs:/abc/model", "-o", "m.onnx"], "runs:/abc/model: nothing was logged to sqlite:///mlruns"),
        (["models:/pets/1", "-o", "m.onnx", "--tracking-uri", "sqlite:///x.db"], "models:/pets/1: nothing"),
    ],
)
def test_bad_input_is_one_line(model: Path, workplace: Path, arguments: list[str], message: str) -> None:
    result = export(*(argument.replace("{here}", workplace.name) for argument in arguments))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message.replace('{here}', workplace.name)}")
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in workplace.iterdir()) == ["model.json", "model.safetensors"]


def test_without_onnx_it_says_how_to_install_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = export(model, "-o", "m.onnx")
    assert result.exit_code == 2
    assert result.stderr == "Error: ONNX needs onnxscript; pip install 'augsearch[onnx]'\n"
