"""``augsearch run``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import files
from augsearch.search.options.lists import run_options

PLACE = 10
"""Where the command stands in the list of all."""


@click.command("run", cls=Command, resumes=True)
@click.argument("data", required=False, shell_complete=files)
@run_options
def command(
    config: Path | None, show_config: bool, dry_run: bool, as_json: bool, opens: bool, **flags: Any
) -> None:
    """Search a policy for DATA, confirm it, export it and train the final model from it.

    DATA is a folder of class folders; a folder with train/, val/ and/or test/ inside; a .zip or .tar of
    one; a table of files and labels (.csv, .tsv, .jsonl, .parquet); WebDataset shards; hf:NAME or what
    Hugging Face's datasets saved; an .npz file with images and labels; torchvision:NAME; or nothing, for an
    embedded part of Fashion-MNIST. docs/data.md has them in a table. Of an image that is not square only
    the centre is used, unless --fit says otherwise. Stop it at any time: the same command goes on where it
    stopped.

    \b
    Example:
      augsearch run photos/ --trials 40 --image-size 96
      augsearch run photos/ --dry-run
      augsearch run photos/ --open
    """
    began = time.monotonic()  # importing what follows takes seconds on a busy machine
    from augsearch.search.settings.files import load_settings, show_settings

    settings = load_settings(config, flags)
    if show_config:
        click.echo(show_settings(settings.with_usual_budget()), nl=False)
        return
    from augsearch.search.console import print_json
    from augsearch.search.pipelines import dry_run as dry
    from augsearch.search.pipelines.run import next_steps
    from augsearch.search.pipelines.run import run as run_search
    from augsearch.search.pipelines.studies import study_as_plain

    shown = display(as_json=as_json)
    if dry_run:
        if opens:
            shown.line("--open: without effect, as nothing is run")
        document = dry.dry_run(settings, shown).to_json()
    else:
        outcome = run_search(settings, shown, began=began, opens=opens)
        shown.result(next_steps(settings, outcome))
        document = study_as_plain(outcome.study, settings.tracking.storage)
    if as_json:
        print_json(document)
