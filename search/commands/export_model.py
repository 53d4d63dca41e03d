"""``augsearch export-model``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.lists import EXISTING

PLACE = 70
"""Of the command in the list of all."""


@click.command("export-model", cls=Command)
@click.argument("model")
@click.option("-o", "--output", type=EXISTING, required=True, help="File to write.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "torchscript", "safetensors"]),
    help="Of the file. [by its suffix: .onnx, .pt, .torchscript or .safetensors]",
)
@click.option("--tracking-uri", help="Where MLflow keeps MODEL. [mlruns/mlflow.db]")
def command(model: str, output: Path, kind: str | None, tracking_uri: str | None) -> None:
    """Write MODEL as a file that works without augsearch, checked against MODEL before it is there.

    ONNX and TorchScript take uint8 images (batch, channels, height, width) and normalise them themselves;
    safetensors is the weights alone. Classes, mean and deviation are in each file's metadata. MODEL is as for
    predict.

    \b
    Example:
      augsearch export-model mlruns/STUDY -o model.onnx
    """
    from augsearch.search.pipelines.export_model import write_model

    click.echo(write_model(model, output, kind, tracking_uri))
