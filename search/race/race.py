"""The driver: asks for candidates, has their folds run, reports, stops losers, tells.

It alone writes to the study. Workers run pure functions; one that dies costs its fold. Everything is
kept the moment it is known, so a driver that is killed goes on where it stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.trial import TrialState

from augsearch.search.engines.engine import Engine
from augsearch.search.race.folds import FoldRunner, Known
from augsearch.search.settings.settings import Settings
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.suggest import suggest
from augsearch.search.studies.costs import spent
from augsearch.search.studies.samplers import STARTUP_TRIALS, seed_sampler
from augsearch.search.studies.study import fold_results, take_up
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
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


Event = TrialStarted | FoldDone | TrialDone


@dataclass(slots=True, eq=False)
class _Contender:
    trial: optuna.trial.Trial
    candidate: Candidate
    baseline: str | None
    results: list[FoldResult] = field(default_factory=list)


class Race:
    """One run of the search; iterate over it to make it happen."""

    def __init__(
        self,
        study: optuna.Study,
        engine: Engine,
        workspace: Workspace,
        settings: Settings,
        budget: int | None = None,
        known: Known | None = None,
        may_begin: Callable[[], bool] | None = None,
    ) -> None:
        """``budget``: image passes of all trials after which no other begins; None: there is no limit.

        ``known``: results of folds that are looked up instead of being trained. ``may_begin``: whether there
        is time for another trial; the baselines come whatever it says.
        """
        self._study, self._settings = study, settings
        self._budget, self._may_begin = budget, may_begin
        self._folds: FoldRunner[_Contender] = FoldRunner(engine, workspace, known)
        left_over = [t for t in study.get_trials(deepcopy=False) if t.state is TrialState.RUNNING]
        self._left_over = list(reversed(left_over))
        self._deadline = time.monotonic() + settings.search.timeout if settings.search.timeout else None

    def __iter__(self) -> Iterator[Event]:
        """Run until enough trials are done, or the time is up; yields what happens as it happens."""
        while True:
            yield from self._fill_slots()
            if self._folds.is_idle:
                return
            for contender, _, result in self._folds.wait():
                if isinstance(result, FoldResult):
                    yield from self._fold_done(contender, result)
                else:
                    yield self._fail(contender, str(result))

    def _fill_slots(self) -> Iterator[Event]:
        while not self._folds.is_full:
            contender = self._next()
            if contender is None:
                return
            number, done = contender.trial.number, len(contender.results)
            yield TrialStarted(number, contender.baseline, contender.candidate, done)
            if done == self._settings.search.folds or self._loses(contender):
                yield self._finish(contender)  # killed between its last fold and its end
            else:
                self._submit(contender)

    def _next(self) -> _Contender | None:
        """The next trial: one left running, one waiting, or a new one; None: no more."""
        if self._left_over:
            trial = take_up(self._study, self._left_over.pop())
        else:
            trials = self._study.get_trials(deepcopy=False)
            begun = sum(trial.state is not TrialState.WAITING for trial in trials)
            waiting = begun < len(trials)  # the baselines come even when the time is up
            if begun >= self._settings.search.trials or (not waiting and self._is_over(trials)):
                return None
            if not waiting and begun < STARTUP_TRIALS and self._settings.search.sampler != "random":
                self._enqueue_neighbour(begun)
            seed_sampler(self._study, self._settings.search.sampler, self._settings.seed + begun)
            trial = self._study.ask()
        candidate = suggest(trial, self._settings.space)
        trial.set_user_attr("candidate", candidate.model_dump(mode="json"))
        return _Contender(trial, candidate, trial.user_attrs.get("baseline"), fold_results(trial))

    def _enqueue_neighbour(self, number: int) -> None:
        """Have the next trial be a small step from the best so far."""
        ended = [t for t in self._study.get_trials(deepcopy=False) if t.state is TrialState.COMPLETE]
        if ended:
            best = max(ended, key=lambda trial: -math.inf if trial.value is None else trial.value)
            rng = np.random.default_rng([self._settings.seed, number])
            params = neighbour(best.params, self._settings.space, rng)
            self._study.enqueue_trial(params, user_attrs={"near": best.number})

    def _is_over(self, trials: list[optuna.trial.FrozenTrial]) -> bool:
        """Whether no more trials are to begin."""
        begins = self._may_begin is None or self._may_begin()
        return not begins or self._time_is_up() or self._is_spent(trials)

    def _is_spent(self, trials: list[optuna.trial.FrozenTrial]) -> bool:
        if self._budget is None:
            return False
        return spent(dict(enumerate(fold_results(trial))) for trial in trials).images >= self._budget

    def _time_is_up(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _submit(self, contender: _Contender) -> None:
        self._folds.submit(contender, contender.candidate, Fold(Stage.SEARCH, len(contender.results)))

    def _fold_done(self, contender: _Contender, result: FoldResult) -> Iterator[Event]:
        trial, fold = contender.trial, len(contender.results)
        trial.set_user_attr(f"fold {fold}", result.to_json())
        trial.report(result.score, step=fold)
        contender.results.append(result)
        yield FoldDone(trial.number, contender.baseline, fold, result)
        if len(contender.results) == self._settings.search.folds or self._loses(contender):
            yield self._finish(contender)
        else:
            self._submit(contender)

    def _loses(self, contender: _Contender) -> bool:
        """Whether it is stopped before all its folds are run; baselines never are."""
        if (
            contender.baseline
            or not contender.results
            or len(contender.results) == self._settings.search.folds
        ):
            return False
        return self._time_is_up() or contender.trial.should_prune()

    def _finish(self, contender: _Contender) -> TrialDone:
        trial, results = contender.trial, contender.results
        score = sum(result.score for result in results) / len(results)
        if len(results) == self._settings.search.folds:
            self._study.tell(trial, score)
            return TrialDone(trial.number, contender.baseline, TrialState.COMPLETE, score)
        reason = "time is up" if self._time_is_up() else "behind the best so far, fold by fold"
        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.PRUNED)
        return TrialDone(trial.number, contender.baseline, TrialState.PRUNED, score, reason)

    def _fail(self, contender: _Contender, reason: str) -> TrialDone:
        contender.trial.set_user_attr("reason", reason)
        self._study.tell(contender.trial, state=TrialState.FAIL)
        return TrialDone(contender.trial.number, contender.baseline, TrialState.FAIL, None, reason)
