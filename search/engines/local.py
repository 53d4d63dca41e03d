"""Processes of this machine, started once, one thread each.

One thread each whatever the number of processes: then a fold's score depends on nothing but the fold.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from augsearch.search.engines.engine import WorkerLostError
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.threads import available_cores

P = ParamSpec("P")
R = TypeVar("R")


def start(settings: EngineSettings) -> LocalEngine:
    """The engine, with as many workers as are asked for or as suit the machine."""
    return LocalEngine(settings.workers or default_workers(settings.device), settings.fold_timeout)


def default_workers(device: str) -> int:
    """One for every core this process may use; on a GPU at most four, which share it."""
    cores = available_cores()
    return min(cores, 4) if device.startswith("cuda") else cores


class LocalEngine:
    """``workers`` processes; each task may take ``time_limit`` seconds."""

    def __init__(self, workers: int, time_limit: float) -> None:
        self.slots = workers
        self._time_limit = time_limit
        # spawn: a forked child of a process with threads (MLflow's, OpenCV's, torch's) may hang.
        # No process is there before the first task: a run with nothing left to train starts none.
        self._pool = ProcessPool(
            max_workers=workers,
            initializer=_start_worker,
            context=multiprocessing.get_context("spawn"),
        )

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a worker run ``function``, which must be importable by name, on picklable arguments."""
        inner = self._pool.schedule(function, args=list(args), kwargs=dict(kwargs), timeout=self._time_limit)
        outer: Future[R] = Future()
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        return outer

    def _pass_on(self, done: Future[Any], outer: Future[R]) -> None:
        try:
            outer.set_result(done.result())
        except CancelledError:
            outer.cancel()
        except ProcessExpired as error:
            outer.set_exception(WorkerLostError(f"a worker died (exit code {error.exitcode})"))
        except TimeoutError:
            outer.set_exception(WorkerLostError(f"a fold took longer than {self._time_limit:g} s"))
        except Exception as error:
            outer.set_exception(error)

    def close(self) -> None:
        """End the workers, busy or not."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the driver decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2
    import torch
    import torch._dynamo  # the first optimizer would import it, in the first fold's time

    import augsearch.trainers.tasks.fold  # noqa: F401

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
