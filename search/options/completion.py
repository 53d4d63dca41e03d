"""What a shell completes after a command: studies, ready policies, operations, networks, files.

Asked at every press of the tab key, so each imports what it needs and no more; what can't be found out is not
completed, as an error there would be printed into the line that a person types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

FILES = "file"
"""The kind of item that tells a shell to complete names of files itself."""


def _beginning(names: Callable[[click.Context], Iterable[str]], *, files: bool = False) -> Complete:
    """Completes to those ``names`` that begin as what is typed, and to ``files`` too."""

    def complete(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        try:
            found = [CompletionItem(name) for name in names(context) if name.startswith(typed)]
        except Exception:  # nothing can be told to a person who types
            found = []
        # Of several kinds bash forgets what stood before files, and takes files where there is nothing else.
        return [CompletionItem(typed, type=FILES), *found] if files else found

    return complete


def _study_names(context: click.Context) -> list[str]:
    from augsearch.search.settings.addresses import sqlite_file
    from augsearch.search.settings.sections import TrackingSettings

    address = context.params.get("storage") or TrackingSettings().storage
    file = sqlite_file(address)
    if file is not None and not file.exists():
        return []
    import optuna

    from augsearch.search.studies.study import open_storage

    return optuna.get_all_study_names(open_storage(address))


def _ready(_: click.Context) -> list[str]:
    from augsearch.policies.ready import ready_names

    return [name.partition("(")[0] for name in ready_names()]  # brackets would have to be quoted


def _both(context: click.Context) -> list[str]:
    return [*_study_names(context), *_ready(context)]


def _networks(_: click.Context) -> list[str]:
    from augsearch.trainers.models.names import HUBS, LITE, WIDTHS

    return [*WIDTHS, LITE, *(f"{hub}:" for hub in HUBS)]


def operations(_: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Sets and names of operations; of several, with commas between them, the last."""
    from augsearch.policies import OPERATION_SETS, OPERATIONS

    before, comma, last = typed.rpartition(",")
    names = [*OPERATIONS] if comma else [*OPERATION_SETS, *OPERATIONS]
    given = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in names
        if name.startswith(last) and name not in given
    ]


studies = _beginning(_study_names)
policies = _beginning(_ready, files=True)
studies_and_policies = _beginning(_both, files=True)
networks = _beginning(_networks, files=True)
files = _beginning(lambda _: (), files=True)
