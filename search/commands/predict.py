"""``augsearch predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import files
from augsearch.search.options.groups import EXISTING
from augsearch.search.settings.addresses import TRACKING_VARIABLE

PLACE = 60
"""Where the command stands in the list of all."""


@click.command("predict", cls=Command)
@click.argument("model", shell_complete=files)
@click.argument("images", type=EXISTING, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image.")
@click.option("--top", type=click.IntRange(min=1), help="Labels an image. [1, in JSON all]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:NUMBER or mps. [auto]")
@click.option(
    "--average-flips",
    is_flag=True,
    help="The mean of image and mirror image. [as the model was tested]",
)
@click.option(
    "--tracking-uri",
    envvar=TRACKING_VARIABLE,
    help="Where MLflow keeps MODEL. [$MLFLOW_TRACKING_URI, or mlruns/mlflow.db]",
)
def command(model: str, images: tuple[Path, ...], **options: Any) -> None:
    """Say what MODEL sees in IMAGES: files, and folders with images anywhere below.

    MODEL is a .safetensors file that augsearch trained, a folder with model.safetensors, or one in MLflow:
    runs:/RUN_ID/model or models:/NAME/VERSION. An image that can't be read is named, and the others go on.

    \b
    Example:
      augsearch predict mlruns/STUDY/model.safetensors holiday/ --json | jq -r .label
    """
    from augsearch.search.pipelines.predict import print_predictions

    print_predictions(model, images, display(), **options)
