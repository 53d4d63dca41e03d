"""Folds on an engine, what is known of them not trained again."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

from augsearch.search.engines.engine import Engine
from augsearch.search.engines.runner import Runner
from augsearch.search.engines.tasks import evaluate
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult

Owner = TypeVar("Owner")
Known = Mapping[tuple[Candidate, Fold], FoldResult]
"""Results that need no training."""


class FoldRunner(Generic[Owner]):
    """Has candidates trained on folds, each for an owner, as many at once as the engine has slots."""

    def __init__(self, engine: Engine, workspace: Workspace, known: Known | None = None) -> None:
        """``known``: what is looked up instead of being trained."""
        self._engine, self._workspace, self._known = engine, workspace, known or {}
        self._tasks: Runner[tuple[Owner, Fold]] = Runner(engine)

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return self._tasks.is_full

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return self._tasks.is_idle

    def submit(self, owner: Owner, candidate: Candidate, fold: Fold) -> None:
        """Have ``candidate`` trained on ``fold``."""

        def begin() -> Future[FoldResult]:
            known = self._known.get((candidate, fold))
            if known is None:
                return self._engine.submit(evaluate, self._workspace.folder, candidate, fold)
            future: Future[FoldResult] = Future()
            future.set_result(known)
            return future

        self._tasks.submit((owner, fold), begin)

    def wait(self) -> list[tuple[Owner, Fold, FoldResult | BaseException]]:
        """Wait until a fold or some are done: their results, or what went wrong, in order of submission.

        Raises:
            UserError: the input is bad, so that no fold can be run.
        """
        return [(owner, fold, result) for (owner, fold), result in self._tasks.wait()]
