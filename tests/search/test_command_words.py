"""What commands say beside their results: of options that change nothing, and when they are stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from augsearch.search.cli import main
from augsearch.search.command_lines import without_effect
from augsearch.search.options.command import FIRST, friendly
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
        (
            {"final": False, "refine": True, "final_seeds": 2, "patience": 3},
            "--final-seeds: without effect, as no final model is trained",
        ),
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


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_what_most_people_need_comes_first_and_is_ten_options_at_most(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    first = [one for one in command.params if getattr(one, "group", "") == FIRST]
    assert len(first) <= 10
    assert first or len(command.params) <= 12


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


BASH = """
eval "$(_AUGSEARCH_COMPLETE=bash_source augsearch)"
while read -ra COMP_WORDS; do
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  _augsearch_completion augsearch 2>> errors
  echo "${COMPREPLY[@]}"
done
"""
"""Completes the last word of each line that it reads."""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_what_they_take(make_study: Callable[..., object]) -> None:
    make_study("searching", name="photos-1a2b3c", trials=6)
    wanted = {
        "augsearch ex": "export export-model",
        "augsearch run --bud": "--budget",
        "augsearch show ph": "photos-1a2b3c",
        "augsearch run x --operations rotate,sh": "rotate,shear_x rotate,shear_y rotate,sharpness",
        "augsearch train --policy autoaugment-s": "autoaugment-svhn",
        "augsearch run --metric log": "log-loss",
        "augsearch run --final-model ti": "tiny timm:",
        "augsearch run nothing-li": "",
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH],
        input="\n".join(wanted) + "\n",
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(wanted, done.stdout.split("\n")[: len(wanted)], strict=True)) == wanted
    assert "compopt" in Path("errors").read_text(encoding="utf-8")  # it asks for files, outside of a line
    assert "Traceback" not in Path("errors").read_text(encoding="utf-8")


def test_every_value_that_has_names_is_completed_and_never_fails_where_nothing_is() -> None:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context)
        for parameter in command.params:
            found = parameter.shell_complete(inner, "")
            if parameter.name in ("study", "source", "a", "b", "data", "policy_file", "model", "operations"):
                assert found or parameter.name == "study", f"{name} {parameter.name}"


def _said_when_stopped(command: click.Command) -> str:
    cells = getattr(command.callback, "__closure__", None) or ()
    return " ".join(cell.cell_contents for cell in cells if isinstance(cell.cell_contents, str))


def test_the_list_of_commands_says_of_each_a_whole_thing() -> None:
    printed = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    listed = printed[printed.index("Commands:") :]
    assert "..." not in listed
    assert "show          Say of STUDY what its report says first\n" in listed


def test_a_command_that_a_program_calls_leaves_its_signals_as_they_were() -> None:
    # A forked child of the program that kept the handler may swallow what is to end it.
    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(main, ["operations"]).exit_code == 0
    assert CliRunner().invoke(main, ["show", "nowhere"]).exit_code == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_while_a_command_is_still_loading_is_told_as_at_work() -> None:
    script = """
import sys
from augsearch.search.cli import main

class Pressed:
    def find_spec(self, name, *_):
        if name == "augsearch.policies":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Pressed())
main(["export", "demo"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "\nStopped.\n")
