"""``augsearch show``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import studies
from augsearch.search.options.json_output import json_option
from augsearch.search.options.storage import storage_option

PLACE = 38
"""Where the command stands in the list of all."""


@click.command("show", cls=Command)
@click.argument("study", shell_complete=studies)
@json_option
@storage_option
def command(study: str, as_json: bool, storage: str | None) -> None:
    """Say of STUDY what its report says first: the verdict, how much, how sure, and what to type next.

    \b
    Example:
      augsearch show photos-1a2b3c
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.studies import show_study, study_as_plain

    if as_json:
        print_json(study_as_plain(study, storage))
    else:
        show_study(study, storage, display())
