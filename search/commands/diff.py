"""``augsearch diff``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import studies_and_policies
from augsearch.search.options.json_output import json_option
from augsearch.search.options.storage import storage_option

PLACE = 39
"""Where the command stands in the list of all."""


@click.command("diff", cls=Command)
@click.argument("a", metavar="A", shell_complete=studies_and_policies)
@click.argument("b", metavar="B", shell_complete=studies_and_policies)
@json_option
@storage_option
def command(a: str, b: str, as_json: bool, storage: str | None) -> None:
    """Show A and B side by side, and only what differs: data, settings, verdict, final model, policy.

    Each is a study, a policy file, or the name of a ready policy, such as flip-crop+trivialaugment. Of a
    study the policy is the one that its verdict recommends, or the best so far.

    \b
    Example:
      augsearch diff photos-1a2b3c photos-4d5e6f
      augsearch diff photos-1a2b3c flip-crop+trivialaugment
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.diff import diff, show_diff

    found = diff(a, b, storage)
    if as_json:
        print_json(found.to_json())
    else:
        show_diff(found, display())
