"""Writes ``docs/cli.md`` from the commands themselves, as ``--help`` shows them: groups, order and words.

python docs/make_cli.py            write the page
python docs/make_cli.py --check    fail if the page is not what it would write
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from augsearch.search.cli import main

PAGE = Path(__file__).with_name("cli.md")
AGAIN = "python docs/make_cli.py"

HEAD = f"""\
# Commands

<!-- Made by `{AGAIN}`; a test fails when a command says something else. -->

What `augsearch COMMAND --help` shows. Brackets at the end of a line hold the default. Every option of `run`
can stand in a TOML file instead: `augsearch init` writes one with all of them, `augsearch run --show-config`
one with those of a run; then `augsearch run --config settings.toml`.

Exit status: 0 where all went well; 2 where a person can mend what is wrong, which one line says; 130 when it
was stopped by Ctrl-C or SIGTERM; 1 where the machine failed.

Every command that prints a table prints JSON with `--json`: stdout then has that alone, and stderr what is
said beside it. `--quiet` shows results alone, `--verbose` every step, and where an error came from. In a
terminal there is a live bar, in a pipe or a log there are plain lines; `NO_COLOR` is heeded.

Completion of commands, options and what they take (studies, ready policies, operations, networks, files) in
bash: `eval "$(_AUGSEARCH_COMPLETE=bash_source augsearch)"`; in zsh it is `zsh_source`, in fish
`fish_source`.
"""


class MarkdownFormatter(click.HelpFormatter):
    """Takes what a command says of itself and writes Markdown, whatever sections the command has."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The usage line, as code."""
        self.write(f"```\n{prog} {args}\n```\n")

    def write_text(self, text: str) -> None:
        """Paragraphs; those after a ``\\b`` keep their lines, so they are code."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            lines = paragraph.strip("\n").splitlines()
            if lines[0].strip() == "\b":
                heading, *code = lines[1:]
                self.write("\n{}\n\n```sh\n{}\n```\n".format(heading, textwrap.dedent("\n".join(code))))
            else:
                self.write(f"\n{_escaped(' '.join(line.strip() for line in lines))}\n")

    def write_paragraph(self) -> None:
        """Nothing: what is written here stands apart by itself."""

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """A group of options, or the list of commands."""
        self.write(f"\n### {name}\n")
        yield

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """A table of names and what they do."""
        self.write("\n| | |\n|---|---|\n")
        for name, words in rows:
            self.write(f"| `{_escaped(name)}` | {_escaped(' '.join(words.split()))} |\n")


def _escaped(text: str) -> str:
    """``text`` with what would end a cell of a table, or begin a tag, taken literally."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def page() -> str:
    """The whole page."""
    group = click.Context(main, info_name="augsearch", **main.context_settings)
    commands = {name: main.get_command(group, name) for name in main.list_commands(group)}
    known = {name: command for name, command in commands.items() if command is not None}
    contents = [f"- [`augsearch {name}`](#augsearch-{name}): {_summary(one)}" for name, one in known.items()]
    sections = [_described(command, name, group) for name, command in known.items()]
    return "\n".join([HEAD, *contents, "", *sections])


def _summary(command: click.Command) -> str:
    """The first sentences of a command's help, up to the blank line."""
    return _escaped(" ".join((command.help or "").strip().split("\n\n")[0].split()))


def _described(command: click.Command, name: str, group: click.Context) -> str:
    """The section about one command."""
    formatter = MarkdownFormatter()
    command.format_help(click.Context(command, info_name=name, parent=group), formatter)
    return f"## augsearch {name}\n\n{formatter.getvalue()}"


if __name__ == "__main__":
    made = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
            sys.exit(f"{PAGE.name} does not say what the commands say; make it again with: {AGAIN}")
    else:
        PAGE.write_text(made, encoding="utf-8")
