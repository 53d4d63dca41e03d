"""``augsearch show``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command
from augsearch.search.options.storage import storage_option

PLACE = 38
"""Where the command stands in the list of all."""


@click.command("show", cls=Command)
@click.argument("study")
@click.option("--json", "as_json", is_flag=True, help="As JSON: verdict, final figures, settings, cost.")
@storage_option
def command(study: str, as_json: bool, storage: str | None) -> None:
    """Say of STUDY what its report says first: the verdict, how much, how sure, and what to type next.

    \b
    Example:
      augsearch show photos-1a2b3c
    """
    from augsearch.search.pipelines.studies import show_study, study_in_json

    if as_json:
        click.echo(study_in_json(study, storage))
    else:
        show_study(study, storage)
