"""Trainings on an engine that are no trial's: as many at once as it has slots, each with its owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine, WorkerLostError
from augsearch.trainers.workspace.folds import FoldResult

TRIES = 2
"""How often a training is begun whose worker is lost."""

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Training(Generic[Owner]):
    """What an engine is to run, and for whom."""

    owner: Owner
    function: Callable[..., FoldResult]
    arguments: tuple[Any, ...]
    tries: int = 1


def run_trainings(
    trainings: Iterable[Training[Owner]], engine: Engine
) -> Iterator[tuple[Owner, FoldResult | BaseException]]:
    """Run ``trainings`` in order; yields the result of each, or what went wrong, as it is known.

    Raises:
        UserError: the input is bad, so that no training can be run.
    """
    queue, running = deque(trainings), dict[Future[FoldResult], Training[Owner]]()
    while queue or running:
        while queue and len(running) < engine.slots:
            task = queue.popleft()
            running[engine.submit(task.function, *task.arguments)] = task
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in [future for future in running if future in done]:
            task, error = running.pop(future), future.exception()
            if isinstance(error, UserError):
                raise error
            if isinstance(error, WorkerLostError) and task.tries < TRIES:
                queue.appendleft(replace(task, tries=task.tries + 1))
            else:
                yield task.owner, error or future.result()
