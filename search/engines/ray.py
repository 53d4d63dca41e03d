"""A Ray cluster, or Ray on this machine alone.

Ray says where a fold runs, and starts again what the cluster loses; the fold itself runs on that node in the
same process of one thread as on this machine, under the same limits, and so to the same score. All nodes need
augsearch installed. To a node that does not see the driver's folder the workspace travels, and what else a
task reads, through Ray's store of objects (``ray_transfer.py``).
"""

from __future__ import annotations

import atexit
import logging
import os
import platform
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.engines.engine import FinalTrainer
from augsearch.search.engines.ray_errors import in_our_words
from augsearch.search.engines.ray_transfer import Sender, Sent, brought
from augsearch.search.engines.travel import Errand, Lacking, arrived, at_hand, call_at, errand_of
from augsearch.search.engines.worker import Limits, Place, limits_of
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.gpus import VISIBLE, on_a_gpu
from augsearch.trainers.system.threads import available_cores

if TYPE_CHECKING:  # they import torch, which the driver of a search does without
    from augsearch.trainers.tasks.final import FinalTraining
    from augsearch.trainers.tasks.final_job import FinalJob

P = ParamSpec("P")
R = TypeVar("R")

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray reports to its makers unless told not to."""
WAITED = 10
"""Seconds for an answer from the cluster's address."""


def start(settings: EngineSettings) -> RayEngine:
    """The engine, connected to the cluster at ``settings.address``; None: on this machine, started anew.

    Raises:
        UserError: Ray is not installed or does not answer, or has no such GPUs as are asked for.
    """
    if settings.device.startswith("cuda:"):
        raise UserError(f"device {settings.device}: Ray gives each fold a GPU; use --device cuda, or auto")
    limits = limits_of(settings)
    address = _address(settings)
    with _one_line(address):
        import ray

        begins = not ray.is_initialized()
        if begins:
            _knock(address)
            os.environ.update(QUIET | os.environ)
            cores = settings.workers or settings.workers_per_device or available_cores()
            here = {} if address else {"num_cpus": cores, "include_dashboard": False}
            # "local": without an address Ray would join a cluster that somebody else has started here.
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
            _be_quiet()
    if settings.device == "cuda" and not ray.cluster_resources().get("GPU"):
        raise UserError("device cuda: Ray knows of no GPU; use --device auto or cpu")
    engine = RayEngine(limits, settings.device, settings.workers, settings.workers_per_device)
    engine.leaves_ray = begins
    return engine


def _address(settings: EngineSettings) -> str | None:
    """The cluster's; None: Ray is started on this machine."""
    return settings.address or os.environ.get("RAY_ADDRESS") or None


def final_trainer(settings: EngineSettings) -> FinalTrainer | None:
    """What trains the final model on the cluster; None: there is none but Ray on this machine."""
    if _address(settings) is None:
        return None

    def train(job: FinalJob, say: Callable[[str], None]) -> FinalTraining:
        from augsearch.search.engines.ray_final import train_on_cluster

        return train_on_cluster(job, lambda: start(settings), say)

    return train


@contextmanager
def _one_line(address: str | None) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError:
        raise UserError(
            "engine ray needs Ray, which is not installed: pip install 'augsearch[ray]'"
        ) from None
    except Exception as error:  # there are too many that Ray raises
        where = "this machine" if address is None else address
        raise UserError(f"--engine ray: Ray on {where} can't be reached: {first_line(error)}") from None


def _be_quiet() -> None:
    """Keep what Ray says of nodes off stdout, which may be JSON: ``log_to_driver`` has no say in that."""
    from ray._private import worker

    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False


def _knock(address: str | None) -> None:
    """Find out in seconds that nobody is there: Ray itself would wait for minutes.

    Raises:
        OSError: so it is.
    """
    place = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address or "")
    if place:
        socket.create_connection((place[1], int(place[2])), WAITED).close()


class RayEngine:
    """As many tasks at once as the cluster has room for, now: nodes may come and go.

    A task takes one core, and where there are GPUs its share of one. What Ray loses, with its node or to its
    own watch over memory, fails its task as a worker's death does.
    """

    def __init__(self, limits: Limits, device: str, workers: int | None, each: int | None) -> None:
        self._limits, self._device, self._workers, self._each = limits, device, workers, each
        self.leaves_ray = False
        """Whether closing it leaves the cluster: not where the program around it was there before."""
        self._running: set[Any] = set()
        self._sender = Sender()
        atexit.register(self.close)  # before Ray's own end, which would wait

    @property
    def slots(self) -> int:
        """How many tasks run at once: as many as the nodes that are there now have room for."""
        import ray

        room = int(self._room(ray.cluster_resources()))
        return max(1, min(room, self._workers or room))

    def _room(self, resources: dict[str, float]) -> float:
        """How many tasks the cluster's nodes together can run, where they have these resources."""
        cores = resources.get("CPU", 0)
        if not self.on_gpus(resources):
            return cores
        return min(cores, resources.get("GPU", 0) * self._on_a_gpu(resources))

    def waits_for(self) -> str | None:
        """What all tasks wait for: nodes, where none is left that could run one; None: they can run."""
        import ray

        if not self._running:
            return None
        resources = ray.cluster_resources()
        if self._room(resources) >= 1:
            return None
        wanted = "GPU" if self.on_gpus(resources) else "core"
        return f"no node of the Ray cluster has a {wanted}; this goes on as soon as one joins it"

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a node run ``function``, which must be importable by name, on picklable arguments.

        A workspace's folder as its first argument is, over there, the folder that the node has of it.
        """
        future: Future[R] = Future()
        try:
            self._launch(errand_of(function, args, kwargs), {}, future)
        except Exception as error:  # what can't be sent, or Ray's own
            future.set_exception(in_our_words(error))
        return future

    def _launch(self, task: Errand, sent: Sent, future: Future[Any]) -> None:
        """Have a node run ``task``, with the files that were sent for it, on behalf of ``future``."""
        import ray

        task = self._sender.with_manifest(task)
        resources = ray.cluster_resources()
        share = 1 / self._on_a_gpu(resources) if self.on_gpus(resources) else 0
        reference = _remote().options(num_gpus=share).remote(task, self._limits, dict(sent))
        self._running.add(reference)

        def done(theirs: Future[Any]) -> None:
            self._running.discard(reference)
            if theirs.cancelled():
                return
            if theirs.exception() is None and isinstance(theirs.result(), Lacking):
                self._sender.send(task, sent, theirs.result(), then=again)
            elif future.set_running_or_notify_cancel():
                try:
                    future.set_result(arrived(task, theirs.result()))
                except Exception as error:
                    future.set_exception(in_our_words(error))

        def again(more: Sent | BaseException) -> None:
            try:
                if isinstance(more, BaseException):
                    raise more
                self._launch(task, more, future)
            except Exception as error:  # files that can't be read, or Ray's own
                future.set_exception(in_our_words(error))

        reference.future().add_done_callback(done)

    def close(self) -> None:
        """Stop what still runs, and leave the cluster if this engine came to it."""
        import ray

        atexit.unregister(self.close)
        self._sender.close()
        if ray.is_initialized():
            for reference in tuple(self._running):
                ray.cancel(reference, force=True)
            if self.leaves_ray:
                ray.shutdown()

    def on_gpus(self, resources: dict[str, float]) -> bool:
        """Whether tasks run on GPUs, where the cluster has these resources."""
        return self._device == "cuda" or (self._device == "auto" and resources.get("GPU", 0) > 0)

    def _on_a_gpu(self, resources: dict[str, float]) -> int:
        """How many tasks share one."""
        return self._each or on_a_gpu(resources.get("CPU", 0), resources.get("GPU", 0))


@cache
def _remote() -> Any:
    """What Ray runs; the decorator that is not typed is applied here alone."""
    import ray

    return ray.remote(num_cpus=1, max_retries=0)(_run)


_places: dict[str | None, Place] = {}
"""In a process of Ray's: where its tasks run, by the GPU that they see."""


def _run(task: Errand, limits: Limits, sent: Sent) -> Any:
    """In a process of Ray's: what the call returns, from the process of one thread that is kept beside it, or
    what this node lacks for it."""
    device = os.environ.get(VISIBLE)
    try:
        folder = None if task.folder is None else at_hand(task, sent, lambda file: brought(sent[file.key]))
        if isinstance(folder, Lacking):
            return folder
        return _places.setdefault(device, Place(device)).run(call_at(task, folder), limits)
    except OSError as error:
        if error.errno is None:
            raise
        said = f"{error.strerror} on {platform.node()}"
        if isinstance(error, FileNotFoundError) and task.folder is None:
            said += "; for this all nodes must see the project's folder at one path"
        raise OSError(error.errno, said, error.filename) from error
