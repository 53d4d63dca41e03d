"""A run within a budget: what it has to do, what is planned, and what of the plan its steps go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from augsearch.policies import Training
from augsearch.search.budget.plan import (
    FINAL_SIDES,
    TELLING_EPOCHS,
    Sizes,
    Speed,
    Task,
    largest_side,
)
from augsearch.search.budget.session import FEWEST_CHECKED, FEWEST_SEEDS, Session
from augsearch.search.budget.words import outlook_in_words, plan_in_words
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.final.plan import (
    SIDE,
    final_epochs,
    least_epochs,
    native_side_of,
    short_epochs,
    takes_any_side,
    usual_training,
)
from augsearch.search.inputs.picked import known_median_side
from augsearch.search.inputs.prepare import resized
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.measure import SCORING, measure, speed_of
from augsearch.search.settings.settings import PLANNED, Settings
from augsearch.search.space.space import Space
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.system.gpus import has_gpu
from augsearch.trainers.training.recipe import FINE_TUNED_EPOCHS
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

LISTENING = 0.35
"""What a student's training takes longer where a teacher looks at its images."""
PLANNED_CHECK = FEWEST_CHECKED * FEWEST_SEEDS
"""Short trainings of the final network that a budget plans; where there is more time, there are more."""
ENTRIES, SEEDS = 4, 3
"""Policies that are compared on it where there is time, and with how many seeds where there is no budget."""
WITH_TEACHER, WITH_UNLABELED = 1.2, 3.0
"""How many times as long candidates' folds take on average, if some of them distil, or use other images."""


def task_of(settings: Settings, data: Data, space: Space) -> Task:
    """What a run has to do; ``settings`` are as they were given, ``space`` is its study's."""
    workspace, final = data.workspace, settings.final.train
    trained_on = trained_on_of(settings, data)
    training, learned = usual_training(settings), len(data.splits.train)
    usual = Sizes(
        trials=settings.search.trials,
        folds=settings.search.folds,
        fold_size=workspace.proxy.fold_size,
        epochs=workspace.proxy.epochs,
        confirm_folds=settings.confirmation.folds,
        final_epochs=final_epochs(settings, trained_on, training) if final else 0,
        checked=_checked(settings),
    )
    scored = len(workspace.scored_images(Fold(Stage.CONFIRMATION, 0))[1])
    cost = WITH_TEACHER if settings.with_teacher else 1.0
    fixed = {*PLANNED} - {*settings.left_to_budget} if settings.seconds is not None else set()
    if not settings.compares_on_final or settings.final.seeds is not None:
        fixed = {*fixed, "checked"}
    return Task(
        usual=usual,
        baselines=len(space.baselines),
        finalists=settings.confirmation.finalists,
        final_passes=trained_on + round(scored / SCORING),
        teacher=settings.with_teacher,
        candidate_cost=cost * WITH_UNLABELED if settings.unlabeled.wanted else cost,
        fixed=frozenset(fixed if final else {*fixed, "final_epochs"}),
        classes=len(data.images.classes),
        least_final=least_epochs(trained_on, training),
        telling_epochs=TELLING_EPOCHS if workspace.proxy.weights == "none" else FINE_TUNED_EPOCHS,
        check_passes=short_epochs(settings, learned) * (learned + len(data.splits.validation) / SCORING),
    )


def _checked(settings: Settings) -> int:
    """Short trainings of the final network to plan for."""
    if not settings.compares_on_final:
        return 0
    seeds = settings.final.seeds
    if seeds is None and settings.seconds is not None:
        return PLANNED_CHECK
    return ENTRIES * (SEEDS if seeds is None else seeds)


def trained_on_of(settings: Settings, data: Data) -> int:
    """How many images the final training learns from."""
    splits = data.splits
    return len(splits.train) + (len(splits.validation) if settings.data.limit is None else 0)


def planned(
    session: Session, engine: Engine, data: Data, settings: Settings, display: Display
) -> tuple[Settings, Data]:
    """The settings and data of a run with the sizes that ``session`` has planned, now or before.

    Raises:
        UserError: no training can be measured.
    """
    if not session.is_planned:
        display.line("measuring how fast trainings are here")
        plan_with_measured(session, engine, data, settings)
        if session.final_size is not None:
            display.line(
                f"{settings.network} is to be trained at {session.final_size} px, for which there is time; "
                "--final-size gives another side"
            )
        task, sizes, speed = session.task, session.sizes, session.speed
        unit = "worker" if has_gpu(settings.engine.device) else "core"
        for line in plan_in_words(task, sizes, speed, session.spent, session.seconds, unit):
            display.line(line)
    sizes = session.sizes
    settings = settings.changed(
        trials=session.most_trials,
        folds=sizes.folds,
        fold_size=sizes.fold_size,
        epochs=sizes.epochs,
    )
    if session.final_size is not None:
        settings = settings.changed(final_size=session.final_size)
    return settings, resized(data, sizes.fold_size, sizes.epochs)


def plan_with_measured(session: Session, engine: Engine, data: Data, settings: Settings) -> None:
    """Measure, and have ``session`` plan with it; the final network's side too, where it takes any.

    Raises:
        UserError: no training can be measured.
    """
    session.make_plan(*measured_within(session.task, lambda: session.left, engine, data, settings))


def measured(engine: Engine, data: Data, settings: Settings) -> Speed:
    """How fast trainings are here, the final network's at the side that is given, or that it has of itself.

    Raises:
        UserError: no training can be measured.
    """
    speed = measure(engine, data, settings)
    side = native_side_of(settings) if takes_any_side(settings) else None
    quicker = 1.0 if side is None else (side / SIDE) ** 2
    return replace(speed, check_images=quicker * speed.final_images)


def measured_within(
    task: Task, left: Callable[[], float], engine: Engine, data: Data, settings: Settings
) -> tuple[Speed, int | None]:
    """How fast trainings are here, and the final network's side where it takes any.

    ``left``: tells the seconds that there are, when it is asked.

    Raises:
        UserError: no training can be measured.
    """
    if settings.data.source is None or not takes_any_side(settings):
        return measured(engine, data, settings), None
    whole = known_median_side(settings.data.source, settings.data.form, data.images.fingerprint)
    most = max(SIDE, min(FINAL_SIDES[0], whole))
    speed = measure(engine, data, settings.changed(final_size=SIDE))
    side = largest_side(task, speed.final_images, SIDE, left() - speed.reserve, most)
    final_images = (SIDE / side) ** 2 * speed.final_images
    return replace(speed, final_images=final_images, check_images=speed.final_images), side


def final_cost(training: Training, data: Data) -> float:
    """How many times as long as without teachers and other images an epoch of the final training takes."""
    cost, semi = 1.0, training.semi
    if training.asks_teacher:
        cost += LISTENING if data.workspace.given_teacher else 1.0 + LISTENING
    if semi is not None:
        cost *= 1 + semi.ratio
        cost *= 1 + technique_of(semi).most_students
    return cost


class Outlook:
    """Says once how long a run without a budget will take, after the first folds."""

    def __init__(self, display: Display, data: Data, settings: Settings, task: Task, workers: int) -> None:
        self._display, self._data, self._settings, self._workers = display, data, settings, workers
        self._task = task
        self._results: list[FoldResult] = []

    def fold_done(self, candidate: Candidate, result: FoldResult) -> None:
        """Take a fold into account."""
        self._results.append(result)
        if len(self._results) == self._workers:
            speed = speed_of(self._results, self._data, self._settings, self._workers)
            self._display.line(outlook_in_words(self._task, speed))
