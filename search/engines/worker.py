"""A process that runs one task after another, and the driver's end of it.

Each is a pool of one, of the standard library: whatever dies, at whatever moment, takes nothing from the
others. In a pool of several, a worker that is killed while it waits breaks all of it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.engines.engine import EngineFailedError, OverLimitError, WorkerLostError
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.device_errors import gpu_is_lost
from augsearch.trainers.system.gpus import VISIBLE
from augsearch.trainers.system.processes import Context, follow_parent, pool_of

LOOKS = 0.5
"""Seconds between two looks at a worker's memory."""
STARTS = 3
"""How often a worker is started for a task that none began, before the machine is at fault."""
START, ANSWER = 600.0, 30.0
"""Seconds after which a worker is taken to hang that has not started; the least for one that was there."""


class IdleWorkerLostError(RuntimeError):
    """A worker died or hung before it began its task: while it waited, or while it started."""


class Limits(NamedTuple):
    """What one task may take."""

    seconds: float
    memory: float | None = None
    """Bytes; None: all that there is."""


def limits_of(settings: EngineSettings) -> Limits:
    """Those of the settings.

    Raises:
        UserError: memory can't be measured on this system, and is to be limited.
    """
    memory = settings.memory_limit
    if memory is not None and not Path("/proc/self/statm").exists():
        raise UserError("--memory-limit: this system doesn't tell what a process takes; leave it out")
    return Limits(settings.fold_timeout, None if memory is None else memory * 2**30)


class Worker:
    """The driver's end of a process, which the first task starts. For one thread, but for ``end``.

    The process sees the GPU ``device`` alone, as ``CUDA_VISIBLE_DEVICES`` calls it; None: all.
    """

    def __init__(self, device: str | None = None) -> None:
        self._context = Context()
        self._pool = pool_of(1, _prepare, device, context=self._context)
        self._process: int | None = None
        """Its number, once it has answered."""
        self._ended = False

    def run(self, call: bytes, limits: Limits) -> Any:
        """What the pickled ``call`` returns, within the limits.

        Raises:
            IdleWorkerLostError: the process died or hung before it began; it is ended.
            WorkerLostError: it died while it ran, or lost its GPU and is of no more use.
            OverLimitError: it took longer, or more memory; the process is ended.
            Exception: what the call raised, or what can't be sent from the process.
        """
        allowed = START if self._process is None else min(START, max(ANSWER, limits.seconds))
        try:
            answer = self._pool.submit(os.getpid)  # starts it, if it is not there
            if self._ended:
                self.end()
            self._process = answer.result(allowed)
            future = self._pool.submit(run_pickled, call)
        except TimeoutError:
            self.end()
            raise IdleWorkerLostError(f"a worker did not answer for {allowed:g} s") from None
        except RuntimeError as error:  # the pool is broken, or was closed meanwhile
            raise IdleWorkerLostError("a worker died before its task") from error
        self._guard(future, limits)
        try:
            return future.result()
        except BrokenProcessPool:
            raise WorkerLostError("a worker died") from None

    def end(self) -> None:
        """End the process, busy or not; from any thread."""
        self._ended = True
        for process in self._context.made:
            if process.pid is not None:
                process.kill()

    def close(self) -> None:
        """End the process and let go of what it took."""
        self.end()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _guard(self, future: Future[Any], limits: Limits) -> None:
        """Wait for the outcome, as long as the limits are kept."""
        until = time.monotonic() + limits.seconds
        while True:
            left = until - time.monotonic()
            if left <= 0:
                self.end()
                raise OverLimitError(f"a fold took longer than {limits.seconds:g} s (--fold-timeout)")
            with contextlib.suppress(TimeoutError):
                future.exception(left if limits.memory is None else min(left, LOOKS))
                return
            if limits.memory is not None and memory_of(self._process) > limits.memory:
                self.end()
                limit = f"{limits.memory / 2**30:g} GiB"
                raise OverLimitError(f"a fold took more memory than {limit} (--memory-limit)")


class Place:
    """Runs one task after another on a worker that is kept, and replaced by another when it is lost.

    No process is there before the first task. For one thread, but for ``end``.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._ended = False

    def run(self, call: bytes, limits: Limits) -> Any:
        """What the pickled ``call`` returns, from the worker that is kept or, where it is lost, from another.

        Raises:
            WorkerLostError: it died while it ran, or lost its GPU.
            OverLimitError: it took longer, or more memory.
            EngineFailedError: none can be started.
            Exception: what the call raised, or what can't be sent from the process.
        """
        lost = "the engine is closed"
        for _ in range(STARTS):
            if self._ended:
                break
            try:
                return self._kept().run(call, limits)
            except IdleWorkerLostError as error:
                lost = str(error)
                self._empty()
            except (WorkerLostError, OverLimitError):
                self._empty()
                raise
        raise EngineFailedError(f"no worker can be started: {lost}")

    def end(self) -> None:
        """End the process, busy or not, and start no other; from any thread."""
        with self._lock:
            self._ended = True
            if self._worker is not None:
                self._worker.end()

    def close(self) -> None:
        """End the process and let go of what it took."""
        self.end()
        self._empty()

    def _kept(self) -> Worker:
        if self._worker is None:
            try:
                worker = Worker(self._device)
            except OSError as error:  # of processes, memory or open files there are no more to be had
                raise IdleWorkerLostError(error.strerror or str(error)) from error
            with self._lock:
                self._worker = worker
                if self._ended:
                    worker.end()
        return self._worker

    def _empty(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()


def memory_of(process: int | None) -> int:
    """Bytes of memory that a process holds now and shares with nobody; 0 where that can't be known.

    Images and libraries are mapped: all workers have the same, and the system takes them back when it must.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def pickled(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A call, as it travels."""
    return pickle.dumps((function, args, kwargs))


def run_pickled(call: bytes) -> Any:
    """What a call returns. Read where it runs, one that can't be read costs its task alone.

    Raises:
        WorkerLostError: this process lost its GPU, so that every task after this one would fail here.
        Exception: whatever else the call raised.
    """
    function, args, kwargs = pickle.loads(call)
    try:
        return function(*args, **kwargs)
    except RuntimeError as error:
        if not gpu_is_lost(error):
            raise
        raise WorkerLostError(f"a worker lost its GPU: {first_line(error)}") from None


def _prepare(device: str | None) -> None:
    """In the process, before its first task, and before torch looks for GPUs."""
    if device is not None:
        os.environ[VISIBLE] = device
    follow_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    # Of GPUs that it can't use torch tells the command, and need not tell it once more for each worker.
    warnings.filterwarnings("ignore", module=r"torch\.cuda$")
    import cv2
    import torch
    import torch._dynamo  # the first optimizer would import it, in the first fold's time

    import augsearch.trainers.tasks.fold  # noqa: F401

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
