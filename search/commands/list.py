"""``augsearch list``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.json_output import json_option
from augsearch.search.options.storage import storage_option

PLACE = 36
"""Where the command stands in the list of all."""


@click.command("list", cls=Command)
@json_option
@storage_option
def command(as_json: bool, storage: str | None) -> None:
    """List the studies: how far each is, what its verdict is, and when it was last at work.

    \b
    Example:
      augsearch list
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.studies import list_studies, studies_as_plain

    if as_json:
        print_json(studies_as_plain(storage))
    else:
        list_studies(storage, display())
