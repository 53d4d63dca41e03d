"""``--storage``, for commands that need nothing else of a study's settings."""

from __future__ import annotations

from typing import Any

import click

from augsearch.search.settings.addresses import STORAGE_VARIABLE

STORAGE: dict[str, Any] = {
    "envvar": STORAGE_VARIABLE,
    "help": "Database of the studies. [$AUGSEARCH_STORAGE, or mlruns/studies.db]",
}

storage_option = click.option("--storage", **STORAGE)
