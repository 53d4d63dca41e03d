"""``augsearch import``."""  # noqa: N999

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.completion import files
from augsearch.search.options.groups import EXISTING

PLACE = 35
"""Where the command stands in the list of all."""


@click.command("import", cls=Command)
@click.argument("source", metavar="FILE", shell_complete=files)
@click.option(
    "-o", "--output", type=EXISTING, default=Path("imported.json"), show_default=True, help="File to write."
)
@click.option("--approximate", is_flag=True, help="Take what comes near where a policy can't say the same.")
def command(source: str, output: Path, approximate: bool) -> None:
    """Write a policy file from what another library reads: to preview, to train with, to measure against.

    FILE is a module for torchvision, kornia or Keras that augsearch export wrote (it is read, never run), or
    JSON for Albumentations with the same basic transforms and choices of operations, or flags of timm's
    train.py, which may also stand here themselves, in quotes.

    \b
    Example:
      augsearch import augment.py -o mine.json
      augsearch import rand-m9-p1-mstd0-inc1 --approximate
    """
    from augsearch.search.pipelines.exchange import import_policy

    click.echo(import_policy(source, output, approximate=approximate))
