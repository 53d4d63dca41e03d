"""Settings: defaults, then the file, then flags; every error names field, rule and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import OPERATION_SETS, RANDAUGMENT, UserError
from augsearch.search.settings import Settings, load_settings, show_settings


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text('trials = 30\nfolds = 3\noperations = ["rotate", "equalize"]\n')
    settings = load_settings(config, {"folds": 5, "seed": None})
    assert (settings.trials, settings.folds, settings.seed) == (30, 5, 0)
    assert settings.operations == ("rotate", "equalize")


def test_shown_settings_are_a_config_file_that_gives_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        None, {"trials": 40, "data": 'a "quoted" folder', "operations": "rotate,cutout", "timeout": 9.5}
    )
    config = tmp_path / "shown.toml"
    config.write_text(show_settings(settings))
    assert load_settings(config, {}) == settings
    assert load_settings(None, {"operations": "randaugment"}).operations == RANDAUGMENT
    assert Settings() == load_settings(None, {})


def test_sets_and_names_of_operations_mix_and_collapse() -> None:
    def chosen(text: str) -> tuple[str, ...]:
        return load_settings(None, {"operations": text}).operations

    assert chosen("geometry") == OPERATION_SETS["geometry"]
    assert chosen("rotate, rotate") == ("rotate",)
    assert chosen("rotate, ") == ("rotate",)
    assert chosen("cutout,randaugment") == (*RANDAUGMENT, "cutout")
    assert chosen("colour,geometry,cutout") == OPERATION_SETS["wide"]
    assert chosen("equalize,rotate") == chosen("rotate,equalize"), "the same search, so the same study"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"trials": 3}, "trials must be ≥ 4, got 3"),
        ({"folds": 0}, "folds must be ≥ 1, got 0"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"device": "tpu"}, "device: must be auto, cpu, cuda or cuda:NUMBER, got 'tpu'"),
        ({"image_size": 4}, "image-size must be ≥ 8, got 4"),
        (
            {"operations": "rotate,spin"},
            "operations: unknown operation 'spin'; known are the sets randaugment, colour, geometry, wide "
            "and the operations identity, shear_x",
        ),
        ({"operations": "rotate,rotatte"}, "operations: unknown operation 'rotatte'; did you mean 'rotate'?"),
        ({"operations": "geometri"}, "operations: unknown operation 'geometri'; did you mean 'geometry'?"),
        ({"operations": " , "}, "operations: must name at least one operation or set of operations"),
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
