"""``augsearch clean``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command, confirmed, display
from augsearch.search.options.json_output import json_option
from augsearch.search.options.storage import storage_option

PLACE = 95
"""Where the command stands in the list of all."""


@click.command("clean", cls=Command)
@click.option("--all", "everything", is_flag=True, help="Also what unfinished studies would make anew.")
@click.option("--dry-run", is_flag=True, help="Say what can go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@storage_option
def command(everything: bool, dry_run: bool, yes: bool, as_json: bool, storage: str | None) -> None:
    """Remove from mlruns/ what can be made again or belongs to nobody, after asking.

    Decoded images, what workers read and teachers of finished studies; files that a kill left half made;
    artifacts of runs that MLflow doesn't know. Never a study, a model, a policy, a report or a record of what
    was read, and nothing while a run is at work there. --verbose names every one.

    \b
    Example:
      augsearch clean --dry-run
    """
    from rich.filesize import decimal

    from augsearch.search.console import print_json
    from augsearch.search.pipelines import clean

    found, freed = clean.removable(storage, everything=everything), None
    shown = display(as_json=as_json)
    clean.show(found, shown)
    if found.items and not dry_run and (yes or confirmed("Remove all of this?")):
        freed = clean.remove(found, storage, everything=everything)
        shown.result(f"freed {decimal(freed)}")
    if as_json:
        print_json(clean.to_json(found, freed))
