"""``augsearch report``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.completion import studies
from augsearch.search.options.groups import EXISTING
from augsearch.search.options.storage import storage_option

PLACE = 40
"""Where the command stands in the list of all."""


@click.command("report", cls=Command)
@click.argument("study", shell_complete=studies)
@click.option(
    "-o", "--output", type=EXISTING, default=Path("report.html"), show_default=True, help="Page to write."
)
@storage_option
def command(study: str, output: Path, storage: str | None) -> None:
    """Write a page about STUDY: verdict, figures, the race, the data, what it cost, how to make it again.

    It is one file without scripts that needs no network. STUDY may be unfinished: the page says what is
    missing.

    \b
    Example:
      augsearch report photos-1a2b3c -o report.html
    """
    from augsearch.search.report.page import report_study

    click.echo(report_study(study, output, storage))
