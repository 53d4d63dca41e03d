"""``augsearch operations``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.groups import EXISTING
from augsearch.search.options.json_output import json_option

PLACE = 90
"""Where the command stands in the list of all."""


@click.command("operations", cls=Command)
@json_option
@click.option("--sheet", type=EXISTING, help="Draw every operation at five magnitudes: picture to write.")
@click.option("--image", type=EXISTING, help="Image to draw the sheet on. [a sample photo]")
def command(as_json: bool, sheet: Path | None, image: Path | None) -> None:
    """List all operations: their kind, what their magnitudes mean, and the sets they belong to.

    \b
    Example:
      augsearch operations --sheet operations.png --image cat.jpg
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.operations import draw_operations, operations_as_plain, print_operations

    if sheet or image:
        click.echo(draw_operations(sheet, image), err=as_json)
    if as_json:
        print_json(operations_as_plain())
    elif not sheet:
        print_operations(display())
