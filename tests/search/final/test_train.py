"""The final training as the commands ask for it: what decides it, what is said, and what is on record."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from augsearch.policies import (
    Distillation,
    Mixing,
    Policy,
    PolicyFile,
    Training,
    Transfer,
    UserError,
    write_policy,
)
from augsearch.policies.regions import ResizedCrop
from augsearch.search.console import Display
from augsearch.search.final import train as finals
from augsearch.search.final.plan import (
    as_then,
    check_weights,
    final_epochs,
    final_key,
    final_pixels,
    overridden,
    plan_of,
    takes_any_side,
    with_crops,
    with_metric,
    with_transfer,
)
from augsearch.search.final.train import train_and_test
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings
from augsearch.trainers.data.views import Decoded, OnDisk
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.tasks.final import FinalModel
from augsearch.trainers.training.recipe import Recipe

RESNET, VIT = "torchvision:resnet18", "torchvision:vit_b_16"
NOTHING = Policy(num_ops=0)
PLAIN = PolicyFile(policy=NOTHING)
TAUGHT = Training(distillation=Distillation(temperature=3, alpha=0.2, teacher_view="clean"))
FULL = Transfer(mode="full", backbone_lr_scale=0.3, layer_decay=0.8)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(finals, "available_cores", lambda: 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def spoken() -> tuple[Display, io.StringIO]:
    """A display, and what it says."""
    said = io.StringIO()
    return Display(Console(file=said)), said


def quick(data: str | None, **fields: Any) -> Settings:
    """Settings as flags give them."""
    usual = {"proxy_model": "tiny", "final_model": "tiny", "teacher": "none", "final_epochs": 4}
    return load_settings(None, {"data": data, **usual, **fields})


def policy_in(file: PolicyFile, path: str = "policy.json") -> Path:
    write_policy(file, path)
    return Path(path)


def model_in(path: str) -> str:
    """An untrained model of the stripes' classes."""
    spec = ModelSpec(
        name="tiny", channels=1, image_size=16, classes=("0", "1", "2"), mean=(128.0,), std=(60.0,)
    )
    save_model(build_model(spec, 0), spec, Path(path), {})
    return path


# What decides the training.


def test_weights_that_are_good_already_want_a_third_of_the_epochs() -> None:
    settings = Settings()
    assert final_epochs(settings, 1000, Training()) == 60
    assert final_epochs(settings, 1000, Training(transfer=FULL)) == 20
    assert final_epochs(settings, 10**6, Training(transfer=FULL)) == 10
    few, beside = 100, Training(semi=FixMatch())
    assert final_epochs(settings, few, Training()) == 150
    assert final_epochs(settings, few, beside) == 600
    for training in (Training(), beside, Training(transfer=FULL)):
        assert final_epochs(Settings.of(final_epochs=7), 1000, training) == 7


@pytest.mark.parametrize(
    ("flags", "found", "used"),
    [
        ({"final_model": "wide"}, FULL, None),
        ({"final_model": RESNET}, FULL, FULL),
        ({"final_model": RESNET}, None, Transfer(mode="full")),
        ({"final_model": RESNET, "weights": "none"}, FULL, None),
        ({"final_model": RESNET, "weights": "hub", "transfer": "none"}, FULL, None),
        ({"final_model": RESNET, "weights": "hub"}, FULL, FULL),
        ({"final_model": RESNET, "weights": "hub"}, Transfer(mode="head"), Transfer(mode="head")),
        ({"final_model": RESNET, "weights": "hub"}, None, Transfer(mode="full")),
        ({"final_model": RESNET, "transfer": "head"}, None, Transfer(mode="head")),
        (
            {"final_model": RESNET, "weights": "hub", "layer_decay": 0.9},
            None,
            Transfer(mode="full", layer_decay=0.9),
        ),
    ],
)
def test_the_transfer_is_what_the_search_found_and_the_network_can_do(
    flags: dict[str, Any], found: Transfer | None, used: Transfer | None
) -> None:
    file = PLAIN.model_copy(update={"training": TAUGHT.model_copy(update={"transfer": found})})
    made = with_transfer(file, load_settings(None, flags))
    assert made.training.transfer == used
    assert made.training.distillation == TAUGHT.distillation
    assert made.policy == file.policy


def test_a_policy_with_a_transfer_wants_weights() -> None:
    file = PolicyFile(policy=NOTHING, training=Training(transfer=FULL))

    def weights(**flags: Any) -> str:
        settings = load_settings(None, flags)
        check_weights(settings, file)
        return settings.weights_of(settings.network)

    assert weights(final_model=RESNET) == "hub"
    assert weights(final_model=RESNET, transfer="head") == "hub"
    assert weights(final_model=RESNET, transfer="none") == "none"
    assert weights(transfer="none") == "none"
    model = model_in("mine.safetensors")
    assert weights(final_model=model) == model
    assert weights(final_model=RESNET, weights=model) == model
    assert weights(final_model=RESNET, weights="none") == "none"
    for flags in ({}, {"final_model": "wide"}):
        with pytest.raises(UserError, match="the policy asks for transfer full, and network ") as caught:
            weights(**flags)
        assert str(caught.value).endswith("or --transfer none")
        assert "\n" not in str(caught.value)
    check_weights(Settings(), PLAIN)


def test_every_setting_of_the_training_is_obeyed() -> None:
    flags = {
        "batch_size": 24,
        "accumulation": 3,
        "learning_rate": 0.007,
        "label_smoothing": 0.2,
        "warm_up": 0.1,
        "ema": 0.99,
        "precision": "float32",
    }
    settings = load_settings(
        None,
        {
            **flags,
            "final_epochs": 17,
            "final_model": RESNET,
            "weights": "hub",
            "input_size": 96,
            "patience": 5,
            "processes": 3,
            "metric": "macro-f1",
        },
    )
    plan = plan_of(settings, PLAIN, 1000)
    assert plan.recipe == Recipe(epochs=17, **flags)
    assert (plan.model, plan.weights, plan.input_size) == (RESNET, "hub", 96)
    assert (plan.patience, plan.processes, plan.metric) == (5, 3, "macro-f1")
    usual = plan_of(Settings(), PLAIN, 1000)
    assert usual.recipe == Recipe(epochs=60)
    assert (usual.model, usual.weights, usual.patience, usual.processes) == ("medium", "none", None, 1)


@pytest.mark.parametrize(
    ("flags", "side"),
    [
        ({"final_model": "lite0", "final_size": 96}, 96),
        ({"final_model": "lite0", "final_size": 96, "input_size": 64}, 64),
        ({"final_model": "lite0"}, None),
        # These take one side only, and those from scratch suit their images.
        ({"final_model": VIT, "final_size": 96}, None),
        ({"final_model": "lite0", "final_size": 96, "weights": "none"}, None),
        ({"final_model": "wide", "final_size": 96}, None),
    ],
)
def test_a_network_with_weights_works_at_the_side_of_the_final_training(
    flags: dict[str, Any], side: int | None
) -> None:
    settings = load_settings(None, flags)
    assert plan_of(settings, PLAIN, 1000).input_size == side
    sized = "final_size" in flags
    assert takes_any_side(settings) == (not sized and flags["final_model"] == "lite0")
    assert not takes_any_side(settings.changed(final=False))


@pytest.mark.parametrize(
    ("flags", "weights"),
    [
        ({}, "none"),
        ({"first_teacher": "tiny"}, "none"),
        ({"first_teacher": "lite0"}, "hub"),
        ({"first_teacher": "lite0", "weights": "none"}, "none"),
    ],
)
def test_the_first_teacher_starts_from_what_it_knows(flags: dict[str, Any], weights: str) -> None:
    plan = plan_of(load_settings(None, flags), PLAIN, 1000)
    assert plan.first_teacher_weights == weights
    # What is told by a plan's fields was kept when plans did not have this one.
    assert "first_teacher_weights" not in plan.model_dump_json()


def test_the_metric_is_that_of_the_policys_search_unless_a_flag_says_another() -> None:
    def metric(made_from: Any, **flags: Any) -> str:
        file = PLAIN.model_copy(update={"provenance": {"made_from": made_from}})
        return plan_of(with_metric(load_settings(None, flags), file), file, 1000).metric

    assert metric({"metric": "log-loss"}) == "log-loss"
    assert metric({"metric": "log-loss"}, metric="accuracy") == "accuracy"
    # Searches by accuracy don't name it; what a newer or a foreign file says may not be known.
    for unknown in ({}, {"metric": "width"}, {"metric": 3}, "a friend", None):
        assert metric(unknown) == "accuracy"
    assert plan_of(with_metric(Settings(), PLAIN), PLAIN, 1000).metric == "accuracy"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, PLAIN.policy.mixing),
        ({"mixing": "none"}, None),
        ({"mixing": "mixup"}, Mixing(kind="mixup")),
    ],
)
def test_mixing_is_the_policys_unless_a_flag_says_another(
    flags: dict[str, Any], expected: Mixing | None
) -> None:
    assert changed(PLAIN, flags).policy.mixing == expected


def changed(file: PolicyFile, flags: dict[str, Any] | None = None, **settings: Any) -> PolicyFile:
    unsaid = dict.fromkeys(("mixing", "temperature", "alpha", "teacher_view"))
    return overridden(file, load_settings(None, settings), unsaid | (flags or {}))


def test_another_mixing_keeps_how_often_and_how_much() -> None:
    mixed = PolicyFile(policy=Policy(num_ops=1, mixing=Mixing(kind="cutmix", alpha=0.3, probability=0.7)))
    assert changed(mixed) == mixed
    mixup = changed(mixed, {"mixing": "mixup"}).policy
    assert mixup == mixed.policy.model_copy(
        update={"mixing": Mixing(kind="mixup", alpha=0.3, probability=0.7)}
    )
    assert changed(mixed, {"mixing": "none"}).policy.mixing is None


def test_flags_change_the_distillation_that_the_file_asks_for() -> None:
    taught = PolicyFile(policy=NOTHING, training=TAUGHT)

    def distillation(file: PolicyFile, flags: dict[str, Any], **settings: Any) -> Distillation | None:
        return changed(file, flags, **settings).training.distillation

    assert distillation(taught, {}) == TAUGHT.distillation
    assert distillation(taught, {"temperature": 8.0}) == Distillation(
        temperature=8, alpha=0.2, teacher_view="clean"
    )
    assert distillation(taught, {"alpha": 1.0, "teacher_view": "same"}) == Distillation(
        temperature=3, alpha=1
    )
    assert distillation(taught, {}, teacher="none") is None
    assert distillation(PLAIN, {}) is None
    # A word on it where the file has none asks for it.
    assert distillation(PLAIN, {}, teacher="small") == Distillation(temperature=4, alpha=0.5)
    assert distillation(PLAIN, {"alpha": 0.9}) == Distillation(temperature=4, alpha=0.9)
    assert distillation(PLAIN, {"alpha": 0.9}, teacher="none") is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"temperature": 0.0}, "temperature must be > 0, got 0"),
        ({"temperature": float("nan")}, "temperature must be "),
        ({"alpha": 1.5}, "alpha must be ≤ 1, got 1.5"),
        ({"alpha": -1.0, "temperature": 500.0}, "temperature must be ≤ 100, got 500.0; alpha must be ≥ 0, "),
        ({"teacher_view": "both"}, "teacher-view must be 'same' or 'clean', got 'both'"),
        ({"mixing": "mix"}, "kind must be 'cutmix' or 'mixup', got 'mix'"),
    ],
)
@pytest.mark.parametrize(
    "file", [PLAIN, PolicyFile(policy=NOTHING, training=TAUGHT)], ids=["plain", "taught"]
)
def test_a_bad_value_is_named_in_one_line(file: PolicyFile, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        changed(file, flags)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_flags_change_the_transfer_that_the_file_asks_for() -> None:
    found = PolicyFile(policy=NOTHING, training=Training(transfer=FULL))

    def transfer(file: PolicyFile, **settings: Any) -> Transfer | None:
        return changed(file, final_model=RESNET, weights="hub", **settings).training.transfer

    assert transfer(found) == FULL
    assert transfer(found, transfer="head") == Transfer(mode="head")
    assert transfer(found, transfer="full") == Transfer(mode="full")
    assert transfer(found, layer_decay=0.7) == FULL.model_copy(update={"layer_decay": 0.7})
    assert transfer(found, transfer="full", backbone_lr_scale=0.5) == Transfer(
        mode="full", backbone_lr_scale=0.5
    )
    assert transfer(PLAIN) is None
    assert transfer(PLAIN, transfer="head") == Transfer(mode="head")
    silent = with_transfer(changed(found, final_model=RESNET, transfer="none"), Settings.of(transfer="none"))
    assert silent.training.transfer is None


@pytest.mark.parametrize(
    ("network", "given", "clip"),
    [
        (VIT, {}, 1.0),
        ("torchvision:convnext_tiny", {}, 1.0),
        (RESNET, {}, None),
        ("medium", {}, None),
        (VIT, {"weights": "none"}, None),
        (VIT, {"clip": 0.0}, None),
        (RESNET, {"clip": 3.0}, 3.0),
    ],
)
def test_gradients_are_clipped_where_the_family_wants_it(
    network: str, given: dict[str, Any], clip: float | None
) -> None:
    settings = Settings.of(final_model=network, **given)
    file = with_transfer(PLAIN, settings)
    assert plan_of(settings, file, 1000).recipe.clip == clip


DECISIVE: dict[str, Any] = {
    "clip": 2.0,
    "average_flips": True,
    "final_model": "small",
    "final_epochs": 9,
    "final_size": 24,
    "input_size": 24,
    "patience": 3,
    "batch_size": 10,
    "accumulation": 2,
    "learning_rate": 0.1,
    "label_smoothing": 0.0,
    "warm_up": 0.5,
    "ema": 0.9,
    "precision": "float32",
    "crop_scale": 0.9,
    "processes": 2,
    "seed": 1,
    "image_size": 20,
}
INDIFFERENT: dict[str, Any] = {
    "trials": 40,
    "workers": 1,
    "finalists": 3,
    "timeout": 9.0,
    "study": "other",
    "output": Path("elsewhere"),
    "tracking_uri": "sqlite:///other.db",
}


def test_whatever_decides_the_final_model_makes_it_another(stripes: str) -> None:
    file = policy_in(PLAIN)

    def key(path: Path = file, **fields: Any) -> str:
        settings = quick(stripes, **fields)
        return final_key(path, settings, open_data(settings, Display()))

    usual = key()
    assert usual == key()
    assert {name for name, value in DECISIVE.items() if key(**{name: value}) == usual} == set()
    assert {name for name, value in INDIFFERENT.items() if key(**{name: value}) != usual} == set()
    other = PolicyFile(policy=Policy(num_ops=1), evidence={"told": "more"})
    assert key(policy_in(other, "other.json")) != usual
    # Where a policy comes from changes nothing that is trained.
    assert key(policy_in(PLAIN.model_copy(update={"provenance": {"study": "s"}}), "same.json")) == usual


def test_how_weights_are_used_makes_it_another_model(stripes: str) -> None:
    file = policy_in(PLAIN)
    model = model_in("start.safetensors")

    def key(**fields: Any) -> str:
        settings = quick(stripes, final_model=model, **fields)
        return final_key(file, settings, open_data(settings, Display()))

    uses = [{}, {"transfer": "head"}, {"transfer": "none"}, {"layer_decay": 0.7}, {"backbone_lr_scale": 0.5}]
    keys = [key(**use) for use in uses]
    assert len(set(keys)) == len(uses)
    assert key(transfer="full") == keys[0]
    # Other weights in the same file.
    content = Path(model).read_bytes()
    Path(model).write_bytes(content[:-4] + bytes(4))
    assert key() != keys[0]


# The pixels.


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """A folder of 2 × 12 coloured photos of 120 × 100 pixels, one of which can't be read."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((120, 100))
            image.save(tmp_path / "photos" / name / f"{number:02}.jpg")
    (tmp_path / "photos" / "cat" / "05.jpg").write_bytes(b"hello")
    return str(tmp_path / "photos")


def pixels_of(settings: Settings) -> tuple[Any, Data]:
    data = open_data(settings, Display())
    return final_pixels(settings, data), data


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({"final_size": 96}, 96),
        ({"image_size": 70}, 70),
        ({"final_model": "lite0"}, 224),
        ({"final_model": "lite0", "input_size": 128}, 128),
        ({"final_model": "lite0", "final_size": 80}, 80),
    ],
)
def test_large_images_come_from_their_files(photos: str, fields: dict[str, Any], side: int) -> None:
    pixels, data = pixels_of(quick(photos, skip_bad_images=True, **fields))
    assert isinstance(pixels, OnDisk)
    assert (pixels.side, pixels.channels) == (side, 3)
    assert [str(path) for path in pixels.paths] == [f"{photos}/{file}" for file in data.images.files]
    assert len(pixels.paths) == len(data.images.labels) == 23
    shown = next(pixels.clean(np.arange(23)))
    small = data.images.images.astype(float)
    # The same images in the same order: the colour of each is that of the small one.
    assert np.abs(shown.mean(axis=(1, 2)) - small.mean(axis=(1, 2))).max() < 5


CROP = ResizedCrop(smallest=0.35)


@pytest.mark.parametrize(
    ("provenance", "policy", "given", "cropped"),
    [
        ({"study": "s"}, NOTHING, {}, CROP),  # as its own final training did
        ({"study": "s", "edition": 2}, NOTHING, {}, CROP),
        ({"study": "s", "edition": 3}, NOTHING, {}, None),
        ({"study": "s"}, NOTHING, {"crop_scale": 0.8}, ResizedCrop(smallest=0.8)),
        ({}, NOTHING, {}, None),
        ({}, Policy(resized_crop=ResizedCrop()), {}, ResizedCrop()),
        ({"study": "s"}, Policy(resized_crop=ResizedCrop()), {}, ResizedCrop()),
    ],
)
def test_photos_are_cropped_as_the_file_says_or_as_its_study_did(
    photos: str, provenance: Any, policy: Policy, given: dict[str, Any], cropped: ResizedCrop | None
) -> None:
    own = Policy(num_ops=1)
    training = Training(semi=FixMatch(policy=own))
    file = PolicyFile(policy=policy, provenance=provenance, training=training)
    settings = as_then(quick(photos, skip_bad_images=True, final_size=96, **given), file)
    trained = with_crops(file, settings, pixels_of(settings)[0])
    assert trained.policy == policy.model_copy(update={"resized_crop": cropped})
    assert trained.training.semi is not None
    wanted = cropped if settings.final.crop_scale else None
    assert trained.training.semi.policy == own.model_copy(update={"resized_crop": wanted})
    small = as_then(quick(photos, skip_bad_images=True, **given), file)
    assert with_crops(file, small, pixels_of(small)[0]) == file  # they never were, up to 64 px


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({}, 64),
        ({"final_size": 40}, 40),
        ({"image_size": 32}, 32),
        ({"image_size": 32, "final_model": RESNET, "weights": "none"}, 32),
        ({"image_size": 32, "final_size": 64}, 64),
    ],
)
def test_small_images_are_decoded_once(photos: str, fields: dict[str, Any], side: int) -> None:
    pixels, data = pixels_of(quick(photos, skip_bad_images=True, **fields))
    assert isinstance(pixels, Decoded)
    assert pixels.side == side
    shown = next(pixels.clean(np.arange(23))).astype(float)
    assert np.abs(shown.mean(axis=(1, 2)) - data.images.images.mean(axis=(1, 2))).max() < 5


def test_arrays_are_decoded_at_any_size(stripes: str) -> None:
    pixels, data = pixels_of(quick(stripes))
    assert isinstance(pixels, Decoded)
    assert pixels.images is data.images.images
    large, _ = pixels_of(quick(stripes, final_size=96))
    assert isinstance(large, Decoded)
    assert large.images.shape == (120, 96, 96, 1)


# The training, shown and on record.


def run(settings: Settings, file: PolicyFile = PLAIN, tracker: Any = None) -> tuple[dict[str, Any], str]:
    """Train and test; returns the result and what was said."""
    display, said = spoken()
    output = Path("out")
    output.mkdir(exist_ok=True)
    data = open_data(settings, display)
    result = train_and_test(data, settings, policy_in(file), output, display, tracker, "a test")
    return result, said.getvalue()


def test_a_model_is_trained_tested_and_drawn(stripes: str) -> None:
    result, said = run(quick(stripes, final_epochs=6))
    model, _ = load_model(Path(result["model"]))
    assert not model.training
    card = json.loads(Path("out/model.json").read_text())
    assert card["test"]["accuracy"] == result["figures"]["test_accuracy"]
    assert card["policy_file"] == "policy.json"
    assert card["data"].startswith("stripes ")
    assert f"final model: test accuracy {100 * card['test']['accuracy']:.1f} % on 24 images" in said
    assert "had been read" not in said
    assert sorted(Path(drawn).name for drawn in result["drawn"]) == [
        "confusion.png",
        "mistakes.png",
        "reliability.png",
    ]
    assert all(Path(drawn).exists() for drawn in result["drawn"])
    assert "this test part had been read once before" in run(quick(stripes))[1]


@pytest.mark.parametrize("view", ["same", "clean"])
def test_a_teacher_that_is_trained_here_sees_files_as_large_as_its_student_does(
    photos: str, view: Literal["same", "clean"]
) -> None:
    taught = Training(distillation=Distillation(temperature=3, alpha=0.2, teacher_view=view))
    settings = quick(photos, teacher="self", final_size=72, final_epochs=1, skip_bad_images=True)
    result, said = run(settings, PLAIN.model_copy(update={"training": taught}))
    (teacher,) = Path("mlruns/work/teachers").glob("*.json")
    assert json.loads(teacher.read_text())["model"]["image_size"] == 72
    assert load_model(Path(result["model"]))[1].image_size == 72
    assert "its teacher, tiny, is trained before it" in said
    assert Path("out/teacher.png").exists()


def test_the_test_part_is_on_record_as_read_before_it_is(
    stripes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*_: Any) -> None:
        (record,) = Path("mlruns/test-reads").iterdir()
        assert len(record.read_text().splitlines()) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("augsearch.trainers.tasks.final.test_final", cut_short)
    with pytest.raises(KeyboardInterrupt):
        run(quick(stripes, final_epochs=1))
    assert Path("out/model.safetensors").exists()


class Interrupting:
    """A tracker that is there when Ctrl-C is pressed after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.after, self.metrics = epoch, {}

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        self.metrics = metrics
        if epoch == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_stopped_after_any_epoch_it_goes_on_and_says_so(stripes: str, epoch: int) -> None:
    settings, file = quick(stripes, ema=0.9, teacher=model_in("teacher.safetensors")), PLAIN
    file = PolicyFile(policy=Policy(num_ops=1, mixing=Mixing(kind="mixup")), training=TAUGHT)
    whole, said = run(settings, file)
    assert "taken up" not in said
    expected = Path("out/model.safetensors").read_bytes()
    Path("out/model.safetensors").unlink()
    tracker = Interrupting(epoch)
    with pytest.raises(KeyboardInterrupt):
        run(settings, file, tracker)
    assert 0 <= tracker.metrics["final_held_out_accuracy"] <= 1
    assert tracker.metrics["final_images_per_second"] > 0
    result, said = run(settings, file)
    assert (f"taken up after epoch {epoch}" in said) == (epoch < 4)
    assert Path("out/model.safetensors").read_bytes() == expected
    times = {"final_seconds": None}
    assert result["figures"] | times == whole["figures"] | times


def test_a_training_that_gets_no_better_says_when_it_stopped(stripes: str) -> None:
    # Where labels mean nothing, nobody gets better for long.
    with np.load(stripes) as archive:
        np.savez("dice.npz", images=archive["images"], labels=np.random.default_rng(0).integers(3, size=120))
    result, said = run(quick("dice.npz", final_epochs=60, patience=2))
    trained = result["figures"]["final_epochs"]
    # Counted from the highest epoch; the one that is kept may be a later one that is hardly lower.
    assert trained - 2 <= result["figures"]["final_best_epoch"] <= trained < 60
    assert f"stopped early, after {trained} epochs: no better one for 2" in said


def test_slurms_nodes_train_no_final_model_which_is_said(stripes: str) -> None:
    result, said = run(quick(stripes, engine="slurm", final_epochs=1))
    assert "--engine slurm: the final model is trained here, and not as a job; --no-final leaves" in said
    assert Path(result["model"]).exists()
    _, said = run(quick(stripes, engine="ray", final_epochs=1))  # Ray on this machine alone
    assert "--engine" not in said


def test_what_learns_from_images_without_labels_is_trained_here(
    photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for number in range(6):
        Path("more").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(f"more/{number}.png")
    settings = quick(photos, engine="ray", final_epochs=1, unlabeled="more", skip_bad_images=True)
    _, said = run(settings, PolicyFile(policy=NOTHING, training=Training(semi=FixMatch())))
    assert "--engine ray: what learns from images without labels is trained here" in said


def test_what_was_loaded_of_the_weights_is_said(stripes: str) -> None:
    start = model_in("start.safetensors")
    _, said = run(quick(stripes, final_model=start, final_epochs=1))
    assert "full transfer" in said
    assert "tensors loaded" in said
    assert "tensors loaded" not in run(quick(stripes, final_epochs=1))[1]


@pytest.mark.parametrize(("rate", "kept"), [(1e30, False), (1500.0, True)])
def test_a_training_that_diverges_ends_in_one_line_of_advice(stripes: str, rate: float, kept: bool) -> None:
    Path("out").mkdir()
    (Path("out") / "model.safetensors").write_bytes(b"of another training")
    with pytest.raises(UserError) as caught:
        run(quick(stripes, final_epochs=20, learning_rate=rate, precision="float32"))
    message = str(caught.value)
    assert message.startswith("the final training stopped: the loss became ")
    assert f"(--learning-rate is {rate:g}; try {rate / 4:g})" in message
    assert "\n" not in message
    assert ("the best model until then is kept as out/model.safetensors" in message) == kept
    if kept:
        load_model(Path("out/model.safetensors"))
    assert not Path("mlruns/test-reads").exists()


def test_the_best_epoch_is_what_is_tested(stripes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from augsearch.trainers.tasks import final as module

    found: list[FinalModel] = []
    test_final = module.test_final

    def watched(workspace: Any, splits: Any, final: FinalModel, pixels: Any) -> Any:
        found.append(final)
        return test_final(workspace, splits, final, pixels)

    monkeypatch.setattr(module, "test_final", watched)
    result, _ = run(quick(stripes))
    (final,) = found
    assert result["figures"]["final_best_epoch"] == final.best_epoch
    assert result["model"] == str(final.path)
    assert result["figures"]["final_trained_on"] == final.trained_on == 78
