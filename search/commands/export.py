"""``augsearch export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import Command
from augsearch.search.options.completion import files, studies_and_policies
from augsearch.search.options.groups import EXISTING
from augsearch.search.options.registered import policy_form_option
from augsearch.search.options.storage import storage_option

PLACE = 30
"""Where the command stands in the list of all."""


@click.command("export", cls=Command)
@click.argument("source", metavar="STUDY|FILE", shell_complete=studies_and_policies)
@policy_form_option()
@click.option("-o", "--output", type=EXISTING, help="File to write. [policy.json, or with the form's suffix]")
@click.option("--approximate", is_flag=True, help="Write what comes near where the form can't say the same.")
@click.option(
    "--data",
    shell_complete=files,
    help="Images to measure on how near that comes, as for run. [two sample photos]",
)
@click.option("--trial", type=click.INT, help="A trial's number, instead of what the verdict recommends.")
@storage_option
def command(source: str, output: Path | None, kind: str, **flags: Any) -> None:
    """Write the policy that STUDY recommends, or that of a policy FILE, for augsearch or another library.

    FILE may be the name of a ready policy, such as flip-crop+trivialaugment.

    What a library can't say is named and nothing is written, or with --approximate listed in the file's head.

    \b
    Example:
      augsearch export photos-1a2b3c -o policy.json
      augsearch export policy.json --format torchvision -o augment.py
    """
    from augsearch.search.pipelines.export import export_policy

    click.echo(export_policy(source, output, kind, **flags))
