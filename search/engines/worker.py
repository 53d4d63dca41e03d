"""A process that runs one task after another, and the driver's end of it.

Each is a pool of one, of the standard library: whatever dies, at whatever moment, takes nothing from the
others. In a pool of several, a worker that is killed while it waits breaks all of it.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from augsearch.search.engines.engine import OverLimitError, WorkerLostError

_PROCESSES = "augsearch "
"""Begins the names of the processes that are started here."""
LOOKS = 0.5
"""Seconds between two looks at a worker's memory."""
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _Process(SpawnProcess):
    """A process that leaves the program alone which started it.

    Else Python would run that program's file anew in each, and a script that calls ``run`` without asking
    whether it is the main one would begin the search again there.
    """

    def __init__(self, *arguments: Any, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.name = f"{_PROCESSES}{self.name}"


class _Context(SpawnContext):
    """spawn: a forked child of a process with threads (MLflow's, OpenCV's, torch's) may hang."""

    Process = _Process


def _leave_main_alone() -> None:
    """Have our processes not be told where the main program is; once, for all of them."""
    told = spawn.get_preparation_data
    if getattr(told, "of_augsearch", False):
        return

    @functools.wraps(told)
    def without_main(name: str) -> dict[str, Any]:
        data: dict[str, Any] = told(name)
        if name.startswith(_PROCESSES):
            data = {key: value for key, value in data.items() if not key.startswith("init_main")}
        return data

    without_main.of_augsearch = True  # type: ignore[attr-defined]
    spawn.get_preparation_data = without_main


class IdleWorkerLostError(RuntimeError):
    """A worker died before it began its task: while it waited, or while it started."""


class Worker:
    """The driver's end of a process, which the first task starts. For one thread, but for ``end``."""

    def __init__(self) -> None:
        _leave_main_alone()
        self._pool = ProcessPoolExecutor(1, _Context(), initializer=_prepare)
        self._process: int | None = None
        self._ended = False

    def run(self, call: Call, time_limit: float, memory_limit: float | None) -> Any:
        """What ``call`` returns, at most ``time_limit`` seconds later, for at most so many bytes of memory.

        Raises:
            IdleWorkerLostError: the process died before it began.
            WorkerLostError: it died while it ran.
            OverLimitError: it took longer, or more memory; the process is ended.
            Exception: what the call raised, or what can't be sent to or from the process.
        """
        sent = pickle.dumps(call)
        try:
            self._process = self._pool.submit(os.getpid).result()  # it is there and waits
            if self._ended:
                self.end()
            future = self._pool.submit(_called, sent)
        except RuntimeError as error:  # the pool is broken, or was closed meanwhile
            raise IdleWorkerLostError("a worker died before its task") from error
        self._guard(future, time_limit, memory_limit)
        try:
            return future.result()
        except BrokenProcessPool:
            raise WorkerLostError("a worker died") from None

    def end(self) -> None:
        """End the process, busy or not; from any thread."""
        self._ended = True
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has ended
                os.kill(self._process, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def close(self) -> None:
        """End the process and let go of what it took."""
        self.end()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _guard(self, future: Future[Any], time_limit: float, memory_limit: float | None) -> None:
        """Wait for the outcome, as long as the limits are kept."""
        until = time.monotonic() + time_limit
        while True:
            left = until - time.monotonic()
            if left <= 0:
                self.end()
                raise OverLimitError(f"a fold took longer than {time_limit:g} s (--fold-timeout)")
            with contextlib.suppress(TimeoutError):
                future.exception(left if memory_limit is None else min(left, LOOKS))
                return
            if memory_limit is not None and memory_of(self._process) > memory_limit:
                self.end()
                limit = f"{memory_limit / 2**30:g} GiB"
                raise OverLimitError(f"a fold took more memory than {limit} (--memory-limit)")


def memory_of(process: int | None) -> int:
    """Bytes of memory that a process holds now and shares with nobody; 0 where that can't be known.

    Images and libraries are mapped: all workers have the same, and the system takes them back when it must.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _called(sent: bytes) -> Any:
    """In the process: what a call returns. Read here, one that can't be read costs its task alone."""
    function, args, kwargs = pickle.loads(sent)
    return function(*args, **kwargs)


def _prepare() -> None:
    """In the process, before its first task."""
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


def _end_with_driver() -> None:
    """A driver that is killed leaves nobody training for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
