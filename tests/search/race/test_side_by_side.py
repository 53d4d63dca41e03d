"""The driver with many workers, failures and equal candidates; an engine that knows the answers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import TrialState

from augsearch.policies import Policy
from augsearch.search.race.confirm import choose_finalists
from augsearch.search.race.race import Event, FoldDone, Race, TrialDone, TrialStarted
from augsearch.search.settings.settings import Settings
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import BASELINE_POLICIES, Baseline
from augsearch.search.studies.controls import best_of_search
from augsearch.search.studies.costs import ledger, searched
from augsearch.search.studies.ending import missing_baselines, why_none_finished
from augsearch.search.studies.study import entries, fold_results, open_study
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult
from benchmarks.search.replays import Answered

FOLDS = 6
PASSES = 100
Answer = Callable[[Candidate, int], float]


def answer(candidate: Candidate, fold: int) -> float:
    """Less augmentation is better here, and every candidate has luck of its own on every fold."""
    luck = np.random.default_rng([len(candidate.model_dump_json()), candidate.policy.num_ops, fold])
    return 0.8 - 0.03 * candidate.policy.num_ops + 0.01 * luck.normal()


class LastFirst:
    """Workers of which the one that began last is done first, as long as others begin in time."""

    def __init__(self, slots: int, answer: Answer = answer) -> None:
        self.slots, self._answer = slots, answer
        self.submitted: list[tuple[Candidate, int]] = []
        self._running: list[tuple[Future[Any], Candidate, int]] = []
        self.most = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        _, candidate, fold = cast(tuple[Path, Candidate, Fold], args)
        future: Future[Any] = Future()
        with self._lock:
            self.submitted.append((candidate, fold.index))
            self._running.append((future, candidate, fold.index))
            self.most = max(self.most, len(self._running))
        threading.Timer(0.002, self._finish_one).start()
        return future

    def _finish_one(self) -> None:
        with self._lock:
            future, candidate, fold = self._running.pop()
        try:
            accuracy = self._answer(candidate, fold)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(FoldResult(accuracy, 1 - accuracy, 0.1, 1.0, PASSES, np.ones(4, np.bool_)))

    def close(self) -> None:
        pass


Opened = Callable[[Settings], optuna.Study]


@pytest.fixture
def opened() -> Opened:
    """Opens the test's study, or opens it again."""
    storage = cast(RDBStorage, InMemoryStorage())
    return lambda settings: open_study(storage, "s", {"data": "x"}, settings.space)


def events(study: optuna.Study, engine: LastFirst, settings: Settings, **limits: Any) -> Iterator[Event]:
    return iter(Race(study, engine, Answered(), settings, **limits))


def quick(**fields: Any) -> Settings:
    return Settings.of(**{"folds": FOLDS, "teacher": "none", "seed": 1} | fields)


def wait(study: optuna.Study, settings: Settings, policy: Policy) -> None:
    """Have a candidate with this policy be the next."""
    study.enqueue_trial(baseline_params(Baseline(policy), settings.space))


FLIP_AND_CROP = BASELINE_POLICIES["flip + crop"]
EQUAL = Policy(**dict(FLIP_AND_CROP) | {"magnitude": 20})
"""In effect flip + crop: it has no operations to be stronger."""


@pytest.mark.parametrize(("slots", "steps"), [(1, 8), (4, 8), (16, 8), (64, 12)])
def test_candidates_are_steps_from_baselines_however_many_workers_there_are(
    slots: int, steps: int, opened: Opened
) -> None:
    settings = quick()
    study = opened(settings)
    for _ in events(study, LastFirst(slots), settings):
        pass
    near = [trial.user_attrs.get("near") for trial in study.trials[len(BASELINE_POLICIES) :]]
    assert sum(number is not None for number in near) >= steps
    if slots == 64:  # nothing was known yet: from each baseline in turn
        assert set(near[:6]) == set(range(6))
    policies = [one.candidate for one in entries(study)]
    assert len({policy.model_dump_json() for policy in policies[:14]}) == 14, "nothing is tried twice"


@pytest.mark.parametrize("slots", [1, 2, 5, 16])
def test_a_baselines_folds_run_side_by_side_before_others_begin(slots: int, opened: Opened) -> None:
    settings = quick(trials=8)
    engine, study = LastFirst(slots), opened(settings)
    for _ in events(study, engine, settings, baselines_race=False):
        pass
    begun = [(policy, fold) for policy in BASELINE_POLICIES.values() for fold in range(FOLDS)]
    assert [(candidate.policy, fold) for candidate, fold in engine.submitted[: len(begun)]] == begun
    assert engine.most <= slots


def harmful(candidate: Candidate, fold: int) -> float:
    """As ``answer``, but baselines with operations are clearly worse."""
    return answer(candidate, fold) - 0.2 * (candidate.policy.num_ops > 0)


def test_a_baseline_that_is_clearly_behind_stops_and_is_confirmed_nevertheless(opened: Opened) -> None:
    settings = quick(trials=8)
    engine, study = LastFirst(1, harmful), opened(settings)
    for _ in events(study, engine, settings):
        pass
    baselines = {one.baseline: one for one in entries(study) if one.baseline}
    assert list(baselines) == list(BASELINE_POLICIES)
    stopped = [name for name, one in baselines.items() if one.state is TrialState.PRUNED]
    assert "RandAugment (2, 9) after flip + crop" in stopped
    assert not {"none", "flip + crop"} & set(stopped)
    assert all(len(baselines[name].results) < FOLDS for name in stopped)
    assert missing_baselines(study, settings.space) == []
    assert [one.name for one in choose_finalists(study, 0)] == list(BASELINE_POLICIES)
    assert best_of_search(choose_finalists(study, 0)).state is TrialState.COMPLETE


def test_whom_luck_on_a_few_folds_favours_is_not_the_best_of_the_search(opened: Opened) -> None:
    settings = quick(trials=6)
    study = opened(settings)

    def later_folds_are_hard(candidate: Candidate, fold: int) -> float:
        noise = 0.01 * (fold % 2) * (candidate.policy.crop > 0)
        return harmful(candidate, fold) + noise - (0.7 if fold > 2 else 0.0)

    for _ in events(study, LastFirst(1, later_folds_are_hard), settings):
        pass
    finalists = choose_finalists(study, 0)
    assert max(finalists, key=lambda one: one.score).state is TrialState.PRUNED
    assert best_of_search(finalists).state is TrialState.COMPLETE


def test_few_candidates_race_beside_each_other_and_the_other_workers_run_more_of_their_folds(
    opened: Opened,
) -> None:
    settings = quick(trials=30, pruner="none")
    engine, study = LastFirst(16), opened(settings)
    study.pruner = optuna.pruners.NopPruner()
    racing: dict[int, int] = {}
    most = 0
    for event in events(study, engine, settings):
        if isinstance(event, TrialStarted) and event.baseline is None:
            racing[event.number] = event.folds_done
        elif isinstance(event, FoldDone) and event.number in racing:
            racing[event.number] += 1
        elif isinstance(event, TrialDone):
            racing.pop(event.number, None)
        most = max(most, len(racing))
    assert most <= 8, "four that have folds to begin, and those whose last ones run"
    assert all(trial.state is TrialState.COMPLETE for trial in study.trials)


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_folds_are_reported_in_order_and_none_is_lost_or_run_twice(slots: int, opened: Opened) -> None:
    settings = quick(trials=16)
    engine, study = LastFirst(slots), opened(settings)
    seen = [event for event in events(study, engine, settings) if isinstance(event, FoldDone)]
    assert len(seen) == len(engine.submitted) == searched(study).trainings
    assert searched(study).images == PASSES * len(seen)
    assert len({(event.number, event.fold) for event in seen}) == len(seen)
    pruned = 0
    for trial, entry in zip(study.trials, entries(study), strict=True):
        scores = [result.score for result in entry.results]
        reported = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
        assert reported[: len(scores)] == scores
        assert trial.value == pytest.approx(np.mean(scores))
        if trial.state is TrialState.PRUNED:
            pruned += 1
            # What Optuna's samplers take for a stopped trial's value is what it reported last.
            assert reported[-1] == pytest.approx(np.mean(scores))
            assert len(reported) == len(scores) + 1
        else:
            assert len(reported) == len(scores) == FOLDS
    assert pruned or slots == 16


@pytest.mark.parametrize("stop_after", [1, 7, 20, 55, 80])
def test_a_driver_of_many_workers_that_is_killed_loses_no_fold_that_came_out_of_order(
    stop_after: int, opened: Opened
) -> None:
    settings = quick(trials=14)
    first = LastFirst(8)
    told = [
        (event.number, event.fold)
        for event in itertools.islice(events(opened(settings), first, settings), stop_after)
        if isinstance(event, FoldDone)
    ]
    study = opened(settings)
    # What ended together is kept together, before any of it is told.
    known = [(trial.number, fold) for trial in study.trials for fold in fold_results(trial)]
    assert set(told) <= set(known)
    second = LastFirst(1)
    again = [
        (event.number, event.fold) for event in events(study, second, settings) if isinstance(event, FoldDone)
    ]
    assert not set(known) & set(again)
    assert len(study.trials) == 14
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in study.trials)
    assert all(one.results for one in entries(study) if one.baseline)
    assert searched(study).trainings == len(known) + len(again)


@pytest.mark.parametrize("slots", [1, 8])
def test_a_candidate_equal_to_one_that_was_tried_takes_over_its_folds(slots: int, opened: Opened) -> None:
    settings = quick(trials=8)
    engine, study = LastFirst(slots), opened(settings)
    wait(study, settings, EQUAL)
    ended = [one for one in events(study, engine, settings) if isinstance(one, TrialDone)]
    (taken,) = [one for one in ended if one.number == 6]
    assert (taken.same_as, taken.state) == (1, TrialState.COMPLETE)
    assert [candidate.policy for candidate, _ in engine.submitted].count(FLIP_AND_CROP) == FOLDS
    flip, equal = entries(study)[1], entries(study)[6]
    assert (equal.same_as, equal.score) == (1, flip.score)
    assert study.trials[6].value == study.trials[1].value
    assert ledger(study)["search"].trainings == len(engine.submitted)
    assert 6 not in [one.number for one in choose_finalists(study, 10)]


@pytest.mark.parametrize("policy", [Policy(num_ops=3), Policy(num_ops=0, quarter_turns=0.5)])
def test_equal_candidates_side_by_side_are_trained_once(policy: Policy, opened: Opened) -> None:
    settings = quick(trials=8)
    engine, study = LastFirst(64), opened(settings)
    for _ in range(2):
        wait(study, settings, policy)
    for _ in events(study, engine, settings):
        pass
    first, second = study.trials[6:8]
    assert second.user_attrs["same as"] == 6
    assert (second.state, second.value) == (first.state, first.value)
    folds = [fold for candidate, fold in engine.submitted if candidate.policy == policy]
    assert len(folds) == len(set(folds))


def test_who_waits_for_an_equal_one_that_fails_is_trained(opened: Opened) -> None:
    failed = []

    def once(candidate: Candidate, fold: int) -> float:
        if candidate.policy.num_ops == 3 and not failed:
            failed.append(fold)
            raise RuntimeError("diverged")
        return answer(candidate, fold)

    settings = quick(trials=9, pruner="none")
    study = opened(settings)
    study.pruner = optuna.pruners.NopPruner()
    for _ in range(3):
        wait(study, settings, Policy(num_ops=3))
    for _ in events(study, LastFirst(64, once), settings):
        pass
    first, second, third = study.trials[6:9]
    assert (first.state, first.user_attrs["reason"]) == (TrialState.FAIL, "diverged")
    assert second.state is TrialState.COMPLETE
    assert "same as" not in second.user_attrs
    assert third.user_attrs["same as"] == 7
    assert third.value == second.value


def failing(name: str, times: int) -> Answer:
    """As ``answer``, but for a baseline of which so many folds fail."""
    left = [None] * times

    def answer_or_fail(candidate: Candidate, fold: int) -> float:
        if candidate.policy == BASELINE_POLICIES[name] and left:
            left.pop()
            raise RuntimeError("out of memory")
        return answer(candidate, fold)

    return answer_or_fail


def test_a_baseline_that_failed_is_run_again_when_the_search_is_taken_up(opened: Opened) -> None:
    settings = quick(trials=8)
    study = opened(settings)
    for _ in events(study, LastFirst(1, failing("TrivialAugment", 1)), settings):
        pass
    assert study.trials[3].state is TrialState.FAIL
    assert missing_baselines(study, settings.space) == ["TrivialAugment"]
    study = opened(settings)
    assert [trial.state for trial in study.trials[8:]] == [TrialState.WAITING]
    engine = LastFirst(1)
    for _ in events(study, engine, settings):
        pass
    assert {candidate.policy for candidate, _ in engine.submitted} == {BASELINE_POLICIES["TrivialAugment"]}
    assert len(study.trials) == 9, "it takes no other's place"
    assert missing_baselines(study, settings.space) == []
    assert [one.name for one in choose_finalists(study, 0)][-1] == "TrivialAugment"
    assert len(opened(settings).trials) == 9


def test_a_baseline_that_fails_again_is_tried_once_each_time(opened: Opened) -> None:
    settings = quick(trials=6)
    for again in range(3):
        study = opened(settings)
        for _ in events(study, LastFirst(1, failing("none", 9)), settings):
            pass
        assert len(study.trials) == 6 + again
        assert missing_baselines(study, settings.space) == ["none"]
    assert "none" not in [one.name for one in choose_finalists(study, 2)]


def test_a_search_of_which_no_candidate_is_left_says_what_stopped_them(opened: Opened) -> None:
    settings = quick(trials=9)

    def diverging(candidate: Candidate, fold: int) -> float:
        if candidate.policy.num_ops == 4:
            raise RuntimeError("diverged")
        return answer(candidate, fold)

    study = opened(settings)
    assert why_none_finished(study) is None
    for policy in (EQUAL, Policy(num_ops=4), Policy(num_ops=3, magnitude=30)):
        wait(study, settings, policy)
    for _ in events(study, LastFirst(1, diverging), settings):
        pass
    assert why_none_finished(study) == (
        "none of 3 candidates ran all its folds: 1 the same as flip + crop; 1 failed: diverged; "
        "1 stopped: behind the best so far, fold by fold"
    )
    more = quick(trials=10)
    wait(study, settings, Policy(num_ops=0, flip_horizontal=0.5))
    for _ in events(study, LastFirst(1), more):
        pass
    assert why_none_finished(study) is None


def test_neighbouring_seeds_draw_nothing_alike() -> None:
    drawn = []
    for seed in (0, 1):
        settings = quick(trials=60, folds=1, sampler="random", seed=seed)
        storage = cast(RDBStorage, InMemoryStorage())
        study = open_study(storage, "s", {}, settings.space, warm_start=False)
        for _ in events(study, LastFirst(1), settings):
            pass
        # Without operations there are so few that both meet some.
        drawn.append(
            {one.candidate.model_dump_json() for one in entries(study) if one.candidate.policy.num_ops}
        )
    assert min(map(len, drawn)) > 20
    assert not drawn[0] & drawn[1]
