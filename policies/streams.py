"""Random streams that do not repeat one another: in a ``DataLoader``'s workers, in processes, in threads."""

from __future__ import annotations

import multiprocessing
import os
import sys
from threading import Lock
from typing import Any

import numpy as np

from augsearch.policies.errors import UserError

_here = os.getpid()
"""The number of this process: asking the system for it takes a twentieth of a small image."""


def _forked() -> None:
    global _here
    _here = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class RandomStream:
    """A random stream that is another one in each process, and may be shared by threads.

    In the process where it was made it depends on the seed alone; there a copy goes on as the original does.
    In a worker of a torch ``DataLoader`` it also depends on the seed that the loader gave the worker, and so
    on ``torch.manual_seed`` or the loader's ``generator``: it is another one in each worker and epoch.
    In a process of any other pool it begins anew with each copy that arrives there, by chance: who does what
    in a pool is chance anyway. What another main process unpickles, a training that goes on, goes on.
    """

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise UserError(f"seed must be a whole number ≥ 0, got {seed!r}")
        self.seed = int(seed)
        self._worker: int | None = None
        self._process = _here
        self._arrived = False
        """Whether it was unpickled, and has not been used since."""
        self._lock = Lock()
        self.rng = np.random.default_rng(self.seed)

    def turn(self) -> _Turn:
        """Have ``rng`` for oneself, as that of this process; gives whether it has become another one."""
        if self._process != _here and not self._arrived:
            self._lock = Lock()  # a thread that this forked process lacks may have held it
        return _Turn(self, self._lock)

    @property
    def is_followed(self) -> bool:
        """Whether ``rng`` is that of this process and worker already."""
        return self._process == _here and self._worker == _worker_seed() and not self._arrived

    def follow(self) -> bool:
        """Make ``rng`` that of this process and worker; whether it was another's until now."""
        worker = _worker_seed()
        moved = self._process != _here
        # In a process that no other one began, what was unpickled is a training's that goes on.
        apart = moved and not (self._arrived and multiprocessing.parent_process() is None)
        self._process, self._arrived = _here, False
        if worker is not None:
            if worker == self._worker:
                return False
            self._worker = worker
            self.rng = np.random.default_rng([self.seed, worker])
            return True
        self._worker = None
        if apart:
            self.rng = np.random.default_rng([self.seed, int.from_bytes(os.urandom(16))])
        return apart

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _arrived=True)


class _Turn:
    """A thread's turn with a stream, for ``with``: a generator's would take a twentieth of a small image."""

    __slots__ = ("_lock", "_stream")

    def __init__(self, stream: RandomStream, lock: Lock) -> None:
        self._stream, self._lock = stream, lock

    def __enter__(self) -> bool:
        self._lock.acquire()
        try:
            return self._stream.follow()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *raised: object) -> None:
        self._lock.release()


def _worker_seed() -> int | None:
    """The seed of the torch ``DataLoader`` worker that this is; None in any other process."""
    data = sys.modules.get("torch.utils.data")  # not loaded: no worker
    worker = data.get_worker_info() if data else None
    return worker.seed if worker else None
