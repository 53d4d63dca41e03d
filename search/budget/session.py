"""The time of a run that has a budget: how much is spent, and what of the plan still fits.

The study keeps it, so that a run which is taken up again counts what was spent before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict

from augsearch.search.budget.plan import (
    GO_ON,
    LEAST_CONFIRMED,
    MOST_CANDIDATES,
    Sizes,
    Speed,
    Task,
    check_seconds,
    confirmation_seconds,
    final_seconds,
    fold_seconds,
    plan,
    search_seconds,
)
from augsearch.search.statistics.looks import FIRST
from augsearch.search.studies.study import Entry
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult

ATTRIBUTE = "budget"
"""The study's attribute that holds the record."""
RECENT = 0.2
"""The weight of the last fold in what a fold is thought to take: machines get busy and idle again."""
FEWEST_CHECKED, FEWEST_SEEDS, WORTH_ALL, MOST_SEEDS = 2, 3, 3, 5
"""Policies that are compared on the final network at least, with how many seeds, of which two would leave an
interval of no use; how many seeds there must be to compare more policies; and the most."""
SURE = 0.9
"""The share of the time left that the final training is planned to take."""


class Record(BaseModel):
    """What a study keeps of its budget."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seconds: float
    """The budget."""
    spent: float = 0.0
    speed: Speed | None = None
    """As measured before the plan."""
    sizes: Sizes | None = None
    """As planned at the beginning."""
    spent_before: float = 0.0
    """The part of ``spent`` that came before the plan."""
    trials: int | None = None
    """The trials of the search, once it is over."""
    confirm_folds: int | None = None
    """The folds of the confirmation, once it has begun; fewer where time ran out."""
    final_check: tuple[int, int] | None = None
    """How many policies were compared on the final network, with how many seeds, once that has begun."""
    final_epochs: int | None = None
    """The epochs of the final training, once it has begun."""
    checked_before: tuple[int, int] | None = None
    """``final_check`` under a smaller budget."""
    epochs_before: int | None = None
    """``final_epochs`` under a smaller budget."""
    final_size: int | None = None
    """Side in pixels of the final training's images, where the budget decided it."""

    def longer(self) -> Record:
        """The record of a larger budget: what was over may go on, and never comes to less than it was."""
        return self.model_copy(
            update={
                **dict.fromkeys(("trials", "confirm_folds", "final_check", "final_epochs")),
                "checked_before": self.final_check or self.checked_before,
                "epochs_before": self.final_epochs or self.epochs_before,
            }
        )


def record_of(study: optuna.Study) -> Record | None:
    """What ``study`` keeps of its budget; None: it has none."""
    known = study.user_attrs.get(ATTRIBUTE)
    return None if known is None else Record.model_validate(known)


class Session:
    """One run within a budget."""

    def __init__(
        self, study: optuna.Study, seconds: float, task: Task, clock: Callable[[], float], started: float
    ) -> None:
        """``clock`` tells seconds; the run began when it told ``started``."""
        self._study, self.task, self._clock = study, task, clock
        known = record_of(study) or Record(seconds=seconds)
        self._began = started - known.spent
        longer = seconds > known.seconds
        self._record = (known.longer() if longer else known).model_copy(update={"seconds": seconds})
        self._pace, self._slowness = 0.0, 1.0
        if self.is_planned:
            self._pace = fold_seconds(self.sizes, self.speed)
            if longer:
                self._keep(sizes=self._larger())

    @property
    def seconds(self) -> float:
        """The budget."""
        return self._record.seconds

    @property
    def spent(self) -> float:
        """Seconds, those of runs before this one too."""
        return self._clock() - self._began

    @property
    def is_planned(self) -> bool:
        """Whether there is a plan already."""
        return self._record.sizes is not None

    @property
    def sizes(self) -> Sizes:
        """As planned."""
        assert self._record.sizes is not None
        return self._record.sizes

    @property
    def speed(self) -> Speed:
        """As measured before the plan."""
        assert self._record.speed is not None
        return self._record.speed

    @property
    def final_size(self) -> int | None:
        """Side in pixels of the final training's images; None: the budget did not decide it."""
        return self._record.final_size

    @property
    def most_trials(self) -> int:
        """Trials of the search; while it goes on, as many as there may come to be.

        No more than the usual ones and twice the planned ones: where folds turn out quicker than was planned,
        more of such short ones say less than a longer confirmation and a comparison on the final network do.
        """
        if "trials" in self.task.fixed:
            return self.task.usual.trials
        if self._record.trials is not None:
            return self._record.trials
        baselines, planned = self.task.baselines, self.sizes.trials
        more = max(self.task.usual.trials - baselines, 2 * (planned - baselines))
        return max(planned, baselines + min(MOST_CANDIDATES, more))

    @property
    def search_is_over(self) -> bool:
        """Whether the search has ended for want of time, or of anything to try."""
        return self._record.trials is not None

    def make_plan(self, speed: Speed, final_size: int | None = None) -> None:
        """Plan what fits into the time that is left, with the final training at ``final_size`` if given."""
        sizes = plan(self.task, speed, self.left)
        self._keep(speed=speed, sizes=sizes, spent_before=self.spent, final_size=final_size)
        self._pace = fold_seconds(self.sizes, speed)

    def _larger(self) -> Sizes:
        """The plan for more time than before: of folds as they were."""
        fixed = {"folds", "fold_size", "epochs"}
        usual = {name: getattr(self.sizes, name) for name in fixed}
        task = self.task.with_fixed(**usual)
        return plan(task, self.speed, self.left)

    def note(self) -> None:
        """Keep what is spent by now."""
        self._keep()

    def fold_done(self, candidate: Candidate, result: FoldResult) -> None:
        """Learn from a fold how fast it goes."""
        self._pace += RECENT * (result.seconds - self._pace)
        if candidate.distillation is None and candidate.semi is None:
            slowness = result.seconds / fold_seconds(self.sizes, self.speed)
            self._slowness += RECENT * (slowness - self._slowness)
        self.note()

    def may_begin_trial(self) -> bool:
        """Whether another trial fits into the search's share of the time until the final training.

        The share is as planned: on a machine that became slower, search and confirmation both get shorter.
        Half of the planned candidates are tried as long as the least confirmation fits beside them.
        """
        if "trials" in self.task.fixed:
            return True
        trial = self.sizes.folds * self._pace
        if self._begun < (self.task.baselines + self.sizes.trials) / 2:
            entries = self.task.baselines + self.task.finalists + self.task.teacher
            least = LEAST_CONFIRMED * self._pace * entries / self.speed.workers
            return trial + least <= self._left_before_final
        searching = search_seconds(self.task, self.sizes, self.speed)
        fold, workers = fold_seconds(self.sizes, self.speed), self.speed.workers
        confirming = confirmation_seconds(self.task, self.sizes, fold, workers)
        gone = self.spent - self._record.spent_before
        end = (gone + self._left_before_final) * searching / (searching + confirming)
        return gone + trial <= end

    def search_ended(self, trials: int) -> None:
        """Keep that the search is over."""
        self._keep(trials=trials)

    def confirm_folds(self, finalists: Sequence[Entry], done: int = 0) -> int:
        """Fresh folds of a finalist at most: those ``done``, and what there is time for; decided once."""
        if "confirm_folds" in self.task.fixed:
            return self.task.usual.confirm_folds
        if self._record.confirm_folds is None:
            fold = self._pace * _trainings(finalists) / self.speed.workers
            more, of_all = self._left_before_final / fold, max(0, FIRST - done)
            folds = done + (more if more <= of_all else of_all + (more - of_all) / GO_ON)
            most = max(done, self.task.usual.confirm_folds)
            self._keep(confirm_folds=min(most, max(LEAST_CONFIRMED, done, math.floor(folds))))
        assert self._record.confirm_folds is not None
        return self._record.confirm_folds

    def may_confirm(self, fold: int, going: Sequence[Entry]) -> bool:
        """Whether the confirmation's fold of this number fits for all who are ``going`` on; else it ends."""
        if fold < LEAST_CONFIRMED or "confirm_folds" in self.task.fixed:
            return True
        seconds = self._pace * _trainings(going) / self.speed.workers
        if self._left_before_final >= seconds:
            return True
        self._keep(confirm_folds=fold)
        return False

    def final_check(self, entries: int) -> tuple[int, int]:
        """How many of ``entries`` to compare on the final network, with how many seeds; decided once.

        By the time that is left beside the final training. All of them where three seeds of each fit, else
        the first two, because few seeds tell little; where those don't fit either, none.
        """
        if self._record.final_check is None:
            fitting = 0
            if self.speed.check_images:
                one = self._slowness * self.task.check_passes / self.speed.check_images
                fitting = math.floor((self._left_before_final + self._check_seconds) / one)
            ways = [(entries, WORTH_ALL), (FEWEST_CHECKED, FEWEST_SEEDS)]
            fits = [many for many, least in ways if fitting >= many * least]
            many = fits[0] if fits else 0
            found = (many, min(MOST_SEEDS, fitting // many) if many else 0)
            self._keep(final_check=max(found, self._record.checked_before or found))
        assert self._record.final_check is not None
        return self._record.final_check

    @property
    def epochs_before(self) -> int | None:
        """Epochs of the final training under a smaller budget; None: there was none."""
        return self._record.epochs_before

    def final_epochs(self, usual: int, cost: float, trained: int = 0) -> int:
        """Epochs of the final training, by the time that is left; decided once.

        ``cost``: how many times as long as usual an epoch takes, for teachers and unlabeled images.
        ``trained``: epochs of a model that is there already, which costs nothing.
        """
        if "final_epochs" in self.task.fixed:
            return usual
        if self._record.final_epochs is None:
            epoch = cost * self._slowness * self.task.final_passes / self.speed.final_images
            fitting = math.floor(SURE * (self.left - self.speed.reserve) / epoch)
            self._keep(final_epochs=max(trained, min(usual, max(self.task.least_final, fitting))))
        assert self._record.final_epochs is not None
        return self._record.final_epochs

    @property
    def _begun(self) -> int:
        trials = self._study.get_trials(deepcopy=False)
        return sum(trial.state is not TrialState.WAITING for trial in trials)

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.seconds - self.spent

    @property
    def _left_before_final(self) -> float:
        """Seconds until finalists are to be compared on the final network, and that to be trained."""
        final = self._slowness * final_seconds(self.task, self.sizes, self.speed)
        return self.left - final - self._check_seconds - self.speed.reserve

    @property
    def _check_seconds(self) -> float:
        return self._slowness * check_seconds(self.task, self.sizes, self.speed)

    def _keep(self, **changes: object) -> None:
        """Write the record, what is spent with it."""
        self._record = self._record.model_copy(update={**changes, "spent": round(self.spent, 2)})
        self._study.set_user_attr(ATTRIBUTE, self._record.model_dump(mode="json"))


def _trainings(entries: Sequence[Entry]) -> float:
    """Trainings of one fold of all ``entries``, a teacher's among them."""
    own = sum(entry.candidate.passes for entry in entries)
    return own + any(entry.candidate.training.asks_teacher for entry in entries)
