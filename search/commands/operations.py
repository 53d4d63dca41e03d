"""``augsearch operations``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.groups import EXISTING

PLACE = 90
"""Where the command stands in the list of all."""


@click.command("operations", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--sheet", type=EXISTING, help="Draw every operation at five magnitudes: picture to write.")
@click.option("--image", type=EXISTING, help="Image to draw the sheet on. [a sample photo]")
def command(as_json: bool, sheet: Path | None, image: Path | None) -> None:
    """List all operations: their kind, what their magnitudes mean, and the sets they belong to.

    \b
    Example:
      augsearch operations --sheet operations.png --image cat.jpg
    """
    from augsearch.search.pipelines.operations import draw_operations, operations_json, print_operations

    if sheet or image:
        click.echo(draw_operations(sheet, image), err=as_json)
    if as_json:
        click.echo(operations_json())
    elif not sheet:
        print_operations()
