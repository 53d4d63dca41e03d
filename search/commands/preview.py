"""``augsearch preview``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import FIRST, Command
from augsearch.search.options.completion import files, policies
from augsearch.search.options.groups import EXISTING, form_options, option
from augsearch.search.options.lists import with_options

PLACE = 80
"""Where the command stands in the list of all."""


@click.command("preview", cls=Command)
@click.argument("policy_file", type=EXISTING, shell_complete=policies)
@click.argument("data", required=False, shell_complete=files)
@option(
    FIRST,
    "-o",
    "--output",
    type=EXISTING,
    default=Path("sheet.png"),
    show_default=True,
    help="Picture to write.",
)
@option(FIRST, "--image-size", type=click.INT, help="Side in pixels. [the images', at most 64]")
@option(FIRST, "--seed", type=click.INT, default=0, show_default=True, help="Of the augmentations shown.")
@partial(with_options, form_options())
def command(policy_file: Path, output: Path, seed: int, **flags: Any) -> None:
    """Draw what a policy does to images of DATA: originals, augmentations, the operations under each.

    \b
    Example:
      augsearch preview policy.json photos/ -o sheet.png
    """
    from augsearch.search.pipelines.preview import draw_preview
    from augsearch.search.settings.files import load_settings

    click.echo(draw_preview(policy_file, load_settings(None, flags).data, output, seed))
