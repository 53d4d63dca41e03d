"""Processes of this machine, started once, one thread each.

One thread each whatever the number of processes: then a fold's score depends on nothing but the fold.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from augsearch.policies import UserError
from augsearch.search.engines.engine import EngineFailedError, OverLimitError, WorkerLostError
from augsearch.search.engines.worker import Call, IdleWorkerLostError, Worker
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.gpus import gpus
from augsearch.trainers.system.threads import available_cores

P = ParamSpec("P")
R = TypeVar("R")

STARTS = 3
"""How often a worker is started for a task that none began, before the machine is at fault."""


def start(settings: EngineSettings) -> LocalEngine:
    """The engine, with as many workers as are asked for or as suit the machine.

    Raises:
        UserError: memory can't be measured on this system, and is to be limited.
    """
    devices = gpus(settings.device)
    workers = settings.workers or default_workers(settings.device, devices, settings.workers_per_device)
    limit = settings.memory_limit
    if limit is not None and not Path("/proc/self/statm").exists():
        raise UserError("--memory-limit: this system doesn't tell what a process takes; leave it out")
    return LocalEngine(workers, settings.fold_timeout, None if limit is None else limit * 2**30, devices)


def default_workers(device: str, devices: Sequence[str] = (), each: int | None = None) -> int:
    """One for every core this process may use; on GPUs ``each``, or at most four, which share one."""
    cores, places = available_cores(), len(devices) or 1
    if each is not None:
        return each * places
    on_gpu = bool(devices) or device.startswith("cuda")
    return places * min(max(1, cores // places), 4) if on_gpu else cores


class LocalEngine:
    """``workers`` processes; each task may take ``time_limit`` seconds and ``memory_limit`` bytes.

    The workers are given the ``devices``, as ``CUDA_VISIBLE_DEVICES`` calls them, in turn: each sees its own
    alone, from before torch is imported. Without any they see what the driver sees.

    A worker that dies is started anew: while it waited, without a word; while it ran, its task fails. No
    process is there before the first task: a run with nothing left to train starts none.
    """

    def __init__(
        self, workers: int, time_limit: float, memory_limit: float | None = None, devices: Sequence[str] = ()
    ) -> None:
        self.slots = workers
        self._devices = [devices[slot % len(devices)] if devices else None for slot in range(workers)]
        self._limits = time_limit, memory_limit
        self._tasks: SimpleQueue[tuple[Future[Any], Call] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._workers: set[Worker] = set()
        self._closed = False
        atexit.register(self.close)  # or Python would wait for the workers, and they for it

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a worker run ``function``, which must be importable by name, on picklable arguments."""
        future: Future[R] = Future()
        self._tasks.put((future, (function, args, kwargs)))
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._serve, args=[device], daemon=True) for device in self._devices
            ]
            for thread in self._threads:
                thread.start()
        return future

    def close(self) -> None:
        """End the workers, busy or not."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.end()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        with suppress(Empty):
            while True:
                if (task := self._tasks.get_nowait()) is not None:
                    task[0].cancel()

    def _serve(self, device: str | None) -> None:
        """In a thread for each slot: one task after another, on a worker that is kept."""
        slot: list[Worker] = []
        while (task := self._tasks.get()) is not None and not self._closed:
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._run(call, slot, device))
            except (WorkerLostError, OverLimitError, EngineFailedError) as error:
                self._empty(slot)
                future.set_exception(error)
            except Exception as error:
                future.set_exception(error)
        self._empty(slot)

    def _run(self, call: Call, slot: list[Worker], device: str | None) -> Any:
        """What ``call`` returns, from the worker in ``slot`` or one that takes its place before it begins."""
        lost = "the engine is closed"
        for _ in range(STARTS):
            if self._closed:
                break
            try:
                if not slot:
                    slot.append(self._started(device))
                return slot[0].run(call, *self._limits)
            except IdleWorkerLostError as error:
                lost = str(error)
                self._empty(slot)
        raise EngineFailedError(f"no worker can be started: {lost}")

    def _started(self, device: str | None) -> Worker:
        try:
            worker = Worker(device)
        except OSError as error:  # of processes, memory or open files there are no more to be had
            raise IdleWorkerLostError(error.strerror or str(error)) from error
        with self._lock:
            self._workers.add(worker)
            if self._closed:
                worker.end()
        return worker

    def _empty(self, slot: list[Worker]) -> None:
        while slot:
            worker = slot.pop()
            with self._lock:
                self._workers.discard(worker)
            worker.close()
