"""What the machine did to a command, in one line: a full disk, a database that fails."""

from __future__ import annotations

_DATABASES = ("sqlalchemy.", "optuna.exceptions", "optuna.storages", "sqlite3", "psycopg", "pymysql")
"""Modules whose errors say that a database failed."""


def in_one_line(error: BaseException) -> str | None:
    """What went wrong, and what to do; None: it is no fault of the machine."""
    from augsearch.policies.errors import OWN_PLACE, came_of, first_line, lacks_right
    from augsearch.search.engines.failures import GO_ON, disk_is_full, machine_failed
    from augsearch.search.settings.addresses import redacted

    causes = list(came_of(error))
    full = next((cause for cause in causes if disk_is_full(cause)), None)
    if full is not None:
        return redacted(str(machine_failed(full)))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        said = f"{where}{(error.strerror or str(error)).lower()}"
        return f"{said}; {OWN_PLACE}" if lacks_right(error) else said
    if lacks_right(error):
        return f"the database can't be written ({redacted(first_line(causes[-1]))}); {OWN_PLACE}"
    if any(type(cause).__module__.startswith(_DATABASES) for cause in causes):
        return f"the database failed ({redacted(first_line(causes[-1]))}); {GO_ON}"
    return None
