"""What every engine can do, and the ways in which a task may fail that are not the task's own.

A new engine is one file beside this one with a function ``start(settings: EngineSettings) -> Engine``;
``--engine`` and the contract tests find it by its name; a file that only helps it is named ``NAME_…``. One
that trains final models elsewhere too has a function ``final_trainer(settings: EngineSettings) ->
FinalTrainer | None``. An engine whose tasks may all have to wait has a method ``waits_for() -> str | None``:
for what, in a sentence to a person; it is asked in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:  # they import torch, which the driver of a search does without
    from augsearch.trainers.tasks.final import FinalTraining
    from augsearch.trainers.tasks.final_job import FinalJob

P = ParamSpec("P")
R = TypeVar("R")


class WorkerLostError(RuntimeError):
    """The process that ran a task died, or lost its GPU; the task may be tried again."""


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


class FinalTrainer(Protocol):
    """Trains a final model somewhere else."""

    def __call__(self, job: FinalJob, say: Callable[[str], None]) -> FinalTraining:
        """Train as ``job`` says, as ``trainers.tasks.final.train_final`` does, whose files lie here too.

        It learns from no images without labels. ``say`` is given what a person is to know, in a line.

        Raises:
            UserError: it can't be trained there; the same call goes on after the last epoch that is kept.
        """
