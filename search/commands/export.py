"""``augsearch export``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.groups import EXISTING
from augsearch.search.settings.addresses import STORAGE_VARIABLE

PLACE = 30
"""Where the command stands in the list of all."""


@click.command("export", cls=Command)
@click.argument("study")
@click.option(
    "-o", "--output", type=EXISTING, default=Path("policy.json"), show_default=True, help="File to write."
)
@click.option("--trial", type=click.INT, help="A trial's number, instead of what the verdict recommends.")
@click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    help="Database of the studies. [$AUGSEARCH_STORAGE, or mlruns/studies.db]",
)
def command(study: str, output: Path, trial: int | None, storage: str | None) -> None:
    """Write the policy that STUDY recommends as a JSON file.

    \b
    Example:
      augsearch export photos-1a2b3c -o policy.json
    """
    from augsearch.search.pipelines.export import export_policy

    click.echo(export_policy(study, output, trial, storage))
