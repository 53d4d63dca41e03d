"""What a person is told of a run's time."""

from __future__ import annotations

from augsearch.search.budget.plan import Sizes, Speed, Task, duration, least_duration, plan, tells_little
from augsearch.search.settings.durations import duration_flag, duration_in_words
from augsearch.search.statistics.power import detectable, noise_of, shown_lead
from augsearch.search.statistics.sequential import Finalists

ROUND_TIMES = (60, 120, 240, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
"""Budgets that people think of."""
WORTH_A_HINT = 120
"""Seconds of a run that is too short for anyone to want it shorter."""


def plan_in_words(
    task: Task, sizes: Sizes, speed: Speed, spent: float, budget: float, unit: str = "core"
) -> list[str]:
    """What a run will do in its budget; and where that is too short, the least that there is.

    ``unit``: what a worker is, a ``core`` or no more than a ``worker``.
    """
    seconds = spent + duration(task, sizes, speed)
    units = unit if speed.workers == 1 else f"{unit}s"
    folds = "1 fold" if sizes.folds == 1 else f"{sizes.folds} folds"
    final = f", {sizes.checked} short trainings of the final network" if sizes.checked else ""
    final += f", {sizes.final_epochs} epochs of the final training" if sizes.final_epochs else ""
    lines = [
        f"{speed.workers} {units}, {rounded(speed.images)} images/s each: {sizes.trials} trials of up to "
        f"{folds}, {sizes.confirm_folds} to confirm{final}, about {duration_in_words(seconds)}"
    ]
    if sizes.trials == task.baselines and "trials" not in task.fixed:
        lines.append(
            "as planned there is time for the baselines alone: candidates are tried if folds turn out quicker"
        )
    if tells_little(task, sizes):
        lines.append(
            f"trainings of {sizes.fold_size:,} images × {sizes.epochs} epochs are so short that they favour "
            "weak augmentation; more time makes them longer first"
        )
    least = spent + least_duration(task, speed)
    if least > budget:
        lines.append(
            f"a budget of {duration_in_words(budget)} is too short for this: "
            f"the least would be about {duration_in_words(least)}"
        )
    return lines


def outlook_in_words(task: Task, speed: Speed) -> str:
    """How long a run without a budget will take, give or take, and what a budget would do."""
    seconds = duration(task, task.usual, speed)
    said = (
        f"about {duration_in_words(seconds)}, give or take a third, "
        f"at {speed.workers} × {rounded(speed.images)} images/s"
    )
    if task.usual.final_epochs and not speed.final_images:
        # Nothing is known of how fast its network is.
        said += ", the final training not counted"
    shorter = [time for time in ROUND_TIMES if time <= seconds / 2]
    if seconds < WORTH_A_HINT or not shorter:
        return said
    sizes = plan(task, speed, shorter[-1])
    if sizes.trials < task.usual.trials:
        tried, usual = (of.trials - task.baselines for of in (sizes, task.usual))
        would = f"try {tried or 'no'} candidate{'' if tried == 1 else 's'} instead of {usual}"
    else:
        would = f"confirm on {sizes.confirm_folds} fresh folds instead of up to {task.usual.confirm_folds}"
    return f"{said}; --budget {duration_flag(shorter[-1])} would {would}"


def cost_in_words(
    task: Task, sizes: Sizes, field: Finalists, folds: int, budget: float, closed: bool
) -> str | None:
    """What certainty a budget took from a verdict on ``field``, which had ``folds`` at most.

    ``closed``: whether more folds would have changed nothing.

    None: it took nothing, as the folds were the usual ones, and as many as usual or as many as it took to
    close the question.
    """
    usual, noise = task.usual.confirm_folds, noise_of(field)
    run = max(len(one.results) for one in field.members)
    smaller = ""
    if (sizes.fold_size, sizes.epochs) != (task.usual.fold_size, task.usual.epochs):
        smaller = (
            f", of {sizes.fold_size:,} images × {sizes.epochs} epochs instead of "
            f"{task.usual.fold_size:,} × {task.usual.epochs}"
        )
    if folds >= usual or noise is None or (run < folds and closed):
        said = f"The budget of {duration_in_words(budget)} allowed smaller folds{smaller}: on more images "
        return f"{said}and for longer, leads may be others." if smaller else None
    metric, found, wanted = field.metric, detectable(noise, run), detectable(noise, usual)
    said = f"The budget of {duration_in_words(budget)} allowed {run} of up to {usual} fresh folds{smaller}: "
    if wanted >= metric.widest:
        return f"{said}no lead would have been found, nor would one with {usual}."
    would_find = f"{usual} folds would find {shown_lead(metric, wanted).split()[0]}"
    if found >= metric.widest:
        return f"{said}no lead would have been found; {would_find} {metric.difference_unit}."
    return (
        f"{said}a lead of {shown_lead(metric, found)} would have been found four times in five; {would_find}."
    )


def rounded(rate: float) -> str:
    """``2,300``: to two digits."""
    digits = len(str(max(1, round(rate))))
    return f"{int(round(rate, 2 - digits)):,}" if digits > 2 else f"{rate:.2g}"
