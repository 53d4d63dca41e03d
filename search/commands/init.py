"""``augsearch init``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.groups import EXISTING

PLACE = 7
"""Where the command stands in the list of all."""


@click.command("init", cls=Command)
@click.argument("file", type=EXISTING, default=Path("settings.toml"))
def command(file: Path) -> None:
    """Write a TOML FILE with every setting of run: what it does, and what it is by default.

    FILE is settings.toml if none is named; one that is there is kept.

    \b
    Example:
      augsearch init
      augsearch run photos/ --config settings.toml
    """
    from augsearch.search.pipelines.settings_file import write_settings_file

    click.echo(write_settings_file(file))
