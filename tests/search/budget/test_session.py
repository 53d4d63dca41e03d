"""The time of a run: counted over all its sittings, and what is left decides what is still begun."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from augsearch.policies import Distillation, Policy
from augsearch.search.budget.plan import LEAST_FINAL, Sizes, Speed, Task, fold_seconds
from augsearch.search.budget.session import Session, record_of
from augsearch.search.studies.study import Entry, open_storage
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult

USUAL = Sizes(trials=16, folds=6, fold_size=800, epochs=30, confirm_folds=32, final_epochs=35)
TASK = Task(USUAL, baselines=4, finalists=2, final_passes=2000)
SPEED = Speed(workers=2, images=2300, final_images=900, reserve=12)
PLAIN = Candidate(policy=Policy())


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def result(seconds: float) -> FoldResult:
    return FoldResult(0.8, 0.5, 0.05, seconds, 100, np.ones(4, bool))


def finalists(count: int = 6, candidate: Candidate = PLAIN) -> list[Entry]:
    return [Entry(number, None, TrialState.COMPLETE, candidate, ()) for number in range(count)]


@dataclass
class Sitting:
    """A study, a clock that the test turns, and sessions of it."""

    study: optuna.Study
    clock: Clock

    def session(self, seconds: float = 240, task: Task = TASK) -> Session:
        return Session(self.study, seconds, task, self.clock, self.clock())

    def planned(self, seconds: float = 240, task: Task = TASK, speed: Speed = SPEED) -> Session:
        session = self.session(seconds, task)
        session.make_plan(speed)
        return session


@pytest.fixture
def sitting() -> Sitting:
    """Of a study without trials."""
    return Sitting(optuna.create_study(direction="maximize"), Clock())


def test_what_was_spent_before_a_kill_is_counted_and_the_folds_stay_as_they_were(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/a.db")
    sitting = Sitting(optuna.create_study(storage=storage, study_name="a"), Clock())
    first = sitting.planned()
    sitting.clock.now += 100
    first.note()
    sitting.clock.now += 5000  # nothing runs
    sitting.study = optuna.load_study(storage=storage, study_name="a")
    again = sitting.session()
    assert again.is_planned
    assert again.sizes == first.sizes
    assert again.spent == pytest.approx(100)
    sitting.clock.now += 10
    assert again.spent == pytest.approx(110)


def test_every_fold_keeps_what_is_spent(sitting: Sitting) -> None:
    session = sitting.planned()
    sitting.clock.now += 7
    session.fold_done(PLAIN, result(3))
    record = record_of(sitting.study)
    assert record is not None
    assert record.spent == pytest.approx(7)


def test_trials_begin_until_the_rest_is_wanted_for_confirmation_and_final_training(sitting: Sitting) -> None:
    session = sitting.planned()
    begun = []
    for _ in range(24):
        begun.append(session.may_begin_trial())
        sitting.clock.now += 10
    assert begun[0]
    assert not begun[-1]
    assert begun == sorted(begun, reverse=True)
    ended = 10 * begun.count(True)
    left_for_the_rest = 240 - ended
    assert left_for_the_rest > SPEED.reserve + session.sizes.final_epochs * 2000 / 900


def test_half_of_the_planned_candidates_are_tried_at_the_cost_of_the_confirmation(sitting: Sitting) -> None:
    session = sitting.planned()
    assert session.sizes.trials >= 6
    late = 240 - 12 - session.sizes.final_epochs * 2000 / 900 - 50
    sitting.clock.now += late
    assert session.may_begin_trial(), "none has begun yet"
    sitting.clock.now += 30
    assert not session.may_begin_trial(), "not even the least confirmation would fit"
    sitting.clock.now -= 30
    for _ in range(session.sizes.trials - 1):
        sitting.study.ask()
    assert not session.may_begin_trial()


def test_slower_folds_than_planned_begin_fewer_trials(sitting: Sitting) -> None:
    def begun(factor: float) -> int:
        session = sitting.planned(task=TASK)
        for _ in range(10):
            session.fold_done(PLAIN, result(factor * fold_seconds(session.sizes, SPEED)))
        count = 0
        start = sitting.clock.now
        while session.may_begin_trial():
            count += 1
            sitting.clock.now += 1
        sitting.clock.now = start
        return count

    assert begun(3) < begun(1) < begun(0.5)


def test_the_confirmation_takes_the_time_that_is_left(sitting: Sitting) -> None:
    def folds(spent: float) -> int:
        sitting.study.set_user_attr("budget", None)
        session = sitting.planned()
        sitting.clock.now += spent
        return session.confirm_folds(finalists())

    at_leisure, late, over = folds(0), folds(120), folds(500)
    assert at_leisure > late >= over == 2
    assert at_leisure <= 32


def test_a_teacher_of_each_fold_is_a_training_more(sitting: Sitting) -> None:
    taught = PLAIN.model_copy(update={"distillation": Distillation(temperature=4, alpha=0.5)})
    alone, with_teacher = sitting.planned(), sitting.planned()
    seconds = 3.2 * fold_seconds(alone.sizes, SPEED)  # two workers: six trainings take three folds' time
    final = alone.sizes.final_epochs * 2000 / 900
    sitting.clock.now += 240 - SPEED.reserve - final - seconds
    assert alone.may_confirm(8, finalists())
    assert not with_teacher.may_confirm(8, finalists(candidate=taught))


def test_the_confirmation_ends_before_a_fold_that_does_not_fit_but_has_two(sitting: Sitting) -> None:
    session = sitting.planned()
    assert session.confirm_folds(finalists()) > 4
    assert session.may_confirm(4, finalists())
    sitting.clock.now += 230
    assert session.may_confirm(1, finalists())
    assert not session.may_confirm(5, finalists())
    assert sitting.session().confirm_folds(finalists()) == 5


def test_the_final_training_gets_what_is_left_decided_once(sitting: Sitting) -> None:
    session = sitting.planned()
    sitting.clock.now += 200
    epochs = session.final_epochs(35, cost=1.0)
    assert epochs == int(0.9 * (40 - 12) / (2000 / 900))
    sitting.clock.now += 1000
    assert session.final_epochs(35, cost=1.0) == epochs
    assert sitting.session().final_epochs(35, cost=1.0) == epochs


@pytest.mark.parametrize(("spent", "epochs"), [(0, 35), (1000, LEAST_FINAL)])
def test_the_final_training_is_no_longer_than_usual_and_has_some_epochs(
    sitting: Sitting, spent: float, epochs: int
) -> None:
    session = sitting.planned()
    sitting.clock.now += spent
    assert session.final_epochs(35, cost=1.0) == epochs


def test_the_final_training_has_the_epochs_that_the_plan_calls_the_least(sitting: Sitting) -> None:
    session = sitting.planned(task=replace(TASK, least_final=20))
    sitting.clock.now += 1000
    assert session.final_epochs(35, cost=1.0) == 20


def test_what_is_given_is_kept_however_late_it_is(sitting: Sitting) -> None:
    task = replace(TASK, fixed=frozenset({"trials", "confirm_folds", "final_epochs"}))
    session = sitting.planned(task=task)
    sitting.clock.now += 1000
    assert session.may_begin_trial()
    assert session.most_trials == 16
    assert session.confirm_folds(finalists()) == 32
    assert session.may_confirm(20, finalists())
    assert session.final_epochs(35, cost=1.0) == 35


def test_a_larger_budget_goes_on_with_folds_of_the_same_size(sitting: Sitting) -> None:
    first = sitting.planned()
    sitting.clock.now += 240
    first.search_ended(9)
    first.confirm_folds(finalists())
    first.final_epochs(35, cost=1.0)
    same = sitting.session()
    assert same.search_is_over
    assert same.most_trials == 9
    longer = sitting.session(seconds=1200)
    assert not longer.search_is_over
    assert longer.spent == pytest.approx(240)
    assert longer.sizes.trials > first.sizes.trials
    for name in ("folds", "fold_size", "epochs"):
        assert getattr(longer.sizes, name) == getattr(first.sizes, name)
    assert longer.confirm_folds(finalists()) > same.confirm_folds(finalists())


def test_a_larger_budget_adds_folds_to_those_that_are_done(sitting: Sitting) -> None:
    first = sitting.planned()
    first.search_ended(9)
    sitting.clock.now += 120
    done = first.confirm_folds(finalists())
    sitting.clock.now += 80
    longer = sitting.session(seconds=300)
    assert longer.confirm_folds(finalists(), done) > done
    over = sitting.session(seconds=301)
    sitting.clock.now += 1000
    assert over.confirm_folds(finalists(), done) == done


def test_a_little_more_time_never_makes_less_of_what_was_done(sitting: Sitting) -> None:
    first = sitting.planned(2400, CHECKED, ABLE)
    assert first.final_check(4) == (4, 5)
    assert first.final_epochs(35, cost=1.0) == 35
    sitting.clock.now += 2395
    first.note()
    sitting.session(2410, CHECKED).note()  # killed before it came to decide anything
    longer = sitting.session(2410, CHECKED)
    assert longer.final_check(4) == (4, 5)
    assert longer.epochs_before == 35
    assert longer.final_epochs(35, cost=1.0, trained=35) == 35
    other = sitting.session(2420, CHECKED)
    assert other.final_epochs(35, cost=1.0) < 35  # another policy's model is not there


CHECKED = replace(TASK, usual=replace(USUAL, checked=4), check_passes=2000)
ABLE = replace(SPEED, check_images=900)


def test_finalists_are_compared_on_the_final_network_with_what_time_is_left(sitting: Sitting) -> None:
    session = sitting.planned(2400, CHECKED, ABLE)
    assert session.sizes.checked == 4
    one = CHECKED.check_passes / ABLE.check_images
    beside = session.sizes.final_epochs * TASK.final_passes / ABLE.final_images + ABLE.reserve
    sitting.clock.now = 1000 + 2400 - beside - 9.5 * one
    assert session.final_check(4) == (2, 4)  # of four, two seeds each would tell little
    sitting.clock.now += 100 * one
    assert session.final_check(4) == (2, 4)  # decided once


def test_with_more_time_all_are_compared_and_with_none_nobody(sitting: Sitting) -> None:
    assert sitting.planned(10_000, CHECKED, ABLE).final_check(4) == (4, 5)
    short = Sitting(optuna.create_study(direction="maximize"), Clock())
    session = short.planned(2400, CHECKED, ABLE)
    short.clock.now += 2350
    assert session.final_check(4) == (0, 0)


def test_a_comparison_is_planned_only_where_it_takes_a_third_of_the_time_at_most(sitting: Sitting) -> None:
    one = CHECKED.check_passes / ABLE.check_images
    assert sitting.planned(3 * 4 * one + 1, CHECKED, ABLE).sizes.checked == 4
    other = Sitting(optuna.create_study(direction="maximize"), Clock())
    assert other.planned(3 * 4 * one - 1, CHECKED, ABLE).sizes.checked == 0


def test_an_older_plan_knows_nothing_of_a_comparison(sitting: Sitting) -> None:
    session = sitting.planned(240, TASK, SPEED)
    assert session.final_check(4) == (0, 0)


def test_quick_folds_are_no_reason_for_ever_more_candidates(sitting: Sitting) -> None:
    short = sitting.planned(60)
    assert short.sizes.trials - TASK.baselines < USUAL.trials - TASK.baselines
    assert short.most_trials == USUAL.trials
    longer = Sitting(optuna.create_study(direction="maximize"), Clock()).planned(1800)
    assert longer.sizes.trials > USUAL.trials
    assert longer.most_trials == min(2 * longer.sizes.trials - TASK.baselines, TASK.baselines + 96)
