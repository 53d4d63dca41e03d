"""``--json``, of every command that prints a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

JSON: dict[str, Any] = {
    "is_flag": True,
    "help": "Print JSON instead: stdout has that alone, stderr all that is said beside it.",
}


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with ``--json``, told as ``as_json``; what prints it is ``console.print_json``."""
    return click.option("--json", "as_json", **JSON)(command)
