"""``augsearch ui``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command
from augsearch.search.options.completion import studies
from augsearch.search.settings.addresses import TRACKING_VARIABLE

PLACE = 100
"""Where the command stands in the list of all."""


@click.command("ui", cls=Command)
@click.argument("study", required=False, shell_complete=studies)
@click.option(
    "--tracking-uri",
    envvar=TRACKING_VARIABLE,
    help="Where MLflow logged to. [$MLFLOW_TRACKING_URI, or mlruns/mlflow.db]",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port. [5000, or the next that is free]")
@click.option(
    "--open/--no-open", "opens", default=None, help="Open a browser there. [where a terminal has a screen]"
)
def command(study: str | None, tracking_uri: str | None, port: int | None, opens: bool | None) -> None:
    """Open the MLflow UI on STUDY, or on the last one: its run, and its trials, best first.

    \b
    Example:
      augsearch ui photos-1a2b3c --port 8080
    """
    from augsearch.search.pipelines.ui import serve

    click.echo("Starting the MLflow UI …", err=True)
    serve(tracking_uri, port, click.echo, study, opens)
