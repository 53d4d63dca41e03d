"""``augsearch export-model``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.completion import files
from augsearch.search.options.groups import EXISTING
from augsearch.search.options.registered import model_format_option
from augsearch.search.settings.addresses import TRACKING_VARIABLE

PLACE = 70
"""Where the command stands in the list of all."""


@click.command("export-model", cls=Command)
@click.argument("model", shell_complete=files)
@click.option("-o", "--output", type=EXISTING, required=True, help="File to write.")
@model_format_option()
@click.option(
    "--tracking-uri",
    envvar=TRACKING_VARIABLE,
    help="Where MLflow keeps MODEL. [$MLFLOW_TRACKING_URI, or mlruns/mlflow.db]",
)
def command(model: str, output: Path, kind: str | None, tracking_uri: str | None) -> None:
    """Write MODEL as a file that works without augsearch, checked against MODEL before it is there.

    Images are uint8 (batch, channels, height, width). Classes, mean and deviation are in the metadata. MODEL
    is as for predict.

    \b
    Example:
      augsearch export-model mlruns/STUDY -o model.onnx
    """
    from augsearch.search.pipelines.export_model import write_model

    click.echo(write_model(model, output, kind, tracking_uri))
