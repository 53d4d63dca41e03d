"""A database that is away for a moment: what was asked of it is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
"""Seconds before each further attempt: two minutes, in which a server starts anew or another takes over."""
_FULL = ("No space left", "disk is full", "Disk quota", "could not extend file")


def persistently(work: Callable[[int], R]) -> R:
    """What ``work`` returns, which is called with the number of the attempt, from 0 on.

    Raises:
        Exception: it failed for a reason that does not pass, or as long as one waits for those that do.
    """
    for attempt, pause in enumerate(PAUSES):
        try:
            return work(attempt)
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(pause)
    return work(len(PAUSES))


def may_pass(error: BaseException) -> bool:
    """Whether the database may take the same in a moment: it is away, starts, or is locked by others."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    if cause is None or any(said in str(cause) for said in _FULL):
        return False
    if type(cause.orig).__module__.startswith("sqlite3"):  # a file is never away
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)
