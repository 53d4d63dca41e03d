"""``augsearch inspect``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import FIRST, Command, display
from augsearch.search.options.completion import files
from augsearch.search.options.groups import EXISTING, form_options, option
from augsearch.search.options.json_output import json_option
from augsearch.search.options.lists import with_options

PLACE = 5
"""Where the command stands in the list of all."""


@click.command("inspect", cls=Command)
@click.argument("data", required=False, shell_complete=files)
@option(FIRST, "-o", "--output", type=EXISTING, help="Page to write too: inspect.html, say.")
@json_option
@partial(with_options, form_options())
def command(output: Path | None, as_json: bool, **flags: Any) -> None:
    """Say what is in DATA before anything is trained on it, and how to run on it.

    Classes and counts, sizes and channels, broken files, copies and near-duplicates, images whose labels
    contradict each other, groups that the names tell of, and the command to type. DATA is what run takes.
    Every image is looked at once, and nothing is written but the page.

    \b
    Example:
      augsearch inspect photos/ -o inspect.html
    """
    from augsearch.search.pipelines.inspect import inspect_data
    from augsearch.search.settings.files import load_settings

    shown = display(as_json=as_json)
    inspect_data(load_settings(None, flags).data, output, as_json=as_json, display=shown)
