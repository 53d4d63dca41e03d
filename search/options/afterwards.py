"""The options of commands that find out more of a study or its stand-in; quick to import."""

from __future__ import annotations

from collections.abc import Callable

import click

from augsearch.search.options.command import FIRST, TRACKING
from augsearch.search.options.lists import engine_options, option, with_options


def ablate_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``ablate``."""
    return with_options(
        [
            option(
                FIRST,
                "--folds",
                type=click.IntRange(2, 1000),
                default=8,
                show_default=True,
                help="Fresh folds for each part; more go on from fewer.",
            ),
            option(FIRST, "--trial", type=click.INT, help="A trial's number. [what the verdict recommends]"),
            *engine_options(),
            option(TRACKING, "--storage", help="Database of the studies. [mlruns/studies.db]"),
        ],
        command,
    )
