"""Settings: defaults, then the file, then flags; every error names field, rule and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from augsearch.policies import OPERATION_SETS, RANDAUGMENT, Transfer, UserError
from augsearch.policies.training import ClassBalance
from augsearch.search.options.groups import CLASS_BALANCES
from augsearch.search.settings.files import load_settings, show_settings
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import Space


def test_values_of_bytes_that_are_no_utf_8_are_refused_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "latin.toml"
    for line in (
        b'weights = "aut\xdeo"',
        b'metric = "\xff"',
        b"\xe9 = 1",
        b'study = "caf\xe9"',
        b'operations = ["\xe9"]',
    ):
        config.write_bytes(line)
        with pytest.raises(UserError) as refused:
            load_settings(config, {})
        assert len(str(refused.value).splitlines()) == 1
        assert str(refused.value).startswith(str(config))


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text('trials = 30\nfolds = 3\noperations = ["rotate", "equalize"]\n')
    settings = load_settings(config, {"folds": 5, "seed": None})
    assert (settings.search.trials, settings.search.folds, settings.seed) == (30, 5, 0)
    assert settings.search.operations == ("rotate", "equalize")


def test_shown_settings_are_a_config_file_that_gives_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        None, {"trials": 40, "data": 'a "quoted" folder', "operations": "rotate,cutout", "timeout": 9.5}
    )
    config = tmp_path / "shown.toml"
    config.write_text(show_settings(settings))
    assert load_settings(config, {}) == settings
    assert load_settings(None, {"operations": "randaugment"}).search.operations == RANDAUGMENT
    assert Settings() == load_settings(None, {})


def test_sets_and_names_of_operations_mix_and_collapse() -> None:
    def chosen(text: str) -> tuple[str, ...]:
        return load_settings(None, {"operations": text}).search.operations

    assert chosen("geometry") == OPERATION_SETS["geometry"]
    assert chosen("rotate, rotate") == ("rotate",)
    assert chosen("rotate, ") == ("rotate",)
    assert chosen("cutout,randaugment") == (*RANDAUGMENT, "cutout")
    assert chosen("colour,geometry,cutout") == OPERATION_SETS["wide"]
    assert chosen("equalize,rotate") == chosen("rotate,equalize"), "the same search, so the same study"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"trials": 3}, "trials must be at least 6, the baselines, got 3"),
        (
            {"sampler": "gp"},
            "sampler: gp is no longer there, it saw a part of the space only; use tpe or random",
        ),
        ({"folds": 0}, "folds must be ≥ 1, got 0"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"device": "tpu"}, "device: must be auto, cpu, cuda, cuda:NUMBER or mps, got 'tpu'"),
        ({"study": ".."}, "study: must be a name and no path, got '..'; --output says where results go"),
        ({"study": "../photos"}, "study: must be a name and no path, got '../photos'"),
        ({"study": "a\\b"}, "study: must be a name and no path"),
        ({"study": "Cache"}, "study: must be another name: mlruns/Cache is of all studies"),
        ({"study": "studies.db"}, "study: must be another name: mlruns/studies.db is of all studies"),
        ({"image_size": 4}, "image-size must be ≥ 8, got 4"),
        (
            {"operations": "rotate,spin"},
            "operations: unknown operation 'spin'; known are the sets randaugment, colour, geometry, wide "
            "and the operations identity, shear_x",
        ),
        ({"operations": "rotate,rotatte"}, "operations: unknown operation 'rotatte'; did you mean 'rotate'?"),
        ({"operations": "geometri"}, "operations: unknown operation 'geometri'; did you mean 'geometry'?"),
        ({"operations": " , "}, "operations: must name at least one operation or set of operations"),
        ({"proxy_model": "resnet50"}, "proxy-model: unknown model 'resnet50'; built in are tiny, small, "),
        ({"final_model": "torchvision:"}, "final-model: unknown model 'torchvision:'; built in are tiny, "),
        ({"final_model": "a.safetensors"}, "final-model: model a.safetensors: no such file"),
        ({"teacher": "resnet50"}, "teacher: unknown model 'resnet50'; built in are tiny, small, "),
        ({"teacher": "a.safetensors"}, "teacher: model a.safetensors: no such file"),
        ({"weights": "w.pth"}, "weights: must be auto, none or a file, and there is no file w.pth"),
        ({"teacher_weights": "w"}, "teacher-weights: must be auto, none or a file, and there is no file w"),
        ({"transfer": "all"}, "transfer must be 'none', 'head', 'full' or 'search', got 'all'"),
        ({"backbone_lr_scale": 0.0}, "backbone-lr-scale must be > 0, got 0"),
        ({"layer_decay": 1.5}, "layer-decay must be ≤ 1, got 1.5"),
        ({"learning_rate": float("inf")}, "learning-rate must be a finite number, got inf"),
        ({"ema": 1.0}, "ema must be < 1, got 1"),
        ({"patience": 0}, "patience must be ≥ 1, got 0"),
        ({"precision": "int8"}, "precision must be 'auto', 'float32', 'bfloat16' or 'float16', got 'int8'"),
        ({"crop_scale": 0.0}, "crop-scale must be > 0, got 0"),
        ({"processes": 0}, "processes must be ≥ 1, got 0"),
        ({"batch_size": 1}, "batch-size must be ≥ 2, got 1"),
        ({"final_size": 4}, "final-size must be ≥ 8, got 4"),
        ({"transfer": "head"}, "transfer head needs a network with weights; name one with --final-model or "),
        ({"transfer": "full", "final_model": "wide"}, "transfer full needs a network with weights; name one"),
        (
            {"transfer": "full", "final_model": "torchvision:resnet18", "weights": "none"},
            "transfer full needs a network with weights; name one",
        ),
        (
            {"transfer": "search", "final_model": "torchvision:resnet18"},
            "transfer search needs weights for the search's network; name one with --proxy-model ",
        ),
    ],
)
def test_a_bad_flag_is_named_with_rule_and_value(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(None, flags)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = ", "not valid TOML"),
        pytest.param(
            "trials = " + "[" * 10**5, "not valid TOML (nested too deeply)", id="nested without end"
        ),
        ("trails = 5", "trails is not a known field"),
        ("seed = -1", "seed must be ≥ 0, got -1"),
        ("operations = 5", "operations must be a list, got 5"),
        ("operations = [5]", "operations.0 must be text, got 5"),
        ('operations = [["rotate"]]', "operations.0 must be text, got ['rotate']"),
        ("operations = []", "operations: must name at least one operation or set of operations"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(text)
    with pytest.raises(UserError) as caught:
        load_settings(config, {})
    assert str(caught.value).startswith(f"{config}: ")
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_settings(tmp_path / "none.toml", {})


RESNET, VIT = "torchvision:resnet18", "torchvision:vit_b_16"


@pytest.mark.parametrize(
    ("flags", "weights"),
    [
        ({}, {"tiny": "none", RESNET: "hub", "lite0": "hub"}),
        ({"final_model": RESNET}, {RESNET: "hub"}),
        ({"weights": "none"}, {"tiny": "none", RESNET: "none", "lite0": "none"}),
        ({"final_model": RESNET, "transfer": "head"}, {"tiny": "none", RESNET: "hub"}),
        ({"proxy_model": RESNET, "transfer": "search"}, {RESNET: "hub"}),
        ({"proxy_model": RESNET, "transfer": "none"}, {RESNET: "none"}),
        ({"weights": "hub"}, {"tiny": "none", RESNET: "hub"}),
        (
            {"weights": "mine.pth"},
            {"tiny": "none", RESNET: "mine.pth", "mine.safetensors": "mine.safetensors"},
        ),
    ],
)
def test_networks_of_hubs_start_from_what_they_know_unless_told_otherwise(
    workplace: Path, flags: dict[str, Any], weights: dict[str, str]
) -> None:
    for name in ("mine.pth", "mine.safetensors"):
        (workplace / name).write_bytes(b"")
    settings = load_settings(None, flags)
    assert {name: settings.weights_of(name) for name in weights} == weights


@pytest.mark.parametrize(
    ("flags", "network"),
    [
        ({}, "medium"),
        ({"proxy_model": "wide"}, "medium"),
        ({"proxy_model": RESNET}, RESNET),
        ({"proxy_model": RESNET, "final_model": "tiny"}, "tiny"),
        ({"proxy_model": RESNET, "final_model": VIT}, VIT),
    ],
)
def test_the_final_network_is_the_proxys_unless_that_is_built_in(flags: dict[str, Any], network: str) -> None:
    assert load_settings(None, flags).network == network


HUB = {"proxy_model": RESNET, "weights": "hub", "teacher": "none"}


@pytest.mark.parametrize(
    ("flags", "space"),
    [
        ({}, Space(RANDAUGMENT, "same")),
        ({"teacher_view": "clean"}, Space(RANDAUGMENT, "clean")),
        ({"teacher": "none", "operations": "rotate"}, Space(("rotate",))),
        ({"teacher": "none", "final_model": RESNET, "transfer": "head"}, Space(RANDAUGMENT)),
        (HUB, Space(RANDAUGMENT, transfer=Transfer(mode="full"))),
        (HUB | {"transfer": "none"}, Space(RANDAUGMENT)),
        (HUB | {"transfer": "head"}, Space(RANDAUGMENT, transfer=Transfer(mode="head"))),
        (HUB | {"transfer": "search"}, Space(RANDAUGMENT, transfer="search")),
        (
            HUB | {"backbone_lr_scale": 0.5, "layer_decay": 0.7},
            Space(RANDAUGMENT, transfer=Transfer(mode="full", backbone_lr_scale=0.5, layer_decay=0.7)),
        ),
    ],
)
def test_the_space_is_what_the_flags_leave_open(flags: dict[str, Any], space: Space) -> None:
    assert load_settings(None, flags).space == space


def test_the_options_name_every_balance_of_classes() -> None:
    assert get_args(ClassBalance) == CLASS_BALANCES


@pytest.mark.parametrize(
    ("network", "decay"),
    [
        (RESNET, 1.0),
        ("lite0", 1.0),
        ("timm:resnext50_32x4d", 1.0),
        ("torchvision:convnext_tiny", 0.8),
        (VIT, 0.75),
        ("torchvision:swin_t", 0.75),
        ("timm:deit3_small_patch16_224", 0.75),
    ],
)
def test_each_family_has_its_layer_decay_unless_one_is_given(network: str, decay: float) -> None:
    for flags, wanted in (({}, decay), ({"layer_decay": 0.9}, 0.9), ({"layer_decay": 1.0}, 1.0)):
        transfer = load_settings(None, {"final_model": network, **flags}).transfer_of(network)
        assert transfer is not None
        assert transfer.layer_decay == wanted


def test_a_model_file_has_the_layer_decay_of_the_network_in_it(workplace: Path) -> None:
    card = {"name": VIT, "channels": 3, "image_size": 224, "classes": ["a"], "mean": [9.0], "std": [9.0]}
    Path("vit.json").write_text(json.dumps({"model": card}))
    for name in ("vit.safetensors", "bare.safetensors"):
        Path(name).write_bytes(b"")
    for name, decay in (("vit.safetensors", 0.75), ("bare.safetensors", 1.0)):
        transfer = load_settings(None, {"final_model": name}).transfer_of(name)
        assert transfer is not None
        assert transfer.layer_decay == decay
