"""``augsearch preview``."""

from __future__ import annotations

from pathlib import Path

import click

from augsearch.search.options.command import Command
from augsearch.search.options.groups import EXISTING

PLACE = 80
"""Where the command stands in the list of all."""


@click.command("preview", cls=Command)
@click.argument("policy_file", type=EXISTING)
@click.argument("data", required=False)
@click.option(
    "-o", "--output", type=EXISTING, default=Path("sheet.png"), show_default=True, help="Picture to write."
)
@click.option("--image-size", type=click.INT, help="Side in pixels. [the images', at most 64]")
@click.option("--seed", type=click.INT, default=0, show_default=True, help="Of the augmentations shown.")
def command(policy_file: Path, data: str | None, output: Path, image_size: int | None, seed: int) -> None:
    """Draw what a policy does to images of DATA: originals, augmentations, the operations under each.

    \b
    Example:
      augsearch preview policy.json photos/ -o sheet.png
    """
    from augsearch.search.pipelines.preview import draw_preview

    click.echo(draw_preview(policy_file, data, output, image_size, seed))
