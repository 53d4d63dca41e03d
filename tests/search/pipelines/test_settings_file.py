"""``augsearch init``: a file of all settings that reads back to the defaults, line by line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
from click.testing import CliRunner

from augsearch.search.cli import main
from augsearch.search.pipelines.settings_file import settings_file
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import DEFAULTS, FLAT, Settings

PLACEHOLDER = re.compile(r'= (INTEGER|FLOAT|true|\[?"[A-Z][A-Z_]+"\]?|".*\|.*"|"photos/")$')
"""Ends a line that says what kind of value there may be, as there is none by default."""
_SETTING = re.compile(r"# \w+ = ")


def test_the_file_as_it_is_gives_nothing_and_so_every_default() -> None:
    done = CliRunner().invoke(main, ["init"])
    assert done.exit_code == 0, done.output
    assert "augsearch run --config settings.toml" in done.output
    settings = load_settings(Path("settings.toml"), {})
    assert settings == Settings()
    assert settings.given == frozenset()


def test_each_line_without_its_mark_is_the_default() -> None:
    lines = settings_file().splitlines()
    shown = [line[2:] if _SETTING.match(line) and not PLACEHOLDER.search(line) else line for line in lines]
    assert sum(line != was for line, was in zip(shown, lines, strict=True)) > 20
    Path("all.toml").write_text("\n".join(shown), encoding="utf-8")
    settings = load_settings(Path("all.toml"), {})
    assert {flat: settings.value(flat) for flat in FLAT} == DEFAULTS


def test_every_option_of_a_run_that_is_a_setting_has_a_line() -> None:
    command = main.get_command(click.Context(main), "run")
    assert command is not None
    wanted = {FLAT[one.name] for one in command.params if one.name in FLAT}
    uncommented = "\n".join(
        f'{line[2:].split(" = ")[0]} = ""' if _SETTING.match(line) else line
        for line in settings_file().splitlines()
    )
    tables = tomllib.loads(uncommented)
    found = {
        (section, field) if isinstance(fields, dict) else ("", section)
        for section, fields in tables.items()
        for field in (fields if isinstance(fields, dict) else [""])
    }
    assert found == wanted
    assert len(found) > 50


def test_a_file_that_is_there_is_kept() -> None:
    Path("mine.toml").write_text("seed = 3\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["init", "mine.toml"])
    assert (done.exit_code, "give another name" in done.output) == (2, True)
    assert Path("mine.toml").read_text(encoding="utf-8") == "seed = 3\n"
    assert CliRunner().invoke(main, ["init", "other.toml"]).exit_code == 0
