"""``augsearch sync``."""

from __future__ import annotations

import click

from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import studies
from augsearch.search.options.storage import storage_option
from augsearch.search.settings.addresses import TRACKING_VARIABLE

PLACE = 44
"""Where the command stands in the list of all."""


@click.command("sync", cls=Command, resumes=True)
@click.argument("study", shell_complete=studies)
@storage_option
@click.option("--tracking-uri", envvar=TRACKING_VARIABLE, help="MLflow. [the run's own]")
def command(study: str, storage: str | None, tracking_uri: str | None) -> None:
    """Log to MLflow what it lacks of STUDY: trials, verdict, files, final model.

    For a server that was away when a run ended, or another one. What is there stays as it is, and a trial
    that was logged by halves is logged anew.

    \b
    Example:
      augsearch sync photos-1a2b3c --tracking-uri http://mlflow.example.org
    """
    from augsearch.search.pipelines.sync import sync

    sync(study, storage, tracking_uri, display())
