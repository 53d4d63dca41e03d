"""In this process, one task after another: for debugging, and where processes are not to be had."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from augsearch.policies import UserError
from augsearch.search.settings.sections import EngineSettings

P = ParamSpec("P")
R = TypeVar("R")

ON_THIS_MACHINE = True
"""Its trainings find the devices of this machine, and no others."""


def start(settings: EngineSettings) -> InlineEngine:
    """The engine; there is one place to run in.

    Raises:
        UserError: more than one worker is asked for.
    """
    if settings.workers not in (None, 1):
        raise UserError(
            f"workers {settings.workers}: engine inline runs one fold at a time; use --engine local"
        )
    return InlineEngine()


class InlineEngine:
    """Runs a task when it is submitted."""

    slots = 1

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run ``function`` now and return its future, done."""
        future: Future[R] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing runs on."""
