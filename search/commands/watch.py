"""``augsearch watch``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command
from augsearch.search.options.completion import studies
from augsearch.search.options.storage import storage_option

PLACE = 39
"""Where the command stands in the list of all."""


@click.command("watch", cls=Command)
@click.argument("study", shell_complete=studies)
@storage_option
@click.option("--port", type=click.IntRange(1, 65535), help="Port. [5200, or the next that is free]")
@click.option(
    "--open/--no-open", "opens", default=None, help="Open a browser there. [where a terminal has a screen]"
)
def command(study: str, storage: str | None, port: int | None, opens: bool | None) -> None:
    """Show the report of STUDY in a browser while the search runs: it follows the study by itself.

    Start it in another terminal, in the same folder, before the search, while it runs or after it. It is for
    this machine alone, and reads nothing but the study.

    \b
    Example:
      augsearch watch photos-1a2b3c
    """
    from augsearch.search.pipelines.watch import watch

    watch(study, storage, port, click.echo, opens)
