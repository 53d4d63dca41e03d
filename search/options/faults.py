"""What the machine did to a command, in one line: a full disk, a database that fails."""

from __future__ import annotations

from collections.abc import Iterator

_DATABASES = ("sqlalchemy.", "optuna.exceptions", "optuna.storages", "sqlite3", "psycopg", "pymysql")
"""Modules whose errors say that a database failed."""


def in_one_line(error: BaseException) -> str | None:
    """What went wrong, and that the same command goes on; None: it is no fault of the machine."""
    from augsearch.policies.errors import first_line
    from augsearch.search.engines.failures import GO_ON, disk_is_full, machine_failed
    from augsearch.search.settings.addresses import redacted

    causes = list(_chain(error))
    full = next((cause for cause in causes if disk_is_full(cause)), None)
    if full is not None:
        return redacted(str(machine_failed(full)))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{(error.strerror or str(error)).lower()}"
    if any(type(cause).__module__.startswith(_DATABASES) for cause in causes):
        return f"the database failed ({redacted(first_line(causes[-1]))}); {GO_ON}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
