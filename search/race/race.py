"""The driver: asks for candidates, has their folds run, reports, stops losers, tells.

It alone writes to the study. Workers run pure functions; one that dies costs its fold. Everything is
kept the moment it is known, so a driver that is killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.failures import Streak, reason_of
from augsearch.search.race.folds import FoldRunner, FoldsOf, Known
from augsearch.search.race.proposals import Proposals
from augsearch.search.settings.sections import PAIRED
from augsearch.search.settings.settings import Settings
from augsearch.search.space.suggest import suggest
from augsearch.search.studies.costs import searched
from augsearch.search.studies.driver_storage import together
from augsearch.search.studies.pruner import BESIDE
from augsearch.search.studies.study import (
    SAME_AS,
    baseline_of,
    counted,
    failed_baselines,
    fold_results,
    in_order,
    space_of,
    take_over_failed,
    take_up,
)
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A candidate enters the race, or takes it up again."""

    number: int
    baseline: str | None
    candidate: Candidate
    folds_done: int


@dataclass(frozen=True, slots=True)
class FoldDone:
    """A fold of a trial was run."""

    number: int
    baseline: str | None
    fold: int
    result: FoldResult


@dataclass(frozen=True, slots=True)
class TrialDone:
    """A trial ran all its folds, was stopped early, or failed."""

    number: int
    baseline: str | None
    state: TrialState
    score: float | None
    """Mean over its folds, by the search's metric: higher is better."""
    reason: str = ""
    same_as: int | None = None
    """The trial that was the same training, and whose folds it took over."""


Event = TrialStarted | FoldDone | TrialDone


@dataclass(slots=True, eq=False)
class _Contender:
    """A trial that is being run."""

    trial: optuna.trial.Trial
    candidate: Candidate
    baseline: str | None
    results: dict[int, FoldResult]
    """By fold; where several run side by side any may be missing yet."""
    reported: int
    """How many of them, in order, Optuna knows."""
    stopped: bool
    """Whether it was stopped before, and its driver killed before it could say so."""
    running: set[int] = field(default_factory=set)
    """Its folds that are being run."""
    loses: bool = False
    """Whether it is behind by what was reported."""
    failure: BaseException | None = None
    same: int | None = None
    """The number of the trial, still running, that is the same training: its folds are waited for."""

    @property
    def score(self) -> float:
        """The mean of the folds that are reported."""
        return sum(self.results[fold].score for fold in range(self.reported)) / self.reported

    def next_fold(self, folds: int) -> int | None:
        """The first fold that is neither run nor running; None: there is none, or none is to be run."""
        if self.loses or self.failure is not None or self.same is not None:
            return None
        left = (fold for fold in range(folds) if fold not in self.results and fold not in self.running)
        return next(left, None)

    def keep(self, fold: int, result: FoldResult) -> None:
        """Record what a fold came to."""
        self.trial.set_user_attr(f"fold {fold}", result.to_json())
        self.results[fold] = result

    def report(self) -> None:
        """Tell Optuna of the folds that are known, in their order."""
        while self.reported in self.results:
            self.trial.report(self.results[self.reported].score, step=self.reported)
            self.reported += 1


class Race:
    """One run of the search; iterate over it to make it happen."""

    def __init__(
        self,
        study: optuna.Study,
        engine: Engine,
        workspace: FoldsOf,
        settings: Settings,
        budget: int | None = None,
        known: Known | None = None,
        may_begin: Callable[[], bool] | None = None,
        baselines_race: bool = True,
    ) -> None:
        """``budget``: image passes of all trials after which no other begins; None: there is no limit.

        ``known``: results of folds that are looked up instead of being trained. ``may_begin``: whether there
        is time for another trial; the baselines come whatever it says. ``baselines_race``: whether those that
        are clearly behind stop as candidates do; else they run all their folds.
        """
        self._study, self._search = study, settings.search
        self._space = space_of(study, settings.space)
        self._proposals = Proposals(study, self._search.sampler, settings.seed, self._space)
        self._budget, self._may_begin = budget, may_begin
        # Other pruners ask for less than being clearly behind.
        self._baselines_race = baselines_race and self._search.pruner == PAIRED
        self._folds: FoldRunner[_Contender] = FoldRunner(
            engine, workspace, known, (Fold(Stage.SEARCH, fold) for fold in range(settings.search.folds))
        )
        self._contenders: list[_Contender] = []
        self._streak, self._failed_before = Streak(), failed_baselines(study)
        left_over = [t for t in study.get_trials(deepcopy=False) if t.state is TrialState.RUNNING]
        self._left_over = list(reversed(left_over))
        self._deadline = time.monotonic() + self._search.timeout if self._search.timeout else None

    def __iter__(self) -> Iterator[Event]:
        """Run until enough trials are done, or the time is up; yields what happens as it happens.

        Raises:
            UserError: nothing can be trained here, or several trials in a row failed alike.
        """
        while True:
            yield from self._fill_slots()
            if self._folds.is_idle:
                return
            yield from self._written(self._take_in(self._folds.wait()))

    def _written(self, events: Iterable[Event]) -> Iterator[Event]:
        """What happens, once all of it is in the study, in one go; then what stops the search."""
        happened, stop = [], None
        with together(self._study):
            try:
                for event in events:
                    happened.append(event)
            except UserError as error:
                stop = error
        yield from happened
        if stop is not None:
            raise stop

    def _take_in(
        self, ended: Iterable[tuple[_Contender, Fold, FoldResult | BaseException]]
    ) -> Iterator[Event]:
        for contender, fold, result in ended:
            contender.running.discard(fold.index)
            if isinstance(result, FoldResult):
                self._streak.went_well()
                contender.keep(fold.index, result)
                yield FoldDone(contender.trial.number, contender.baseline, fold.index, result)
            else:
                contender.failure = contender.failure or result
            yield from self._judge(contender)

    def _fill_slots(self) -> Iterator[Event]:
        while not self._folds.is_full:
            contender = self._next()
            if contender is None:
                begun = [*self._written(self._begin_and_enter())]
                if begun:
                    yield from begun
                    continue
                contender = self._next(beside=0)
            if contender is None:
                return
            fold = contender.next_fold(self._search.folds)
            assert fold is not None
            contender.running.add(fold)
            self._folds.submit(contender, contender.candidate, Fold(Stage.SEARCH, fold))

    def _next(self, beside: int = BESIDE) -> _Contender | None:
        """Who runs another fold before another trial begins; None: nobody.

        The baselines run their folds side by side. Of the candidates none waits for its first or next fold;
        where ``beside`` or more race, those with the fewest folds running run more of them.
        """
        ready = [one for one in self._contenders if one.next_fold(self._search.folds) is not None]
        first = next((one for one in ready if one.baseline or not one.running), None)
        if first is not None or len(ready) < beside:
            return first
        return min(ready, key=lambda one: len(one.running), default=None)

    def _begin(self) -> _Contender | None:
        """The next trial: one left running, one waiting, or a new one; None: no more."""
        if self._left_over:
            frozen = self._left_over.pop()
            trial, steps = take_up(self._study, frozen), len(frozen.intermediate_values)
        else:
            states = {trial.state for trial in self._study.get_trials(deepcopy=False)}
            # The baselines come even when the time is up.
            if TrialState.WAITING not in states and self._is_over():
                return None
            trial, steps = self._proposals.ask(), 0
        candidate = suggest(trial, self._space)
        trial.set_user_attr("candidate", candidate.model_dump(mode="json"))
        take_over_failed(self._study, trial)
        results = fold_results(trial)
        known = len(in_order(results))
        # Whoever is stopped reports once more.
        return _Contender(
            trial, candidate, trial.user_attrs.get("baseline"), results, min(steps, known), steps > known
        )

    def _begin_and_enter(self) -> Iterator[Event]:
        contender = self._begin()
        if contender is not None:
            yield from self._enter(contender)

    def _is_over(self) -> bool:
        """Whether no more trials are to begin."""
        if len(counted(self._study)) >= self._search.trials or self._time_is_up():
            return True
        if self._may_begin is not None and not self._may_begin():
            return True
        return self._budget is not None and searched(self._study).images >= self._budget

    def _is_late(self, contender: _Contender) -> bool:
        """Whether the time is up for it; baselines have all the time that they need."""
        return not contender.baseline and self._time_is_up()

    def _time_is_up(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _enter(self, contender: _Contender) -> Iterator[Event]:
        """A trial begins, or goes on, or takes over the folds of an equal one."""
        trial = contender.trial
        yield TrialStarted(trial.number, contender.baseline, contender.candidate, len(contender.results))
        self._contenders.append(contender)
        if SAME_AS in trial.user_attrs or not contender.results:
            yield from self._follow(contender)
        if contender in self._contenders:
            yield from self._judge(contender)

    def _follow(self, contender: _Contender) -> Iterator[Event]:
        """Have it take over what an equal trial came to, or wait for one that runs."""
        contender.same = None
        equal = self._proposals.same(contender.candidate, contender.trial.number)
        running = {one.trial.number for one in self._contenders if one.same is None}
        for other in equal:
            if other.state is TrialState.COMPLETE or (
                other.state is TrialState.PRUNED and (not contender.baseline or baseline_of(other))
            ):
                contender.trial.set_user_attr(SAME_AS, other.user_attrs.get(SAME_AS, other.number))
                for fold, result in enumerate(in_order(fold_results(other))):
                    contender.keep(fold, result)
                contender.report()
                contender.loses = other.state is TrialState.PRUNED
                yield from self._end(contender, other.user_attrs.get("reason"))
                return
        contender.same = next((one.number for one in equal if one.number in running), None)

    def _judge(self, contender: _Contender) -> Iterator[Event]:
        """Tell Optuna what is new of a contender, and end it where that is due.

        A fold that is running when its trial is stopped is waited for: it costs what it costs, and it may
        be that with it the trial is not behind any more.
        """
        contender.report()
        whole = contender.reported == self._search.folds
        contender.loses = (
            (not contender.baseline or self._baselines_race)
            and not whole
            and contender.reported > 0
            and (contender.stopped or self._is_late(contender) or contender.trial.should_prune())
        )
        if not contender.running and (whole or contender.loses or contender.failure is not None):
            yield from self._end(contender)

    def _end(self, contender: _Contender, reason: str | None = None) -> Iterator[Event]:
        """A trial is over; ``reason``: why it is stopped, where that is known."""
        yield self._tell(contender, reason)
        self._contenders.remove(contender)
        if contender.failure is not None and contender.baseline not in self._failed_before:
            self._streak.failed(contender.failure)
        for twin in [one for one in self._contenders if one.same == contender.trial.number]:
            yield from self._follow(twin)

    def _tell(self, contender: _Contender, reason: str | None) -> TrialDone:
        trial, baseline = contender.trial, contender.baseline
        same = trial.user_attrs.get(SAME_AS)
        if contender.reported == self._search.folds:
            self._study.tell(trial, contender.score)
            return TrialDone(trial.number, baseline, TrialState.COMPLETE, contender.score, same_as=same)
        if not contender.loses:
            failure = contender.failure
            reason = "no reason was kept" if failure is None else reason_of(failure)
            trial.set_user_attr("reason", reason)
            self._study.tell(trial, state=TrialState.FAIL)
            return TrialDone(trial.number, baseline, TrialState.FAIL, None, reason)
        if reason is None:
            reason = "time is up" if self._is_late(contender) else "behind the best so far, fold by fold"
        trial.set_user_attr("reason", reason)
        if not contender.stopped:
            # The last report is what a sampler takes for the value of a trial that was stopped.
            trial.report(contender.score, step=contender.reported)
        self._study.tell(trial, state=TrialState.PRUNED)
        return TrialDone(trial.number, baseline, TrialState.PRUNED, contender.score, reason, same)
