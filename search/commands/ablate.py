"""``augsearch ablate``."""

from __future__ import annotations

from typing import Any

import click

from augsearch.search.options.afterwards import ablate_options
from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import studies

PLACE = 42
"""Where the command stands in the list of all."""


@click.command("ablate", cls=Command, resumes=True)
@click.argument("study", shell_complete=studies)
@ablate_options
def command(study: str, folds: int, trial: int | None, as_json: bool, **flags: Any) -> None:
    """Which part of STUDY's winner earned it? Train it without each, and say what that costs.

    Each operation, all operations, crop, flips, mixing, distillation and other parts are removed in turn, on
    the same fresh folds. Ranked with intervals, as a picture beside the policy and in the report. Stop it at
    any time: the same command goes on.

    \b
    Example:
      augsearch ablate photos-1a2b3c --folds 16
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.ablate import ablate
    from augsearch.search.settings.files import load_settings

    found = ablate(study, trial, folds, load_settings(None, flags), display(as_json=as_json))
    if as_json:
        print_json({"study": study, "ablation": found and found.to_json()})
