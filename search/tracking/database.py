"""The SQLite database that MLflow writes to: made whole, checked, named by an absolute path."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import filelock

from augsearch.policies.errors import first_line
from augsearch.search.settings.addresses import redacted, sqlite_address, sqlite_file


def absolute(uri: str) -> str:
    """``uri`` with the path of an SQLite file made absolute: MLflow keeps connections by URI."""
    file = sqlite_file(uri)
    return uri if file is None else sqlite_address(file.absolute())


def load_mlflow() -> None:
    """Import MLflow, without what it logs, and so that Ctrl-C goes on ending whatever waits.

    Where polars is installed MLflow imports it, and polars takes Ctrl-C over in such a way that the system
    goes on with a call that waits, and Python learns of it when that call ends: never, it may be.
    """
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    # Two lines for every run that ends on a server, on a stdout that may be JSON or a person's table.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow  # noqa: F401

    for chatty in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if hasattr(signal, "siginterrupt"):  # not on Windows
        signal.siginterrupt(signal.SIGINT, True)


def make_database(path: Path) -> None:
    """Have MLflow's tables in an SQLite file at ``path``, all of them or no file at all.

    MLflow makes them one by one for seconds, and refuses a file in which a kill left only some.
    """
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            check_database(path)
            return
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        MlflowClient(sqlite_address(part)).search_experiments(max_results=1)
        part.replace(path)


def check_database(path: Path) -> None:
    """Refuse what is no SQLite file at once; MLflow would try it again and again for two minutes."""
    with path.open("rb") as file:
        head = file.read(16)
    if head not in (b"", b"SQLite format 3\0"):
        raise ValueError("not an SQLite database")


def reason_of(error: BaseException) -> str:
    """The first line of what MLflow says, which may be very long."""
    if "Max retries exceeded" in str(error):
        return "the server does not answer"
    line = redacted(first_line(error))
    return line if len(line) < 160 else line[:160].rsplit(" ", 1)[0] + " …"


def is_away(error: BaseException) -> bool:
    """Whether ``error`` says that MLflow's server or database doesn't answer now, and may later."""
    import requests
    from mlflow.exceptions import MlflowException

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.ConnectionError | requests.Timeout):
            return True
        if isinstance(cause, MlflowException) and cause.error_code in ("TEMPORARILY_UNAVAILABLE", "ABORTED"):
            return True
        cause = cause.__cause__ or cause.__context__
    said = str(error)
    return any(
        words in said for words in ("Max retries exceeded", "database is locked", "Connection refused")
    )
