"""An exported file says what the model says, to anybody, or it is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.trainers import ModelSpec, build_model, export_model

SIDE = 24
CLASSES = ("cat", "dog", "Käuzchen")


@pytest.fixture
def onnxruntime() -> Any:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="pip install 'augsearch[onnx]'")
    return pytest.importorskip("onnxruntime", reason="pip install 'augsearch[onnx]'")


def spec_of(name: str = "tiny", channels: int = 3) -> ModelSpec:
    mean, std = (110.0, 120.0, 100.0)[:channels], (60.0, 50.0, 70.0)[:channels]
    return ModelSpec(name=name, channels=channels, image_size=SIDE, classes=CLASSES, mean=mean, std=std)


def images(count: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(9).integers(0, 256, (count, channels, SIDE, SIDE), dtype=np.uint8)


def logits(model: nn.Module, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(model.eval()(torch.from_numpy(batch)).numpy())


def run_elsewhere(code: str, folder: Path) -> None:
    """Run code in a process that must do without augsearch."""
    check = "\nimport sys\nassert not any(name.startswith('augsearch') for name in sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + check],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "channels"), [("tiny", 1), ("tiny", 3), ("torchvision:resnet18", 3)], ids=str
)
def test_onnx_agrees_with_the_model_in_batches_of_any_size(
    onnxruntime: Any, tmp_path: Path, name: str, channels: int
) -> None:
    model = build_model(spec_of(name, channels), seed=1)
    assert export_model(model, spec_of(name, channels), tmp_path / "model.onnx") < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [channels, SIDE, SIDE])
    assert (answer.name, answer.type, answer.shape[1:]) == ("logits", "tensor(float)", [3])
    for count in (1, 3, 10):
        (found,) = session.run(None, {"images": images(count, channels)})
        np.testing.assert_allclose(found, logits(model, images(count, channels)), atol=1e-4)
    said = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(said["classes"])) == CLASSES
    assert json.loads(said["mean"]) == list(spec_of(name, channels).mean)
    assert json.loads(said["std"]) == list(spec_of(name, channels).std)
    assert (said["name"], said["image_size"]) == (name, str(SIDE))


def test_onnx_needs_nothing_but_onnxruntime(onnxruntime: Any, tmp_path: Path) -> None:
    model = build_model(spec_of(), seed=1)
    export_model(model, spec_of(), tmp_path / "model.onnx")
    np.save(tmp_path / "images.npy", images(3))
    np.save(tmp_path / "logits.npy", logits(model, images(3)))
    run_elsewhere(
        "import numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession('model.onnx')\n"
        "(found,) = session.run(None, {'images': np.load('images.npy')})\n"
        "assert np.allclose(found, np.load('logits.npy'), atol=1e-4)",
        tmp_path,
    )


@pytest.mark.parametrize(("name", "file"), [("tiny", "model.pt"), ("torchvision:resnet18", "m.torchscript")])
def test_torchscript_needs_nothing_but_torch(tmp_path: Path, name: str, file: str) -> None:
    model = build_model(spec_of(name), seed=1)
    assert export_model(model, spec_of(name), tmp_path / file) < 1e-4
    np.save(tmp_path / "images.npy", images(5))
    np.save(tmp_path / "logits.npy", logits(model, images(5)))
    run_elsewhere(
        "import json, numpy as np, torch\n"
        "said = {'classes': '', 'mean': '', 'std': '', 'image_size': ''}\n"
        f"model = torch.jit.load({file!r}, _extra_files=said)\n"
        "with torch.no_grad():\n"
        "    found = model(torch.from_numpy(np.load('images.npy'))).numpy()\n"
        "assert np.allclose(found, np.load('logits.npy'), atol=1e-4)\n"
        f"assert json.loads(said['classes']) == {list(CLASSES)!r}\n"
        f"assert json.loads(said['image_size']) == {SIDE}\n"
        f"assert json.loads(said['mean']) == {list(spec_of().mean)!r}\n",
        tmp_path,
    )


OTHERS = [(2, 3, SIDE + 1, SIDE), (2, 3, SIDE, 2 * SIDE), (2, 1, SIDE, SIDE), (3, SIDE, SIDE)]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("shape", OTHERS)
def test_torchscript_refuses_images_of_another_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    export_model(build_model(spec_of(), seed=1), spec_of(), tmp_path / "model.pt")
    model = torch.jit.load(tmp_path / "model.pt")  # type: ignore[no-untyped-call]
    assert model(torch.from_numpy(images(3))).shape == (3, 3)
    with pytest.raises(torch.jit.Error, match="images must "):
        model(torch.zeros(shape, dtype=torch.uint8))


def test_the_weights_of_a_torchvision_network_are_named_as_torchvision_names_them(tmp_path: Path) -> None:
    spec = spec_of("torchvision:resnet18")
    model = build_model(spec, seed=1)
    assert export_model(model, spec, tmp_path / "weights.safetensors") == 0
    weights = load_file(tmp_path / "weights.safetensors")
    torchvision.models.resnet18(num_classes=3).load_state_dict(weights)
    assert torch.equal(weights["fc.bias"], model.state_dict()["network.fc.bias"])


def test_weights_say_what_they_are_of(tmp_path: Path) -> None:
    export_model(build_model(spec_of(), seed=1), spec_of(), tmp_path / "weights.safetensors")
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        said = file.metadata()
    assert tuple(json.loads(said["classes"])) == CLASSES
    assert (said["name"], said["image_size"], said["channels"]) == ("tiny", str(SIDE), "3")


class Restless(nn.Module):
    """Answers differently each time, so that no file can agree with it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Tensor) -> Tensor:
        return self.model(batch) + torch.rand(1)  # type: ignore[no-any-return]


class Fickle(nn.Module):
    """Does what no exporter can follow."""

    def forward(self, batch: Tensor) -> Tensor:
        if batch.float().mean().item() > 128:
            raise LookupError("one line\nand another")
        return batch.float().mean((1, 2, 3)).unsqueeze(1)


@pytest.mark.parametrize("file", ["model.onnx", "model.pt"])
def test_a_file_that_disagrees_is_not_written_and_the_old_one_stays(tmp_path: Path, file: str) -> None:
    if file.endswith("onnx"):
        pytest.importorskip("onnxruntime", reason="pip install 'augsearch[onnx]'")
    (tmp_path / file).write_text("the old one")
    restless = Restless(build_model(spec_of(), seed=1))
    with pytest.raises(UserError, match=rf"{file}: its outputs differ from the model's by .*; not written"):
        export_model(restless, spec_of(), tmp_path / file)
    assert (tmp_path / file).read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [tmp_path / file]


def test_a_model_whose_outputs_are_no_numbers_is_not_written(tmp_path: Path) -> None:
    model = build_model(spec_of(), seed=1)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="differ from the model's by nan"):
        export_model(model, spec_of(), tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_what_an_exporter_cannot_follow_is_one_line(onnxruntime: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.onnx: tiny can't be written so \(.*another format") as error:
        export_model(Fickle(), spec_of(), tmp_path / "model.onnx")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"ONNX needs onnx\w*; pip install 'augsearch\[onnx\]'"):
        export_model(build_model(spec_of(), seed=1), spec_of(), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        ("model.xyz", None, r"model\.xyz: no format ends so; end it in \.onnx, \.safetensors, \.pt, "),
        ("model", None, "no format ends so"),
        ("model.pt", "tflite", "format must be onnx, safetensors, torchscript, got 'tflite'"),
        ("file/model.pt", None, r"model\.pt: can't be written"),
        ("folder.pt", None, r"folder\.pt: can't be written"),
    ],
)
def test_bad_targets_are_refused(tmp_path: Path, file: str, kind: str | None, message: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UserError, match=message):
        export_model(build_model(spec_of(), seed=1), spec_of(), tmp_path / file, kind)


def test_a_format_may_be_given_whatever_the_name(tmp_path: Path) -> None:
    export_model(build_model(spec_of(), seed=1), spec_of(), tmp_path / "new" / "weights.bin", "safetensors")
    assert load_file(tmp_path / "new" / "weights.bin")
