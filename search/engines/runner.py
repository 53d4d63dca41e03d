"""Tasks on an engine: submitted, waited for, and run again where a worker was lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine, WorkerLostError
from augsearch.trainers.workspace.folds import FoldResult

TRIES = 2
"""How often a task is run whose worker is lost, before that counts as its result."""

Owner = TypeVar("Owner")
Begin = Callable[[], Future[FoldResult]]
"""Submits a task."""


@dataclass(frozen=True, slots=True)
class _Submitted(Generic[Owner]):
    owner: Owner
    begin: Begin
    tries: int


class Runner(Generic[Owner]):
    """Has tasks run, each for an owner, as many at once as the engine has slots."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: dict[Future[FoldResult], _Submitted[Owner]] = {}

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return len(self._running) >= self._engine.slots

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def submit(self, owner: Owner, begin: Begin) -> None:
        """Have the task that ``begin`` submits run for ``owner``."""
        self._running[begin()] = _Submitted(owner, begin, 1)

    def wait(self) -> list[tuple[Owner, FoldResult | BaseException]]:
        """Wait until a task or some are done: their results, or what went wrong, in order of submission.

        Raises:
            UserError: the input is bad, so that no task can be run.
        """
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        ended: list[tuple[Owner, FoldResult | BaseException]] = []
        for future in [future for future in self._running if future in done]:
            task, error = self._running.pop(future), future.exception()
            if isinstance(error, UserError):
                raise error
            if isinstance(error, WorkerLostError) and task.tries < TRIES:
                self._running[task.begin()] = _Submitted(task.owner, task.begin, task.tries + 1)
            else:
                ended.append((task.owner, error or future.result()))
        return ended
