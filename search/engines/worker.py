"""A process that runs one task after another, and the driver's end of it.

Each has a pipe of its own, so that whatever dies, at whatever moment, takes nothing from the others: of a
pool that shares one, a worker that is killed while it waits leaves a lock or half a message behind.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from augsearch.search.engines.engine import OverLimitError, WorkerLostError

READY, BEGUN, DONE, FAILED = "ready", "begun", "done", "failed"
LOOKS = 0.5
"""Seconds between two looks at a worker's memory."""
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class IdleWorkerLostError(RuntimeError):
    """A worker died before it began its task: while it waited, or while it started."""


class Worker:
    """The driver's end of a process that was started, or is starting. To be used from one thread."""

    def __init__(self) -> None:
        # spawn: a forked child of a process with threads (MLflow's, OpenCV's, torch's) may hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=False)
        self._process.start()
        theirs.close()  # then its end is closed when it dies, whatever it was doing
        self._ready = False

    def run(self, call: Call, time_limit: float, memory_limit: float | None) -> Any:
        """What ``call`` returns, at most ``time_limit`` seconds later, for at most so many bytes of memory.

        Raises:
            IdleWorkerLostError: the process died before it began.
            WorkerLostError: it died while it ran.
            OverLimitError: it took longer, or more memory; the process is ended.
            Exception: what the call raised, or what can't be sent to the process.
        """
        try:
            if not self._ready:
                self._ready = self._receive()[0] == READY
            self._pipe.send(call)
            began, _ = self._receive()
        except (EOFError, ConnectionError) as error:
            raise IdleWorkerLostError(f"a worker died before its task ({self._ending()})") from error
        assert began == BEGUN
        try:
            self._guard(time.monotonic() + time_limit, time_limit, memory_limit)
            how, outcome = self._receive()
        except (EOFError, ConnectionError):
            raise WorkerLostError(f"a worker died ({self._ending()})") from None
        if how == FAILED:
            raise outcome
        return outcome

    def end(self) -> None:
        """End the process, busy or not; from any thread."""
        with contextlib.suppress(ValueError):  # closed
            self._process.kill()

    def close(self) -> None:
        """End the process and let go of what it took."""
        self.end()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> tuple[str, Any]:
        message: tuple[str, Any] = self._pipe.recv()
        return message

    def _guard(self, until: float, time_limit: float, memory_limit: float | None) -> None:
        """Wait for the outcome, as long as the limits are kept."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                self.end()
                raise OverLimitError(f"a fold took longer than {time_limit:g} s (--fold-timeout)")
            if wait([self._pipe], left if memory_limit is None else min(left, LOOKS)):
                return
            if memory_limit is not None and memory_of(self._process.pid) > memory_limit:
                self.end()
                limit = f"{memory_limit / 2**30:g} GiB"
                raise OverLimitError(f"a fold took more memory than {limit} (--memory-limit)")

    def _ending(self) -> str:
        self._process.join()
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return signal.strsignal(-code) or f"signal {-code}"


def memory_of(process: int | None) -> int:
    """Bytes of memory that a process holds now and shares with nobody; 0 where that can't be known.

    Images and libraries are mapped: all workers have the same, and the system takes them back when it must.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _work(pipe: Connection) -> None:
    """In the process: tell that it is ready, then run whatever comes until the driver is gone."""
    # Ctrl-C reaches the whole process group; the driver decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2
    import torch
    import torch._dynamo  # the first optimizer would import it, in the first fold's time

    import augsearch.trainers.tasks.fold  # noqa: F401

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        pipe.send((READY, None))
        while True:
            try:
                function, args, kwargs = pipe.recv()
            except (EOFError, ConnectionError):
                return
            except Exception as error:  # what can't be unpickled here
                pipe.send((BEGUN, None))
                pipe.send((FAILED, _portable(error)))
                continue
            pipe.send((BEGUN, None))
            try:
                outcome = DONE, function(*args, **kwargs)
            except Exception as error:
                outcome = FAILED, _portable(error)
            try:
                pipe.send(outcome)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                pipe.send((FAILED, _portable(error)))


def _end_with_driver() -> None:
    """A driver that is killed leaves nobody training for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """``error``, or one that says the same where it can't travel; where it was raised is a note of it."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
