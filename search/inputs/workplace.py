"""Which drivers use a workspace: several studies of the same data share one, and its teachers.

And which processes are at work with what lies in ``mlruns/``, so that nobody removes it under their hands.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from augsearch.policies import UserError
from augsearch.policies.errors import OWN_PLACE
from augsearch.search.settings.sections import HOME
from augsearch.trainers.workspace.folder import Workspace

_OWN: dict[Path, filelock.BaseFileLock] = {}
"""The locks of this process, by workspace; they go when the process does, however it ends."""


AT_WORK = HOME / "locks"
"""Where processes that open images say so: they use caches before they have a workspace."""


_WRITTEN = (HOME, *(HOME / name for name in ("cache", "work", "locks", "test-reads", "confirmations")))
"""Folders in which a run writes, some of them hours after it began."""


def check_writable() -> None:
    """See that whoever runs this may write where a run will: others may have made those folders.

    Raises:
        UserError: not everywhere.
    """
    for folder in _WRITTEN:
        if folder.exists() and not os.access(folder, os.W_OK):
            raise UserError(f"{folder}: can't be written (permission denied); {OWN_PLACE}")


@contextmanager
def alone() -> Iterator[None]:
    """Have nobody but this process at work with what lies in ``HOME``, and nobody begin meanwhile.

    Raises:
        UserError: others are at work there.
    """
    folders = [AT_WORK, *(users.parent for users in (HOME / "work").glob("*/users"))]
    (AT_WORK / "users").mkdir(parents=True, exist_ok=True)
    with _coming_and_going(AT_WORK.absolute()):
        held = {path.stem for folder in folders for path in _others(folder.absolute()) if _is_held(path)}
        locked = any(_is_locked(path) for path in AT_WORK.glob("[!.]*.lock"))
        if held or locked:
            who = f"process {', '.join(sorted(held))}" if held else "a run"
            raise UserError(f"{who} is at work in {HOME}; wait until it has ended")
        yield


def use(folder: Path) -> None:
    """Have others know that this process has trainings run in the workspace at ``folder``, until it ends."""
    folder = folder.absolute()
    users = folder / "users"
    users.mkdir(parents=True, exist_ok=True)
    known = _OWN.get(folder)
    if known is not None and Path(known.lock_file).exists():
        return
    if known is not None:  # somebody removed the folder, and this process still holds what was in it
        known.release(force=True)
    with _coming_and_going(folder):
        own = filelock.FileLock(users / f"{os.getpid()}.lock", thread_local=False)
        own.acquire()
        _OWN[folder] = own


def remove_teachers(workspace: Workspace) -> None:
    """Remove the teachers of folds, which may take gigabytes; unless another driver may ask for them."""
    folder = workspace.folder.absolute()
    with _coming_and_going(folder):
        if not any(_is_held(path) for path in _others(folder)):
            shutil.rmtree(workspace.fold_teachers, ignore_errors=True)


def _coming_and_going(folder: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(folder / ".users.lock")


def _others(folder: Path) -> Iterator[Path]:
    """The lock files of the users of ``folder`` but this process."""
    own = _OWN.get(folder)
    for path in (folder / "users").glob("*.lock"):
        if own is None or str(path) != own.lock_file:
            yield path


def _is_held(path: Path) -> bool:
    """Whether the process that made the lock file still lives; what is left of a dead one is removed."""
    if _is_locked(path):
        return True
    path.unlink(missing_ok=True)
    return False


def _is_locked(path: Path) -> bool:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False
