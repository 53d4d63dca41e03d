"""Why a task failed: by the machine, by a limit, or by the candidate's own doing; and when that is enough."""

from __future__ import annotations

import errno
from enum import StrEnum

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.engines.engine import EngineFailedError, OverLimitError, WorkerLostError
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.system.device_errors import gpu_is_lost

GO_ON = "nothing is lost: the same command goes on"
IN_A_ROW = 3
"""As many failures of one kind, one after another, are no accident of one candidate."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_FULL_SAID = ("No space left on device", "Disk quota exceeded", "File too large", "disk is full")
"""How libraries put it that raise errors of their own."""


class Kind(StrEnum):
    """What a failure is due to."""

    MACHINE = "machine"
    """Nothing that a candidate did: files or the network fail, or nothing can be run."""
    WORKER = "worker died"
    """Of the machine too, at first; who kills every worker that it is given to is at fault itself."""
    LIMIT = "limit"
    """Time or memory."""
    CANDIDATE = "candidate"


def kind_of(error: BaseException) -> Kind:
    """What ``error``, raised by or for a task, is due to."""
    if isinstance(error, WorkerLostError):
        return Kind.WORKER
    if isinstance(error, OverLimitError):
        return Kind.LIMIT
    # A worker that lost its GPU was said to be lost: this is the command's own process.
    if isinstance(error, OSError | EngineFailedError) or disk_is_full(error) or gpu_is_lost(error):
        return Kind.MACHINE
    return Kind.CANDIDATE


def disk_is_full(error: BaseException) -> bool:
    """Whether ``error`` says, in one way or another, that a file could not grow."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return any(said in str(error) for said in _DISK_FULL_SAID)


def reason_of(error: BaseException) -> str:
    """One line: what went wrong."""
    line = first_line(error)
    return line or type(error).__name__


def machine_failed(error: BaseException) -> UserError:
    """What ends a command whose machine can't do it."""
    if disk_is_full(error):
        where = getattr(error, "filename", None)
        at = f"{where}: " if where else ""
        return UserError(f"{at}the disk is full ({reason_of(error)}); free some of it: {GO_ON}")
    return UserError(f"trainings can't be run here: {reason_of(error)}; mend that: {GO_ON}")


class Streak:
    """Failures one after another, of different candidates."""

    def __init__(self) -> None:
        self._count, self._last = 0, ""

    def went_well(self) -> None:
        """Some task had a result."""
        self._count = 0

    def failed(self, error: BaseException) -> None:
        """A candidate is out by ``error``.

        Raises:
            UserError: so were those before it, by the same.
        """
        if isinstance(error, TrainingDivergedError):  # that is its own affair, however many do
            return
        said = kind_of(error).value if kind_of(error) is not Kind.CANDIDATE else type(error).__name__
        self._count = self._count + 1 if said == self._last else 1
        self._last = said
        if self._count == IN_A_ROW:
            self._count = 0
            raise UserError(
                f"{IN_A_ROW} in a row failed alike, the last: {reason_of(error)}; mend that, or run the same "
                "command again to go on without them"
            ) from error
