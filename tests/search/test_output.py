"""What commands print, and for whom: JSON alone for programs, results alone, every step, no colours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from augsearch.policies import UserError
from augsearch.search.cli import main
from augsearch.search.options.command import Command
from augsearch.search.options.command import display as display_of
from tests.test_architecture import GRAPH, NAMES

COMMANDS = main.list_commands(click.Context(main))
DRAWING = {
    name for name, path in NAMES.items() if "from rich.table import" in path.read_text(encoding="utf-8")
}
"""The modules that make tables."""


def options_of(name: str) -> set[str]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return {option for parameter in command.params for option in parameter.opts}


def draws_tables(name: str) -> bool:
    """Whether what a command calls, at any distance, makes tables for a terminal."""
    found: set[str] = set()
    waiting = [f"augsearch.search.commands.{name.replace('-', '_')}"]
    while waiting:
        module = waiting.pop()
        if module not in found and module != "augsearch.search.console":
            found.add(module)
            waiting += GRAPH[module]
    return bool(found & DRAWING)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_prints_a_table_prints_json_too(name: str) -> None:
    assert "--json" in options_of(name) or not draws_tables(name)


def test_some_commands_print_tables_and_some_do_not() -> None:
    drawing = {name for name in COMMANDS if draws_tables(name)}
    assert {"run", "list", "compare", "inspect"} <= drawing
    assert "export" not in drawing


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_told_to_say_less_or_more(name: str) -> None:
    assert {"-q", "--quiet", "-v", "--verbose"} <= options_of(name)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_json_in_any_encoding(encoding: str, workplace: Path) -> None:
    document = "{'α': [float('nan'), 1.5, '日本', (2,)]}"
    program = f"from augsearch.search.console import print_json; print_json({document})"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout.decode(encoding)) == {"α": [None, 1.5, "日本", [2]]}


@click.command("speak", cls=Command)
@click.option("--fail", type=click.Choice(["input", "machine"]))
@click.option("--json", "as_json", is_flag=True)
def speak(fail: str | None, as_json: bool) -> None:
    display = display_of(as_json=as_json)
    display.line("a note")
    display.detail("a step")
    display.result("a result")
    if fail == "input":
        raise UserError("no such place")
    if fail == "machine":
        raise OSError(28, "No space left on device")


def spoken(*arguments: str) -> Result:
    return CliRunner().invoke(speak, arguments)


@pytest.mark.parametrize(
    ("arguments", "stdout", "stderr"),
    [
        ((), "a note\na result\n", ""),
        (("-q",), "a result\n", ""),
        (("--verbose",), "a note\na step\na result\n", ""),
        (("--json",), "", "a note\n"),
        (("--json", "--quiet"), "", ""),
    ],
)
def test_how_much_is_said_is_asked_for(arguments: tuple[str, ...], stdout: str, stderr: str) -> None:
    done = spoken(*arguments)
    assert (done.stdout, done.stderr) == (stdout, stderr)


def test_less_and_more_do_not_go_together() -> None:
    done = spoken("-q", "-v")
    assert (done.exit_code, "leave one out" in done.stderr) == (2, True)


@pytest.mark.parametrize(("fault", "status"), [("input", 2), ("machine", 1)])
def test_a_status_says_whose_fault_it_is_and_verbose_where_it_came_from(fault: str, status: int) -> None:
    usual, verbose = spoken("--fail", fault), spoken("--fail", fault, "-v")
    assert usual.exit_code == verbose.exit_code == status
    assert "Traceback" not in usual.output
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.splitlines()[-1] == usual.stderr.splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
def test_no_color_means_no_colour_in_a_terminal(workplace: Path) -> None:
    import pty

    def shown(**environment: str) -> bytes:
        ours, theirs = pty.openpty()
        program = "from augsearch.search.console import Display; Display().console.print('[red]red')"
        variables = os.environ | {"TERM": "xterm-256color"} | environment
        subprocess.run([sys.executable, "-c", program], env=variables, stdout=theirs, check=True)
        os.close(theirs)
        text = os.read(ours, 1000)
        os.close(ours)
        return text

    assert b"\x1b[31m" in shown()
    assert b"\x1b[" not in shown(NO_COLOR="1")
