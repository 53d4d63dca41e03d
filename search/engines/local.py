"""Processes of this machine, started once, one thread each.

One thread each whatever the number of processes: then a fold's score depends on nothing but the fold.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from augsearch.search.engines.worker import Limits, Place, limits_of, pickled
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.gpus import gpus, is_gpu, on_a_gpu
from augsearch.trainers.system.threads import available_cores

P = ParamSpec("P")
R = TypeVar("R")
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

ON_THIS_MACHINE = True
"""Its trainings find the devices of this machine, and no others."""


def start(settings: EngineSettings) -> LocalEngine:
    """The engine, with as many workers as are asked for or as suit the machine.

    Raises:
        UserError: memory can't be measured on this system, and is to be limited.
    """
    devices = gpus(settings.device)
    workers = settings.workers or default_workers(settings.device, devices, settings.workers_per_device)
    return LocalEngine(workers, limits_of(settings), devices)


def default_workers(device: str, devices: Sequence[str] = (), each: int | None = None) -> int:
    """One for every core this process may use; on GPUs ``each``, or at most four, which share one."""
    cores, places = available_cores(), len(devices) or 1
    if each is not None:
        return each * places
    on_gpu = bool(devices) or is_gpu(device)
    return places * on_a_gpu(cores, places) if on_gpu else cores


class LocalEngine:
    """``workers`` processes, whose tasks keep the limits.

    The workers are given the ``devices``, as ``CUDA_VISIBLE_DEVICES`` calls them, in turn: each sees its own
    alone, from before torch is imported. Without any they see what the driver sees.

    A worker that dies is started anew: while it waited, without a word; while it ran, its task fails. No
    process is there before the first task: a run with nothing left to train starts none.
    """

    def __init__(self, workers: int, limits: Limits, devices: Sequence[str] = ()) -> None:
        self.slots = workers
        self._limits = limits
        self._places = [Place(devices[slot % len(devices)] if devices else None) for slot in range(workers)]
        self._tasks: SimpleQueue[tuple[Future[Any], Call] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False
        atexit.register(self.close)  # or Python would wait for the workers, and they for it

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a worker run ``function``, which must be importable by name, on picklable arguments."""
        future: Future[R] = Future()
        self._tasks.put((future, (function, args, kwargs)))
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._serve, args=[place], daemon=True) for place in self._places
            ]
            for thread in self._threads:
                thread.start()
        return future

    def close(self) -> None:
        """End the workers, busy or not."""
        atexit.unregister(self.close)
        self._closed = True
        for place in self._places:
            place.end()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, place: Place) -> None:
        """In a thread for each place: one task after another."""
        while (task := self._tasks.get()) is not None:
            future, call = task
            if self._closed:
                future.cancel()
            elif future.set_running_or_notify_cancel():
                try:
                    future.set_result(place.run(pickled(*call), self._limits))
                except Exception as error:
                    future.set_exception(error)
        place.close()
