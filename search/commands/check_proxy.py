"""``augsearch check-proxy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augsearch.search.options.afterwards import check_proxy_options
from augsearch.search.options.command import Command, display
from augsearch.search.options.completion import files

PLACE = 25
"""Where the command stands in the list of all."""


@click.command("check-proxy", cls=Command, resumes=True)
@click.argument("data", required=False, shell_complete=files)
@check_proxy_options
def command(config: Path | None, candidates: int, seeds: int, as_json: bool, **flags: Any) -> None:
    """May the search's short trainings stand in for the final one on DATA?

    Some candidates, from no augmentation to a strong one, are trained both ways: as the search trains them,
    and as final models on the training part, scored on held-out images that are not the test part. Says how
    far both agree on who is better, and what choosing by the short ones costs. With --study, or where run was
    called with the same settings, that study's report shows it, and what is not given is as there. Stop it at
    any time: the same command goes on.

    \b
    Example:
      augsearch check-proxy photos/ --study demo
    """
    from augsearch.search.console import print_json
    from augsearch.search.pipelines.check_proxy import check_proxy
    from augsearch.search.settings.files import load_settings
    from augsearch.search.studies.proxy_check import belief_in_words

    found = check_proxy(load_settings(config, flags), candidates, seeds, display(as_json=as_json))
    if as_json:
        print_json(found.to_json() | {"sentence": belief_in_words(found)})
