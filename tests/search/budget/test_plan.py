"""What is planned for a time: it fits, more time makes nothing smaller, and what is fixed stays."""

from __future__ import annotations

from dataclasses import astuple, fields, replace

from hypothesis import given
from hypothesis import strategies as st

from augsearch.search.budget.plan import (
    FINAL_SIDES,
    FINALS_SHARE,
    LEAST_CONFIRMED,
    LEAST_FINAL,
    MOST_CANDIDATES,
    Sizes,
    Speed,
    Task,
    duration,
    largest_side,
    least_duration,
    plan,
    tells_little,
)

USUAL = Sizes(trials=16, folds=6, fold_size=800, epochs=30, confirm_folds=32, final_epochs=35)
EMBEDDED = Task(USUAL, baselines=4, finalists=2, final_passes=2000, teacher=True, candidate_cost=1.2)
SLOW = Speed(workers=2, images=2300, fold_overhead=0.1, final_images=900, reserve=12)

NAMES = [field.name for field in fields(Sizes)]

speeds = st.builds(
    Speed,
    workers=st.integers(1, 64),
    images=st.floats(1, 1e5),
    fold_overhead=st.floats(0, 30),
    final_images=st.floats(1, 1e5),
    reserve=st.floats(0, 60),
)
seconds = st.floats(1, 1e6)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    baselines = draw(st.integers(4, 9))
    usual = Sizes(
        trials=baselines + draw(st.integers(0, 100)),
        folds=draw(st.integers(1, 20)),
        fold_size=draw(st.integers(2, 5000)),
        epochs=draw(st.integers(1, 120)),
        confirm_folds=draw(st.integers(2, 64)),
        final_epochs=draw(st.integers(1, 200)),
    )
    fixed = draw(st.frozensets(st.sampled_from(NAMES)))
    passes, cost = draw(st.integers(1, 10**6)), draw(st.floats(1, 4))
    return Task(usual, baselines, draw(st.integers(1, 5)), passes, draw(st.booleans()), cost, fixed)


@given(tasks(), speeds, seconds)
def test_a_plan_fits_unless_it_is_the_least(task: Task, speed: Speed, time: float) -> None:
    planned = plan(task, speed, time)
    least = plan(task, speed, 0)
    assert duration(task, planned, speed) <= time or planned == least
    assert duration(task, least, speed) == least_duration(task, speed)


@given(tasks(), speeds, seconds, st.floats(1, 1e6), st.integers(0, 20))
def test_a_plan_with_a_comparison_on_the_final_network_fits_too(
    task: Task, speed: Speed, time: float, passes: float, many: int
) -> None:
    task = replace(task, usual=replace(task.usual, checked=many), check_passes=passes)
    speed = replace(speed, check_images=speed.final_images)
    planned = plan(task, speed, time)
    assert duration(task, planned, speed) <= time or planned == replace(
        plan(task, speed, 0), checked=planned.checked
    )
    assert planned.checked in (0, many)
    if "checked" in task.fixed:
        assert planned.checked == many


@given(tasks(), speeds, seconds, st.floats(1, 100))
def test_more_time_makes_nothing_smaller(task: Task, speed: Speed, time: float, more: float) -> None:
    shorter, longer = plan(task, speed, time), plan(task, speed, time * more)
    assert all(few <= many for few, many in zip(astuple(shorter), astuple(longer), strict=True))


@given(tasks(), speeds, seconds, st.floats(1, 100))
def test_a_faster_machine_makes_nothing_smaller(task: Task, speed: Speed, time: float, factor: float) -> None:
    faster = replace(speed, images=speed.images * factor, final_images=speed.final_images * factor)
    slow, fast = plan(task, speed, time), plan(task, faster, time)
    assert all(few <= many for few, many in zip(astuple(slow), astuple(fast), strict=True))


@given(tasks(), speeds, seconds, st.integers(1, 5000))
def test_a_fold_has_an_image_of_each_class_whatever_the_time(
    task: Task, speed: Speed, time: float, classes: int
) -> None:
    size = max(classes, task.usual.fold_size)
    many = replace(task, usual=replace(task.usual, fold_size=size), classes=classes)
    assert classes <= plan(many, speed, time).fold_size <= size


@given(tasks(), speeds, seconds)
def test_what_is_fixed_is_kept_and_nothing_but_trials_exceeds_the_usual(
    task: Task, speed: Speed, time: float
) -> None:
    planned = plan(task, speed, time)
    for name in NAMES:
        size, usual = getattr(planned, name), getattr(task.usual, name)
        assert size == usual or name not in task.fixed
        assert size <= usual or name == "trials"
    assert planned.trials <= max(task.usual.trials, task.baselines + MOST_CANDIDATES)


@given(tasks(), speeds, seconds)
def test_the_least_still_ends_with_a_verdict_and_a_model(task: Task, speed: Speed, time: float) -> None:
    planned = plan(task, speed, time)
    assert planned.trials >= task.baselines
    assert planned.folds >= 1
    assert planned.fold_size >= min(task.usual.fold_size, 2)
    assert planned.epochs >= 1
    assert planned.confirm_folds >= LEAST_CONFIRMED
    assert planned.final_epochs >= min(LEAST_FINAL, task.usual.final_epochs)


def test_a_fold_gets_fewer_images_before_it_gets_fewer_epochs() -> None:
    sizes = [plan(EMBEDDED, SLOW, time) for time in range(20, 2000, 20)]
    assert any(one.fold_size < 800 and one.epochs == 30 for one in sizes)
    assert not any(one.epochs < 30 and one.fold_size > 400 for one in sizes)


def test_folds_become_long_enough_to_tell_something_before_anything_else_grows() -> None:
    least = plan(EMBEDDED, SLOW, 0)
    assert (least.fold_size, least.epochs) == (100, 5)
    assert tells_little(EMBEDDED, least)
    some = [plan(EMBEDDED, SLOW, time) for time in range(5, 400, 1)]
    short = [one for one in some if tells_little(EMBEDDED, one)]
    assert len({(one.fold_size, one.epochs) for one in short}) > 6
    assert all(replace(one, fold_size=100, epochs=5) == least for one in short)
    assert {(one.fold_size, one.epochs) for one in some} >= {(240, 30)}
    fixed = EMBEDDED.with_fixed(fold_size=50, epochs=2)
    assert not tells_little(fixed, plan(fixed, SLOW, 0))


def test_without_a_final_training_its_time_goes_to_the_search() -> None:
    alone = replace(EMBEDDED, usual=replace(USUAL, final_epochs=0), fixed=frozenset({"final_epochs"}))
    with_final, without = plan(EMBEDDED, SLOW, 240), plan(alone, SLOW, 240)
    assert without.final_epochs == 0
    assert without.fold_size * without.epochs > with_final.fold_size * with_final.epochs


def test_time_beyond_the_usual_sizes_brings_more_trials() -> None:
    fast = Speed(workers=16, images=10_000, final_images=50_000)
    assert plan(EMBEDDED, fast, 1e6) == replace(USUAL, trials=4 + MOST_CANDIDATES)


@given(tasks(), st.floats(0.1, 1e5), seconds, st.integers(96, 1024), st.integers(1, 60))
def test_the_final_training_has_the_largest_side_that_fits(
    task: Task, images: float, time: float, most: int, epochs: int
) -> None:
    task = replace(task, least_final=epochs)

    def share(side: int) -> float:
        length = task.usual.final_epochs if "final_epochs" in task.fixed else epochs
        return length * task.final_passes / (images * (96 / side) ** 2) / time

    side = largest_side(task, images, 96, time, most)
    assert side in FINAL_SIDES
    assert side <= most
    larger = [one for one in FINAL_SIDES if side < one <= most]
    assert all(share(one) >= 0.999 * FINALS_SHARE for one in larger)
    assert side == FINAL_SIDES[-1] or share(side) <= 1.001 * FINALS_SHARE
    assert largest_side(task, 2 * images, 96, time, most) >= side
    assert largest_side(task, images, 96, 0, most) == FINAL_SIDES[-1]
    assert largest_side(task, images, 96, -10, most) == FINAL_SIDES[-1]


@given(tasks(), speeds, seconds, st.integers(3, 60))
def test_no_fine_tuning_is_planned_below_its_least(task: Task, speed: Speed, time: float, least: int) -> None:
    planned = plan(replace(task, least_final=least), speed, time)
    assert planned.final_epochs >= min(least, task.usual.final_epochs)
