"""Which drivers use a workspace: several studies of the same data share one, and its teachers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import filelock

from augsearch.trainers.workspace.folder import Workspace

_OWN: dict[Path, filelock.BaseFileLock] = {}
"""The locks of this process, by workspace; they go when the process does, however it ends."""


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
        own = _OWN.get(folder)
        others = (
            path for path in (folder / "users").glob("*.lock") if own is None or str(path) != own.lock_file
        )
        if not any(_is_held(path) for path in others):
            shutil.rmtree(workspace.fold_teachers, ignore_errors=True)


def _coming_and_going(folder: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(folder / ".users.lock")


def _is_held(path: Path) -> bool:
    """Whether the process that made the lock file still lives; what is left of a dead one is removed."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    path.unlink(missing_ok=True)
    return False
