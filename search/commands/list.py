"""``augsearch list``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command
from augsearch.search.settings.addresses import STORAGE_VARIABLE

PLACE = 36
"""Where the command stands in the list of all."""


@click.command("list", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As JSON, a list of studies.")
@click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    help="Database of the studies. [$AUGSEARCH_STORAGE, or mlruns/studies.db]",
)
def command(as_json: bool, storage: str | None) -> None:
    """List the studies: how far each is, what its verdict is, and when it was last at work.

    \b
    Example:
      augsearch list
    """
    from augsearch.search.pipelines.studies import list_studies, studies_in_json

    if as_json:
        click.echo(studies_in_json(storage))
    else:
        list_studies(storage)
