"""``augsearch train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import files
from augsearch.search.options.lists import train_options

PLACE = 50
"""Where the command stands in the list of all."""


@click.command("train", cls=Command, resumes=True)
@click.argument("data", required=False, shell_complete=files)
@train_options
def command(policy_file: Path, as_json: bool, **flags: Any) -> None:
    """Train the final model on DATA from a policy file, and test it once.

    Trains on all labeled images but the test part and a held-out part that picks the epoch. Where the
    policy file and a flag differ, the flag counts. Stop it at any time: the same command goes on after the
    last epoch.

    \b
    Example:
      augsearch train photos/ --policy policy.json
      augsearch train photos/ --policy policy.json --model torchvision:resnet50 --transfer full
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.train import train_from_file
    from augsearch.search.settings.files import load_settings

    overrides = {name: flags.pop(name) for name in ("mixing", "temperature", "alpha", "class_balance")}
    settings = load_settings(None, flags)
    overrides["teacher_view"] = flags["teacher_view"]
    done = train_from_file(settings, policy_file, overrides, display(as_json=as_json))
    if as_json:
        print_json(done)
