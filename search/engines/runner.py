"""Tasks on an engine: submitted, waited for, and run again where a worker was lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine, WorkerLostError
from augsearch.search.engines.failures import Kind, disk_is_full, kind_of, machine_failed

TRIES = 3
"""How often a task is run whose worker dies, or whose files fail, before that counts as its result."""

Owner = TypeVar("Owner")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Submitted(Generic[Owner, Result]):
    owner: Owner
    begin: Callable[[], Future[Result]]
    tries: int


class Runner(Generic[Owner, Result]):
    """Has tasks run, each for an owner, as many at once as the engine has slots."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: dict[Future[Result], _Submitted[Owner, Result]] = {}
        self._stop: UserError | None = None

    @property
    def free(self) -> int:
        """How many slots are free; below 0 where the engine has fewer than before."""
        return self._engine.slots - len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nothing is left to be said."""
        return not self._running and self._stop is None

    def submit(self, owner: Owner, begin: Callable[[], Future[Result]]) -> None:
        """Have the task that ``begin`` submits run for ``owner``."""
        self._running[begin()] = _Submitted(owner, begin, 1)

    def wait(self) -> list[tuple[Owner, Result | BaseException]]:
        """Wait until a task or some are done: their results, or what went wrong, in order of submission.

        What the machine does to a task is no result of it: it is run again, and in the end the command stops.
        Who took too long would do so again.

        Raises:
            UserError: the input is bad, or the machine, so that no task can be run.
        """
        if self._stop is not None:
            raise self._stop
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        ended: list[tuple[Owner, Result | BaseException]] = []
        for future in [future for future in self._running if future in done]:
            task, error = self._running.pop(future), future.exception()
            if error is None:
                ended.append((task.owner, future.result()))
            elif isinstance(error, UserError):
                self._stop = self._stop or error
            elif self._may_try_again(error, task.tries):
                self._running[task.begin()] = _Submitted(task.owner, task.begin, task.tries + 1)
            elif kind_of(error) is Kind.MACHINE:
                self._stop = self._stop or machine_failed(error)
            else:
                ended.append((task.owner, error))
        if self._stop is not None and not ended:  # what is done is told first, so that it is kept
            raise self._stop
        return ended

    @staticmethod
    def _may_try_again(error: BaseException, tries: int) -> bool:
        """Whether it may go better the next time: not where the engine itself, or the disk, has given up."""
        return isinstance(error, WorkerLostError | OSError) and not disk_is_full(error) and tries < TRIES
