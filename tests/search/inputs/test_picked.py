"""Where nobody names a network, one is picked that suits the images and the machine, and that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import optuna
import pytest

from augsearch.policies import Policy, PolicyFile, UserError, write_policy
from augsearch.search.command_lines import without_effect
from augsearch.search.console import Display
from augsearch.search.inputs import picked
from augsearch.search.inputs.picked import STRONGER, pick
from augsearch.search.inputs.prepare import with_picked_network
from augsearch.search.pipelines.train import train_from_file
from augsearch.search.race.resume import as_begun
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import open_storage
from augsearch.trainers import load_model


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """Makes a folder of images of a given shorter side."""

    def make(side: int) -> str:
        for name in ("cat", "dog"):
            place = tmp_path / f"{side}" / name
            place.mkdir(parents=True)
            for number in range(3):
                cv2.imwrite(str(place / f"{number}.png"), np.full((side, side + 9, 3), 99, np.uint8))
        return str(tmp_path / f"{side}")

    return make


@pytest.mark.parametrize(("side", "network", "size"), [(28, None, None), (95, None, None), (96, "lite0", 96)])
def test_photos_get_a_pretrained_network_and_small_images_a_small_one(
    folder: Any, side: int, network: str | None, size: int | None
) -> None:
    found = pick(folder(side), "cpu", "medium")
    assert (found.network, found.size) == (network, size)
    assert found.why.startswith(f"final network: {network or 'medium'}")
    assert f"{side} px" in found.why
    assert "--final-model" in found.why
    assert "\n" not in found.why


def test_on_a_cpu_no_photo_is_trained_on_at_more_than_128_pixels(folder: Any) -> None:
    assert pick(folder(300), "cpu", "medium").size == 128


def test_a_table_is_read_as_it_is_said_to_be(folder: Any, tmp_path: Path) -> None:
    folder(120)
    (tmp_path / "elsewhere").mkdir()
    table = tmp_path / "elsewhere" / "labels.csv"
    table.write_text(
        "x,y\n" + "".join(f"{name}/{n}.png,{name}\n" for name in ("cat", "dog") for n in range(3))
    )
    said = {"root": tmp_path / "120", "label_column": "y", "image_column": "x"}
    told = Settings.of(data=str(table), **said)
    assert with_picked_network(told, Display()).network == "lite0"


def test_on_a_gpu_a_stronger_network_is_picked_whose_weights_are_at_hand(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = folder(128)
    without = pick(source, "cuda", "medium")
    assert (without.network, without.size) == ("lite0", None)
    assert STRONGER[1] in without.why
    from torchvision.models import get_model_weights

    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / get_model_weights("resnet50").DEFAULT.url.rpartition("/")[2]).touch()
    found = pick(source, "cuda", "medium")
    assert (found.network, found.size) == ("torchvision:resnet50", None)
    assert "cache" in found.why


def test_images_that_are_not_there_are_missed_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file or folder"):
        pick(str(tmp_path / "nowhere"), "cpu", "medium")


@pytest.mark.parametrize(
    "given",
    [
        {"final_model": "wide"},
        {"proxy_model": "torchvision:resnet18"},
        {"final": False},
        {"data": None},
    ],
)
def test_nothing_is_picked_where_it_was_said(
    folder: Any, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.of(**{"data": folder(128), **given})
    assert with_picked_network(settings, Display()) is settings
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, 128),
        ({"final_size": 100}, 100),
        ({"budget": "6m"}, None),
        ({"weights": "auto"}, 128),
        ({"weights": "hub"}, 128),
        ({"transfer": "head"}, 128),
        ({"transfer": "full"}, 128),
        ({"input_size": 112}, 112),
        ({"proxy_model": "tiny"}, 128),
    ],
)
def test_what_was_picked_is_said_and_set(
    folder: Any,
    given: dict[str, Any],
    size: int | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picked, "has_gpu", lambda device: False)
    settings = with_picked_network(Settings.of(data=folder(140), **given), Display())
    assert (settings.network, settings.final.size) == ("lite0", size)
    assert capsys.readouterr().out.startswith("final network: lite0")


@pytest.mark.parametrize(("flag", "value"), [("weights", "none"), ("transfer", "none")])
def test_photos_are_learned_from_scratch_only_when_that_is_asked_for_and_it_is_said(
    folder: Any, flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.of(data=folder(128), **{flag: value})
    assert with_picked_network(settings, Display()) is settings
    said = capsys.readouterr().out.replace("\n", " ")
    assert said.startswith(f"final network: medium, from scratch, because of --{flag} none; --final-model")


def test_weights_of_no_network_are_not_passed_over(folder: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"")
    with pytest.raises(UserError, match=r"w\.pth: of which network\? Name it with --final-model"):
        with_picked_network(Settings.of(data=folder(128), weights=str(file)), Display())
    assert any("--weights: without effect" in line for line in without_effect(Settings.of(weights=str(file))))


def test_small_images_have_no_weights_to_transfer(folder: Any) -> None:
    with pytest.raises(UserError, match="--transfer head needs a network with weights"):
        with_picked_network(Settings.of(data=folder(28), transfer="head"), Display())


@pytest.mark.parametrize(
    ("begun", "told", "network"),
    [
        ({}, {}, "medium"),
        ({"final_model": "lite0", "final_size": 128}, {}, "lite0"),
        ({"final_model": "lite0"}, {"final_model": "wide"}, "wide"),
        ({}, {"proxy_model": "tiny"}, "medium"),
    ],
)
def test_a_study_goes_on_with_the_network_that_it_was_begun_with(
    folder: Any, begun: dict[str, Any], told: dict[str, Any], network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.of(data=folder(128), study="s", **told)
    study = optuna.create_study(storage=open_storage(settings.tracking.storage), study_name="s")
    study.set_user_attr("settings", Settings.of(**begun).flat())
    going_on = with_picked_network(as_begun(settings, settings), Display())
    assert going_on.network == network
    if not told:
        assert going_on.final.size == begun.get("final_size")
    assert not capsys.readouterr().out  # nothing is picked anew


def test_the_training_alone_picks_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, grey in (("cat", 60), ("dog", 180)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(grey + rng.normal(0, 20, (96, 96, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / name / f"{number}.png"), pixels)
    write_policy(PolicyFile(policy=Policy(num_ops=0)), tmp_path / "policy.json")
    settings = Settings.of(data="photos", final_epochs=1, final_size=32, device="cpu")
    flags = dict.fromkeys(("mixing", "temperature", "alpha", "teacher_view"))
    final = train_from_file(settings, tmp_path / "policy.json", flags, Display())
    model, spec = load_model(Path(final["model"]))
    assert (spec.name, spec.side, final["network"]) == ("lite0", 32, "lite0")
    assert len(model.state_dict()) > 200
