"""Trainings on an engine that are no trial's: as many at once as it has slots, each with its owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from augsearch.search.engines.engine import Engine
from augsearch.search.race.folds import FoldRunner
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class OnFold(Generic[Owner]):
    """A candidate that is to be trained on a fold, and for whom."""

    owner: Owner
    candidate: Candidate
    fold: Fold


@dataclass(frozen=True, slots=True)
class Training(Generic[Owner]):
    """What else an engine is to run, and for whom."""

    owner: Owner
    function: Callable[..., FoldResult]
    arguments: tuple[Any, ...]


def run_trainings(
    trainings: Sequence[Training[Owner] | OnFold[Owner]], engine: Engine, workspace: Workspace
) -> Iterator[tuple[Owner, FoldResult | BaseException]]:
    """Run ``trainings`` in order; yields the result of each, or what went wrong, as it is known.

    The teachers of folds are tasks of their own, made before what asks for them.

    Raises:
        UserError: the input is bad, so that no training can be run.
    """
    queue = deque(trainings)
    later = dict.fromkeys(one.fold for one in trainings if isinstance(one, OnFold))
    tasks: FoldRunner[Owner] = FoldRunner(engine, workspace, later=later)
    while queue or not tasks.is_idle:
        while queue and not tasks.is_full:
            one = queue.popleft()
            if isinstance(one, OnFold):
                tasks.submit(one.owner, one.candidate, one.fold)
            else:
                tasks.submit_other(one.owner, partial(engine.submit, one.function, *one.arguments))
        for owner, _, result in tasks.wait():
            yield owner, result
