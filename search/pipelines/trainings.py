"""Trainings on an engine that are no trial's: as many at once as it has slots, each with its owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from augsearch.search.engines.engine import Engine
from augsearch.search.engines.runner import Runner
from augsearch.trainers.workspace.folds import FoldResult

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Training(Generic[Owner]):
    """What an engine is to run, and for whom."""

    owner: Owner
    function: Callable[..., FoldResult]
    arguments: tuple[Any, ...]


def run_trainings(
    trainings: Iterable[Training[Owner]], engine: Engine
) -> Iterator[tuple[Owner, FoldResult | BaseException]]:
    """Run ``trainings`` in order; yields the result of each, or what went wrong, as it is known.

    Raises:
        UserError: the input is bad, so that no training can be run.
    """
    queue, tasks = deque(trainings), Runner[Owner, FoldResult](engine)
    while queue or not tasks.is_idle:
        while queue and tasks.free > 0:
            one = queue.popleft()
            tasks.submit(one.owner, partial(engine.submit, one.function, *one.arguments))
        yield from tasks.wait()
