"""What every format of a model keeps to, those that are added later included; and one that a test adds."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from augsearch.policies import UserError
from augsearch.search.cli import main
from augsearch.trainers import ModelSpec, build_model, export_model, save_model
from augsearch.trainers.models import export
from augsearch.trainers.models.export.base import Format, formats, suffixes

SPEC = ModelSpec(name="tiny", channels=3, image_size=12, classes=("cat", "dog"), mean=(9,) * 3, std=(50,) * 3)
EVERY = pytest.mark.parametrize("form", formats().values(), ids=formats())


def ready(form: Format) -> nn.Module:
    """A model to write, if this machine has what the format needs."""
    try:
        form.check()
    except UserError as error:
        pytest.skip(str(error))
    return build_model(SPEC, seed=1).eval()


@EVERY
def test_it_is_known_by_the_name_of_its_file_and_by_suffixes_of_its_own(form: Format) -> None:
    assert (Path(export.__path__[0]) / f"{form.name}.py").is_file()
    assert form.suffixes
    for suffix in form.suffixes:
        assert suffix.startswith(".")
        assert suffix == suffix.lower()
        assert suffixes()[suffix] is form
    assert form.content


@EVERY
def test_what_is_written_is_read_again_and_says_what_the_model_says(form: Format, tmp_path: Path) -> None:
    model = ready(form)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 12, 12), dtype=np.uint8))
    for suffix in form.suffixes:
        file = tmp_path / f"model{suffix}"
        assert export_model(model, SPEC, file) < 1e-4
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own exporters
            torch.testing.assert_close(form.read(file, SPEC)(images), model(images), rtol=1e-4, atol=1e-4)
    assert len(list(tmp_path.iterdir())) == len(form.suffixes)


@EVERY
def test_a_model_that_averages_mirror_images_does_so_elsewhere_or_says_so(
    form: Format, tmp_path: Path
) -> None:
    spec = SPEC.model_copy(update={"average_flips": True})
    alone = ready(form)
    model = build_model(spec, seed=1).eval()
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 12, 12), dtype=np.uint8))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        averaged = (alone(images) + alone(images.flip(-1))) / 2
        torch.testing.assert_close(model(images), averaged)
        file = tmp_path / f"model{form.suffixes[0]}"
        assert export_model(model, spec, file) < 1e-4
        torch.testing.assert_close(form.read(file, spec)(images), averaged, rtol=1e-4, atol=1e-4)
    assert b"average_flips" in file.read_bytes()  # for who builds a network of its own from bare weights


@EVERY
def test_the_classes_are_in_the_file(form: Format, tmp_path: Path) -> None:
    export_model(ready(form), SPEC, tmp_path / "model.bin", form.name)
    content = (tmp_path / "model.bin").read_bytes()
    assert b"cat" in content
    assert b"dog" in content


@EVERY
def test_the_option_and_its_help_name_it(form: Format) -> None:
    words = CliRunner().invoke(main, ["export-model", "--help"]).stdout
    assert form.name in words
    assert all(suffix in words for suffix in form.suffixes)


def test_names_and_suffixes_are_known_without_torch() -> None:
    code = (
        "import sys; from augsearch.trainers.models.export.base import formats, suffixes\n"
        "assert formats() and suffixes()\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'safetensors', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


TOY = """
import torch
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.export.base import Format


def _write(model, spec, images, path):
    torch.save({"said": spec.metadata, "state": model.state_dict()}, path)


def _read(path, spec):
    model = build_model(spec, seed=0).eval()
    model.load_state_dict(torch.load(path)["state"])
    return model


FORMAT = Format("pickled", (".toy",), "the weights as torch pickles them", _write, _read)
"""


@pytest.fixture
def toy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the package of formats, put there by somebody else."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "pickled.py").write_text(TOY)
    monkeypatch.setattr(export, "__path__", [*export.__path__, str(folder)])


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("arguments", [["-o", "model.toy"], ["-o", "model.bin", "--format", "pickled"]])
def test_a_format_is_added_by_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(build_model(SPEC, seed=1), SPEC, tmp_path / "model.safetensors", {})
    run = CliRunner().invoke(main, ["export-model", "model.safetensors", *arguments])
    assert run.exit_code == 0, run.stderr
    assert torch.load(arguments[1])["said"]["name"] == "tiny"


@pytest.mark.usefixtures("toy")
def test_help_and_messages_name_a_format_that_was_added(tmp_path: Path) -> None:
    words = CliRunner().invoke(main, ["export-model", "--help"]).stdout
    assert "pickled" in words
    assert ".toy" in words
    model = build_model(SPEC, seed=1)
    with pytest.raises(UserError, match=r"end it in .*\.toy"):
        export_model(model, SPEC, tmp_path / "model.xyz")
    with pytest.raises(UserError, match=r"format must be .*pickled"):
        export_model(model, SPEC, tmp_path / "model.pt", "tflite")
