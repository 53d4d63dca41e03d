"""A project's folder may be moved, renamed or copied: MLflow's database names artifacts by absolute paths."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "artifacts"
"""The folder of artifacts, beside the database."""
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns that hold addresses of artifacts."""


def follow_move(database: Path) -> None:
    """Have the artifacts beside MLflow's SQLite ``database`` be found where they are now.

    Changes only what was in a folder beside the database when that stood elsewhere; all of it or nothing.
    """
    folder = database.absolute().parent / ARTIFACTS
    if not database.exists() or not folder.is_dir():
        return
    now = folder.as_uri()
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        try:
            known = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        except sqlite3.OperationalError:  # tables of another kind
            return
        for (before,) in known:
            if before and before != now and _stood_beside(before, folder):
                for table, column in _PLACES:
                    _replace(connection, table, column, before, now)


def _stood_beside(address: str, folder: Path) -> bool:
    """Whether artifacts at ``address`` were in a folder like ``folder``, which is where they went."""
    parts = urlsplit(address)
    if parts.scheme not in ("", "file"):
        return False
    path = Path(unquote(parts.path) if parts.scheme else address)
    return path.name == folder.name and path.parent.name == folder.parent.name


def _replace(connection: sqlite3.Connection, table: str, column: str, before: str, now: str) -> None:
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    if column in columns:
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
        )
