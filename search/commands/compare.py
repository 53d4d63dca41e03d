"""``augsearch compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import files
from augsearch.search.options.lists import compare_options

PLACE = 20
"""Where the command stands in the list of all."""


@click.command("compare", cls=Command, resumes=True)
@click.argument("data", required=False, shell_complete=files)
@compare_options
def command(config: Path | None, seeds: int, json_file: Path | None, **flags: Any) -> None:
    """Is the search worth it on DATA? Compare it with random search and with the baselines alone.

    Each spends as many image passes as the search of run takes, on the same folds; what each picks is then
    trained again on fresh folds and scored on images that none has seen. All of it is kept in studies, not
    in MLflow; the search's own is that of run. Stop it at any time: the same command goes on.

    \b
    Example:
      augsearch compare photos/ --seeds 3
    """
    from augsearch.search.pipelines.compare import STDOUT, compare_searches
    from augsearch.search.settings.files import load_settings

    compare_searches(load_settings(config, flags), seeds, json_file, display(as_json=json_file == STDOUT))
