"""``augsearch list``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command
from augsearch.search.options.storage import storage_option

PLACE = 36
"""Where the command stands in the list of all."""


@click.command("list", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As JSON, a list of studies.")
@storage_option
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
