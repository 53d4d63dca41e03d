"""A fold's teacher is a task before all that ask for it: made once, and waited for in no worker."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import Distillation, Policy
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.tasks import evaluate, make_teacher
from augsearch.search.pipelines.trainings import OnFold, Training, run_trainings
from augsearch.search.race.folds import FoldRunner
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.workspace.candidate import Candidate, ProxySettings
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

FOLD, LATER = Fold(Stage.SEARCH, 1), Fold(Stage.SEARCH, 2)
PLAIN = Candidate(policy=Policy(num_ops=1, magnitude=5))
TAUGHT = PLAIN.model_copy(update={"distillation": Distillation(temperature=2, alpha=0.5)})
ALSO_TAUGHT = TAUGHT.model_copy(update={"policy": Policy(num_ops=2, magnitude=9)})


class Engine(InlineEngine):
    """Runs here, and remembers what; a teacher may take until it is waited for, or diverge."""

    slots = 4

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._threads = ThreadPoolExecutor(1)
        self.diverges = False
        self.waited_for = threading.Event()

    def submit(self, function: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        self.ran.append(function.__name__)
        if function is make_teacher and self.diverges:
            failed: Future[Any] = Future()
            failed.set_exception(TrainingDivergedError("the loss is no number"))
            return failed
        if function is make_teacher:
            return self._threads.submit(self._later, function, *args)
        return super().submit(function, *args, **kwargs)

    def _later(self, function: Any, *args: Any) -> Any:
        self.waited_for.wait()
        return function(*args)


@pytest.fixture
def workspace(stripes: str) -> Workspace:
    data = open_images(stripes, image_size=None, cache=Path("cache"))
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=40, seed=0, device="cpu", teacher="tiny")
    return write_workspace(Path("work/key"), data, splits, proxy)


def results(folds: FoldRunner[str]) -> dict[str, FoldResult | BaseException]:
    found = {}
    while not folds.is_idle:
        found |= {owner: result for owner, _, result in folds.wait()}
    return found


def test_trainings_that_are_no_trials_have_their_teachers_made_before_them(workspace: Workspace) -> None:
    engine = Engine()
    engine.waited_for.set()
    asked: list[Training[str] | OnFold[str]] = [
        Training("other", evaluate, (workspace.folder, PLAIN, LATER)),
        OnFold("taught", TAUGHT, FOLD),
        OnFold("also", ALSO_TAUGHT, FOLD),
        OnFold("plain", PLAIN, FOLD),
    ]
    found = dict(run_trainings(asked, engine, workspace))
    assert {owner for owner, result in found.items() if isinstance(result, FoldResult)} == set(found)
    assert sorted(found) == ["also", "other", "plain", "taught"]
    assert engine.ran == ["evaluate", "make_teacher", "evaluate", "evaluate", "evaluate"]


def test_a_teacher_is_made_once_for_all_who_ask(workspace: Workspace) -> None:
    engine = Engine()
    folds: FoldRunner[str] = FoldRunner(engine, workspace, later=[FOLD, LATER])
    folds.submit("plain", PLAIN, FOLD)
    folds.submit("taught", TAUGHT, FOLD)
    assert engine.ran == ["evaluate", "make_teacher"]
    folds.submit("also", ALSO_TAUGHT, FOLD)
    assert engine.ran == ["evaluate", "make_teacher", "make_teacher"]  # who waits leaves its slot to the next
    assert not folds.is_full
    folds.submit("again", TAUGHT, FOLD)
    assert folds.is_full
    engine.waited_for.set()
    found = results(folds)
    assert engine.ran == ["evaluate", *["make_teacher"] * 2, *["evaluate"] * 3]
    folds.submit("later", TAUGHT, LATER)
    results(folds)
    assert engine.ran == ["evaluate", *["make_teacher"] * 2, *["evaluate"] * 4]
    asked = {"plain": PLAIN, "taught": TAUGHT, "also": ALSO_TAUGHT, "again": TAUGHT}
    for owner, candidate in asked.items():
        result = found[owner]
        assert isinstance(result, FoldResult)
        # Not its score: the teacher is made in another thread meanwhile, and so are torch's threads shared.
        assert (result.teacher_images > 0) == (candidate is not PLAIN)


def test_one_that_was_made_before_is_not_made_again(workspace: Workspace) -> None:
    make_teacher(workspace.folder, FOLD)
    engine = Engine()
    folds: FoldRunner[str] = FoldRunner(engine, workspace)
    folds.submit("taught", TAUGHT, FOLD)
    results(folds)
    assert engine.ran == ["evaluate"]


def test_where_it_fails_all_who_wait_have_failed_and_the_next_has_it_tried_again(
    workspace: Workspace,
) -> None:
    engine = Engine()
    engine.diverges = True
    folds: FoldRunner[str] = FoldRunner(engine, workspace)
    for owner in ("one", "other"):
        folds.submit(owner, TAUGHT, FOLD)
    found = results(folds)
    assert all(isinstance(result, TrainingDivergedError) for result in found.values())
    assert found.keys() == {"one", "other"}
    engine.diverges = False
    engine.waited_for.set()
    folds.submit("next", TAUGHT, FOLD)
    assert isinstance(results(folds)["next"], FoldResult)
