"""One driver a study, wherever it runs: the lock is where the study is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from augsearch.policies import UserError
from augsearch.policies.errors import lacks_right
from augsearch.search.settings.addresses import sqlite_file
from augsearch.search.settings.sections import HOME
from augsearch.trainers.system.hashing import digest

_TAKE = {
    "postgresql": "SELECT pg_try_advisory_lock(:number)",
    "mysql": "SELECT GET_LOCK(CONCAT('augsearch ', :number), 0)",
    "mariadb": "SELECT GET_LOCK(CONCAT('augsearch ', :number), 0)",
}
"""What takes a lock of a database server, by dialect: it goes when the connection does."""


Renew = Callable[[], None]
"""Takes a lock again that a server may have lost; a UserError where another process has it meanwhile."""


@contextmanager
def only_driver(study: str, storage: str | None = None) -> Iterator[Renew]:
    """Two drivers of one study would write over each other. The lock goes when the process does.

    ``storage``: the address of the study's database; None: the default. The lock of an SQLite file stands
    beside it, so that a driver in another folder finds it; that of a server is in the server.

    Raises:
        UserError: another process has it.
    """
    file = sqlite_file(storage) if storage else HOME / "studies.db"
    with _locked_file(file, study) if file is not None else _locked_row(storage or "", study) as renew:
        yield renew


def _taken(study: str) -> UserError:
    return UserError(f"study {study!r} is being run by another process; wait for it, or use another --study")


@contextmanager
def _locked_file(database: Path, study: str) -> Iterator[Renew]:
    folder = database.resolve().parent / "locks"
    # The default database's locks keep the names that they had: an older version may be at work.
    name = study if database.name == "studies.db" else f"{database.name} {study}"
    lock = filelock.FileLock(folder / f"{digest(name)}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if database.exists() and not os.access(database, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database))
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise _taken(study) from None
    except OSError as error:
        if not lacks_right(error):
            raise
        raise UserError(
            f"{database}: can't be written ({(error.strerror or str(error)).lower()}); "
            "give another --storage, or work in a folder of your own"
        ) from None
    try:
        yield lambda: None  # a file's lock is not lost
    finally:
        lock.release()


@contextmanager
def _locked_row(storage: str, study: str) -> Iterator[Renew]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(storage, poolclass=sqlalchemy.pool.NullPool)
    statement = _TAKE.get(engine.dialect.name)
    if statement is None:  # a database of which we know no locks
        yield lambda: None
        return
    number, held = int(digest(study)[:15], 16), ExitStack()

    def take() -> sqlalchemy.Connection:
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        held.enter_context(connection)
        if not connection.execute(sqlalchemy.text(statement), {"number": number}).scalar():
            raise _taken(study)
        return connection

    with held:
        connection = take()

        def renew() -> None:
            nonlocal connection
            try:
                connection.execute(sqlalchemy.text("SELECT 1"))
            except sqlalchemy.exc.SQLAlchemyError:  # the server has let go of it and its lock
                connection = take()

        yield renew
