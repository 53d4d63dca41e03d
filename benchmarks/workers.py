"""Processes that train for a long benchmark: some jobs at a time, in order, until the time is up."""

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

from benchmarks.progress import Progress, progress_on_stderr
from benchmarks.results import ResultsFile


@dataclass(eq=False)
class WorkerPool:
    """Trains jobs in order, some at a time; only this process keeps what comes of them.

    A job has ``data``, the name of its data set, and ``key``, equal for two jobs that would give the same.
    """

    train_job: Callable[[Any, Any], Any]
    """A function of a module, which other processes can be sent: the outcome of a job on a data set."""
    describe: Callable[[Any, Any], str]
    """One line for a person about a job and its outcome."""
    data_sets: dict[str, Any]
    """The data sets by their names in the jobs."""
    known: dict[str, Any]
    """Results by key, of this call and of earlier ones."""
    keep: Callable[[Any, Any], None]
    """Is given every new result at once, and makes it known."""
    progress: Progress
    deadline: float = float("inf")
    """No training begins after it; by ``time.monotonic``."""
    executor: ProcessPoolExecutor | None = None
    """None: this process trains."""
    workers: int = 1
    trained: int = 0
    """How many jobs were trained in this call."""

    def train(self, jobs: Iterable[Any]) -> bool:
        """Train those of ``jobs`` that are not known; False: the time was up before all had begun."""
        jobs = tuple(jobs)
        waiting = self._in_time({job.key: job for job in jobs if job.key not in self.known}.values())
        if self.executor is None:
            for job in waiting:
                self._keep(job, self.train_job(job, self.data_sets[job.data]))
        else:
            self._train_in_parallel(waiting, self.executor)
        return all(job.key in self.known for job in jobs)

    def _train_in_parallel(self, waiting: Iterator[Any], executor: ProcessPoolExecutor) -> None:
        running: dict[Future[Any], Any] = {}
        while True:
            # No more are handed over than are trained at once: a call that is cut short would wait for them.
            while len(running) < self.workers and (job := next(waiting, None)):
                running[executor.submit(self.train_job, job, self.data_sets[job.data])] = job
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                self._keep(running.pop(future), future.result())

    def _in_time(self, jobs: Iterable[Any]) -> Iterator[Any]:
        for job in jobs:
            if time.monotonic() > self.deadline:
                return
            yield job

    def _keep(self, job: Any, outcome: Any) -> None:
        self.keep(job, outcome)
        self.trained += 1
        self.progress(self.describe(job, outcome))


def train_missing(
    jobs: Iterable[Any],
    train_job: Callable[[Any, Any], Any],
    describe: Callable[[Any, Any], str],
    data_sets: dict[str, Any],
    results: ResultsFile,
    *,
    workers: int,
    minutes: float | None,
) -> None:
    """Train those of ``jobs`` that ``results`` lack, in ``minutes``, or until Ctrl-C; see ``WorkerPool``."""
    deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    with progress_on_stderr() as progress:
        pool = WorkerPool(
            train_job,
            describe,
            data_sets,
            results.known,
            results.keep,
            progress,
            deadline,
            workers=workers,
        )
        try:
            with worker_processes(workers) as pool.executor:
                pool.train(jobs)
        except KeyboardInterrupt:
            progress("stopped; the tables are of what is known")


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor | None]:
    """``count`` processes with one thread each; None for one, which is this process itself.

    Spawned, for a fork of a process that has used torch may hang.
    """
    if count == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # A Ctrl-C ends the workers at once; the parent says what became of it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
