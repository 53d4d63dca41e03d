"""Folds on an engine, what is known of them not trained again; their teachers are tasks before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from augsearch.search.engines.engine import Engine
from augsearch.search.engines.runner import Runner
from augsearch.search.engines.tasks import evaluate, make_teacher
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage
from augsearch.trainers.workspace.left import LeftFiles

Owner = TypeVar("Owner")
Known = Mapping[tuple[Candidate, Fold], FoldResult]
"""Results that need no training."""


NO_FOLD = Fold(Stage.SEARCH, -1)
"""What is told of a training that is on none."""


class FoldsOf(Protocol):
    """What is asked of a workspace, whose images are none of the driver's business."""

    @property
    def folder(self) -> Path:
        """Where workers find it."""

    @property
    def trains_teachers(self) -> bool:
        """Whether folds that ask for a teacher have one that is trained for them."""

    def left_teacher(self, fold: Fold) -> LeftFiles | None:
        """The files of the teacher of ``fold``, if it was made before."""


class FoldRunner(Generic[Owner]):
    """Has candidates trained on folds, each for an owner, as many at once as the engine has slots.

    The first that asks for the teacher of a fold has it made; all that ask for it wait here and not in a
    worker, and the slots that they leave empty make the teachers of later folds.
    """

    def __init__(
        self,
        engine: Engine,
        workspace: FoldsOf,
        known: Known | None = None,
        later: Iterable[Fold] = (),
    ) -> None:
        """``known``: what is looked up instead of being trained. ``later``: the folds that will be wanted, in
        their order, as far as that is known."""
        self._engine, self._workspace, self._known = engine, workspace, known or {}
        self._tasks: Runner[tuple[Owner, Fold] | Fold, FoldResult | LeftFiles] = Runner(engine)
        self._teachers: dict[Fold, LeftFiles] = {}
        self._waiting: dict[Fold, list[tuple[Owner, Candidate]]] = {}
        """Who waits for the teacher of a fold, which is being made."""
        self._later = deque(later)

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken; who waits takes one, but for the one in which the teacher is made."""
        return self._tasks.free <= sum(len(owners) - 1 for owners in self._waiting.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return self._tasks.is_idle

    def submit(self, owner: Owner, candidate: Candidate, fold: Fold) -> None:
        """Have ``candidate`` trained on ``fold``."""
        if not self._lacks_teacher(candidate, fold):
            self._begin(owner, candidate, fold)
        elif fold in self._waiting:
            self._waiting[fold].append((owner, candidate))
            self._make_ahead(candidate)
        else:
            self._make_teacher(fold, [(owner, candidate)])

    def submit_other(self, owner: Owner, begin: Callable[[], Future[Any]]) -> None:
        """Have a training run that is on no fold; ``begin`` submits it to the engine."""
        self._tasks.submit((owner, NO_FOLD), begin)

    def wait(self) -> list[tuple[Owner, Fold, FoldResult | BaseException]]:
        """Wait until a fold or some are done: their results, or what went wrong, in order of submission.

        There are none where a teacher was done, for which folds had waited.

        Raises:
            UserError: the input is bad, so that no fold can be run.
        """
        ended: list[tuple[Owner, Fold, FoldResult | BaseException]] = []
        for asked, result in self._tasks.wait():
            if not isinstance(asked, Fold):
                assert not isinstance(result, LeftFiles)
                ended.append((*asked, result))
                continue
            waiting = self._waiting.pop(asked)
            if isinstance(result, LeftFiles):
                self._teachers[asked] = result
                for owner, candidate in waiting:
                    self._begin(owner, candidate, asked)
            else:
                assert isinstance(result, BaseException)
                ended += [(owner, asked, result) for owner, _ in waiting]
        return ended

    def _lacks_teacher(self, candidate: Candidate, fold: Fold) -> bool:
        """Whether a teacher must be made before ``candidate`` can be trained on ``fold``."""
        known = (candidate, fold) in self._known
        if known or not candidate.training.asks_teacher or not self._workspace.trains_teachers:
            return False
        if fold not in self._teachers:
            before = self._workspace.left_teacher(fold)
            if before is None:
                return True
            self._teachers[fold] = before
        return False

    def _make_teacher(self, fold: Fold, waiting: list[tuple[Owner, Candidate]]) -> None:
        self._waiting[fold] = waiting
        folder = self._workspace.folder
        self._tasks.submit(fold, lambda: self._engine.submit(make_teacher, folder, fold))

    def _make_ahead(self, candidate: Candidate) -> None:
        """Make the next teacher that ``candidate`` would ask for."""
        while self._later:
            fold = self._later.popleft()
            if fold not in self._waiting and self._lacks_teacher(candidate, fold):
                self._make_teacher(fold, [])
                return

    def _begin(self, owner: Owner, candidate: Candidate, fold: Fold) -> None:
        asks = candidate.training.asks_teacher and fold in self._teachers
        teacher = (self._teachers[fold],) if asks else ()

        def begin() -> Future[FoldResult | LeftFiles]:
            future: Future[FoldResult | LeftFiles] = Future()
            known = self._known.get((candidate, fold))
            if known is None:
                return self._engine.submit(evaluate, self._workspace.folder, candidate, fold, *teacher)
            future.set_result(known)
            return future

        self._tasks.submit((owner, fold), begin)
