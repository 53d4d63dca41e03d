"""Who trains the jobs of a long benchmark: one process or several, some jobs at a time, in order."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.techniques.runs import Tell


@dataclass(eq=False)
class Crew:
    """Trains jobs in order, some at a time; only this process writes what comes of them.

    A job has ``data``, the name of its data set, and ``key``, equal for two jobs that would give the same.
    """

    work: Callable[[Any, Any], Any]
    """A function of a module, which other processes can be sent: the outcome of a job on a data set."""
    described: Callable[[Any, Any], str]
    """One line for a person, of a job and its outcome."""
    stored: dict[str, Any]
    """The data sets by their names in the jobs."""
    known: dict[str, Any]
    """Results by key, of this call and of earlier ones."""
    keep: Callable[[Any, Any], None]
    """Is given every new result at once, and makes it known."""
    tell: Tell
    deadline: float = float("inf")
    """Of ``time.monotonic``: after it no training begins."""
    processes: ProcessPoolExecutor | None = None
    workers: int = 1
    trained: int = 0

    def train(self, jobs: Iterable[Any]) -> bool:
        """Train those of ``jobs`` that are not known; False: the time was up before all had begun."""
        jobs = tuple(jobs)
        waiting = iter({job.key: job for job in jobs if job.key not in self.known}.values())
        if self.processes is None:
            for job in self._in_time(waiting):
                self._take_in(job, self.work(job, self.stored[job.data]))
        else:
            self._train_side_by_side(waiting, self.processes)
        return all(job.key in self.known for job in jobs)

    def _train_side_by_side(self, waiting: Iterator[Any], processes: ProcessPoolExecutor) -> None:
        running: dict[Future[Any], Any] = {}
        waiting = self._in_time(waiting)
        while True:
            # No more are handed over than are trained at once: a call that is cut short would wait for them.
            while len(running) < self.workers and (job := next(waiting, None)):
                running[processes.submit(self.work, job, self.stored[job.data])] = job
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                self._take_in(running.pop(future), future.result())

    def _in_time(self, waiting: Iterator[Any]) -> Iterator[Any]:
        for job in waiting:
            if time.monotonic() > self.deadline:
                return
            yield job

    def _take_in(self, job: Any, outcome: Any) -> None:
        self.keep(job, outcome)
        self.trained += 1
        self.tell(self.described(job, outcome))


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many, each on one thread; one is this process itself.

    Spawned, for a fork of a process that has used torch may hang.
    """
    if count == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a Ctrl-C is for them too; what to say of it the parent knows
    torch.set_num_threads(1)
