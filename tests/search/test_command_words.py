"""What commands say beside their results: of options that change nothing, and when they are stopped."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from augsearch.search.cli import main
from augsearch.search.command_lines import without_effect
from augsearch.search.options.command import friendly
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"threshold": 0.9, "rounds": 2},
            "--threshold, --rounds: without effect, as no images without labels",
        ),
        ({"layer_decay": 0.7}, "--layer-decay: without effect, as no network starts from weights"),
        (
            {"teacher": "none", "teacher_view": "clean"},
            "--teacher-view: without effect, as there is no teacher",
        ),
        (
            {"teacher_weights": "none"},
            "--teacher-weights: without effect, as this teacher learns from scratch",
        ),
        ({"input_size": 64}, "--input-size: without effect, as networks that are built in"),
        ({"final": False, "patience": 3}, "--patience: without effect, as no final model is trained"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_option_without_effect_is_said(given: dict[str, Any], said: str) -> None:
    (line,) = without_effect(Settings.of(**given))
    assert line.startswith(said)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"threshold": 0.9, "semi": "fixmatch"},
        {"layer_decay": 0.7, "final_model": "lite0"},
        {"teacher_view": "clean"},
        {"patience": 3},
    ],
    ids=str,
)
def test_an_option_with_effect_is_not(given: dict[str, Any]) -> None:
    assert without_effect(Settings.of(**given)) == []


def test_a_file_of_settings_may_begin_with_a_mark_of_its_encoding(tmp_path: Any) -> None:
    config = tmp_path / "a.toml"
    config.write_text("seed = 3\n", encoding="utf-8-sig")
    assert load_settings(config, {}).seed == 3


@pytest.mark.parametrize("resumes", [True, False])
def test_only_a_command_that_goes_on_says_so(resumes: bool) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(click.Command("x", callback=friendly(stopped, resumes=resumes)))
    assert result.exit_code == 130
    assert ("The same command goes on" in result.output) == resumes


def test_the_commands_that_go_on_are_these() -> None:
    context = click.Context(main)
    texts = {name: main.get_command(context, name) for name in main.list_commands(context)}
    resumable = {
        name
        for name, command in texts.items()
        if command and "The same command" in _said_when_stopped(command)
    }
    assert resumable == {"run", "train", "compare", "check-proxy", "ablate", "sync"}


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> str:
        place = str(len(words.split()) - 1)
        asked = {"_AUGSEARCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
        return CliRunner().invoke(main, [], env=asked, prog_name="augsearch").output

    assert completed("augsearch ex").split() == ["plain,export", "plain,export-model"]
    assert "plain,--budget" in completed("augsearch run --bu")


def _said_when_stopped(command: click.Command) -> str:
    cells = getattr(command.callback, "__closure__", None) or ()
    return " ".join(cell.cell_contents for cell in cells if isinstance(cell.cell_contents, str))
