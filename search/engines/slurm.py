"""Slurm: every fold is a job of its own, submitted through submitit.

Slurm waits, places and limits. A job's result comes back as a file in the project's folder, which all nodes
must see at the same path. Partition, account and whatever else sites ask for are sbatch's own variables.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, ParamSpec, TypeVar

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.engines.engine import EngineFailedError, OverLimitError, WorkerLostError
from augsearch.search.engines.worker import pickled, run_pickled
from augsearch.search.settings.sections import HOME, EngineSettings

P = ParamSpec("P")
R = TypeVar("R")

JOBS = HOME / "jobs"
"""Where what goes to jobs and comes from them lies meanwhile."""
AT_ONCE = 16
"""Jobs at once, where nobody says how many: a fair share of most clusters."""
NOTICE = 30
"""Seconds before its end in which a job that takes too long is told."""
LOOKS = 1.0
"""Seconds between two looks at the jobs."""
GIB = 8
"""Memory of a job, where nobody says how much."""
HERE = "local"
"""As an address: processes of this machine in the place of jobs, to try it."""
OUT_OF = {"TIMEOUT": "time (--fold-timeout)", "OUT_OF_MEMORY": "memory (--memory-limit)"}
"""What a job of this state had too little of."""


def start(settings: EngineSettings) -> SlurmEngine:
    """The engine; nothing is submitted before the first task.

    Raises:
        UserError: submitit is not installed, this is no node of a cluster, or a single GPU is asked for.
    """
    if settings.device.startswith("cuda:"):
        raise UserError(f"device {settings.device}: Slurm gives each fold a GPU; use --device cuda")
    if settings.address not in (None, HERE):
        raise UserError(f"address {settings.address}: of Slurm only {HERE} is one; leave it out on a cluster")
    try:
        import submitit
    except ModuleNotFoundError:
        raise UserError(
            "engine slurm needs submitit, which is not installed: pip install 'augsearch[slurm]'"
        ) from None
    cluster = settings.address or "slurm"
    try:
        executor = submitit.AutoExecutor(folder=JOBS.resolve(), cluster=cluster)
    except RuntimeError as error:
        raise UserError(
            f"--engine slurm: {first_line(error)}; run it on a node of the cluster, or try it with "
            f"--address {HERE}"
        ) from None
    executor.update_parameters(
        name="augsearch",
        timeout_min=math.ceil((settings.fold_timeout + NOTICE) / 60),
        mem_gb=settings.memory_limit or GIB,
        cpus_per_task=1,
        gpus_per_node=int(settings.device == "cuda"),
        slurm_signal_delay_s=NOTICE,
    )
    return SlurmEngine(executor, settings.workers or AT_ONCE)


class _Running(NamedTuple):
    """A job, and who waits for it."""

    job: Any
    future: Future[Any]


class SlurmEngine:
    """As many jobs at once as there are ``slots``; the cluster may let them wait."""

    def __init__(self, executor: Any, slots: int) -> None:
        self.slots = slots
        self._executor = executor
        self._running: list[_Running] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None
        atexit.register(self.close)

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a job run ``function``, which must be importable by name, on picklable arguments."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        try:
            call = pickled(function, args, kwargs)
        except Exception as error:  # what can't be sent
            future.set_exception(error)
            return future
        try:
            job = self._executor.submit(_run, call)
        except Exception as error:  # submitit's, sbatch's or the file system's
            future.set_exception(EngineFailedError(f"sbatch: {first_line(error)}"))
            return future
        with self._lock:
            self._running.append(_Running(job, future))
            if self._watch is None:
                self._watch = threading.Thread(target=self._look, daemon=True)
                self._watch.start()
        return future

    def waits_for(self) -> str | None:
        """What all jobs wait for: the cluster, where it has started none of them; None: one runs."""
        with self._lock:
            running = tuple(self._running)
        if not running or any(one.job.state != "PENDING" for one in running):
            return None
        jobs = f"{len(running)} job" + "s" * (len(running) > 1)
        return f"Slurm has started none of {jobs} yet, and says why in squeue --me; this goes on by itself"

    def close(self) -> None:
        """Cancel what still runs or waits."""
        atexit.unregister(self.close)
        self._closed.set()
        if self._watch is not None:
            self._watch.join()
        with self._lock:
            running, self._running = self._running, []
        for job, _ in running:
            job.cancel(check=False)

    def _look(self) -> None:
        """In a thread: whatever has ended is told to who waits for it."""
        while not self._closed.wait(LOOKS):
            with self._lock:
                running = tuple(self._running)
            ended = [one for one in running if one.job.done()]
            for job, future in ended:
                try:
                    result, error = _told(job)
                except Exception as unexpected:
                    result, error = None, WorkerLostError(f"a job of Slurm's: {first_line(unexpected)}")
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)
            with self._lock:
                self._running = [one for one in self._running if one not in ended]


def _run(call: bytes) -> tuple[Any, BaseException | None]:
    """In a job: what the call returns or raises; one thread, so that scores are those of other engines."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    try:
        return run_pickled(call), None
    except Exception as error:
        if type(error).__module__.startswith("submitit"):  # what its signals raise wherever the call is
            raise
        return None, error


def _told(job: Any) -> tuple[Any, BaseException | None]:
    """What a job that has ended returned or raised, or what became of it; its files go if it went well."""
    import submitit

    try:
        result, error = job.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as lost:
        state = str(job.state)
        wanted = "TIMEOUT" if "timed-out" in str(lost) else state.split(" ")[0]
        if wanted in OUT_OF:
            return None, OverLimitError(f"a fold took more than its {OUT_OF[wanted]}; see {job.paths.stderr}")
        return None, WorkerLostError(
            f"job {job.job_id} of Slurm's was lost ({state}); see {job.paths.stderr}"
        )
    paths = job.paths
    for path in (
        paths.submission_file,
        paths.submitted_pickle,
        paths.result_pickle,
        paths.stdout,
        paths.stderr,
    ):
        path.unlink(missing_ok=True)
    return result, error
