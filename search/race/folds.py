"""Folds on an engine: submitted, waited for, and run again where a worker was lost."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine, WorkerLostError
from augsearch.search.engines.tasks import evaluate
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult

TRIES = 2
"""How often a fold is run whose worker is lost, before that counts as its result."""

Owner = TypeVar("Owner")
Known = Mapping[tuple[Candidate, Fold], FoldResult]
"""Results that need no training."""


@dataclass(frozen=True, slots=True)
class _Submitted(Generic[Owner]):
    owner: Owner
    candidate: Candidate
    fold: Fold
    tries: int


class FoldRunner(Generic[Owner]):
    """Has candidates trained on folds, each for an owner, as many at once as the engine has slots."""

    def __init__(self, engine: Engine, workspace: Workspace, known: Known | None = None) -> None:
        """``known``: what is looked up instead of being trained."""
        self._engine, self._workspace, self._known = engine, workspace, known or {}
        self._running: dict[Future[FoldResult], _Submitted[Owner]] = {}

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return len(self._running) >= self._engine.slots

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def submit(self, owner: Owner, candidate: Candidate, fold: Fold) -> None:
        """Have ``candidate`` trained on ``fold``."""
        self._submit(_Submitted(owner, candidate, fold, 1))

    def _submit(self, task: _Submitted[Owner]) -> None:
        known = self._known.get((task.candidate, task.fold))
        if known is None:
            future = self._engine.submit(evaluate, self._workspace.folder, task.candidate, task.fold)
        else:
            future = Future()
            future.set_result(known)
        self._running[future] = task

    def wait(self) -> list[tuple[Owner, Fold, FoldResult | BaseException]]:
        """Wait until a fold or some are done: their results, or what went wrong, in order of submission.

        Raises:
            UserError: the input is bad, so that no fold can be run.
        """
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        ended: list[tuple[Owner, Fold, FoldResult | BaseException]] = []
        for future in [future for future in self._running if future in done]:
            task, error = self._running.pop(future), future.exception()
            if isinstance(error, UserError):
                raise error
            if isinstance(error, WorkerLostError) and task.tries < TRIES:
                self._submit(_Submitted(task.owner, task.candidate, task.fold, task.tries + 1))
            else:
                ended.append((task.owner, task.fold, error or future.result()))
        return ended
