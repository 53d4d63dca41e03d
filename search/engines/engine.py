"""What every engine can do, and the ways in which a task may fail that are not the task's own.

A new engine is one file beside this one with a function ``start(settings: EngineSettings) -> Engine``;
``--engine`` and the contract tests find it by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class WorkerLostError(RuntimeError):
    """The process that ran a task died; the task may be tried again."""


class OverLimitError(RuntimeError):
    """A task took more time or memory than one may; tried again it would do the same."""


class EngineFailedError(RuntimeError):
    """Nothing can be run: the machine's fault, and no task's."""


class Engine(Protocol):
    """Runs pure functions somewhere; ``concurrent.futures.wait`` says which are done."""

    @property
    def slots(self) -> int:
        """How many tasks run at once."""

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have ``function`` run; the future holds its result, its error or one of the errors above."""

    def close(self) -> None:
        """Stop whatever still runs and let go of everything."""
