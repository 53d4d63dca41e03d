"""One driver a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import filelock

from augsearch.policies import UserError
from augsearch.search.settings.sections import HOME
from augsearch.trainers.system.hashing import digest


@contextmanager
def only_driver(study: str) -> Iterator[None]:
    """Two drivers of one study would write over each other. The lock goes when the process does.

    Raises:
        UserError: another process has it.
    """
    folder = HOME / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{digest(study)}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"study {study!r} is being run by another process; wait for it, or use another --study"
        ) from None
    try:
        yield
    finally:
        lock.release()
