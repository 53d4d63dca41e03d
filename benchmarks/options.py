"""The options that most benchmarks have: a short form, and where results go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def results_options(default: Path) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--quick``, ``--output`` for raw results, usually the file ``default``, and ``--markdown``."""

    def added(command: Callable[..., Any]) -> Callable[..., Any]:
        path = click.Path(dir_okay=False, path_type=Path)
        raw = f"Raw results, read first if it exists.  [default: {default}; quick: none]"
        for option in (
            click.option("--markdown", type=path, help="Write the page here too."),
            click.option("--output", type=path, help=raw),
            click.option(
                "--quick", is_flag=True, help="A short form, for a look: nothing follows from its figures."
            ),
        ):
            command = option(command)
        return command

    return added


def pool_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--workers`` and ``--minutes`` of a ``WorkerPool``."""
    for option in (
        click.option(
            "--minutes", type=click.FloatRange(0), help="Begin nothing new after so long; 0: only the tables."
        ),
        click.option(
            "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that train."
        ),
    ):
        command = option(command)
    return command
