"""``augsearch run --dry-run``: what a run would train, for how long and in how much memory.

Some steps are trained on the real data, on all workers at once, as a run within a budget does before it
plans. No study is made and nothing is logged; the decoded images and what workers read of them stay, as they
would be the run's.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from rich import box
from rich.markup import escape
from rich.table import Table

from augsearch.search.budget.plan import (
    Sizes,
    Speed,
    Task,
    check_seconds,
    confirmation_seconds,
    duration,
    final_seconds,
    fold_seconds,
    plan,
    search_seconds,
)
from augsearch.search.budget.session import record_of
from augsearch.search.budget.words import rounded
from augsearch.search.command_lines import of_no_use, run_command
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.registry import opened
from augsearch.search.inputs.identity import identity_of, study_name
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.budgeted import measured, measured_within, task_of, trained_on_of
from augsearch.search.pipelines.weighed import WeighedEngine, Weight
from augsearch.search.race.resume import known_study, open_begun, space_for
from augsearch.search.settings.durations import duration_in_words
from augsearch.search.settings.sections import HOME
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import Space
from augsearch.search.studies.study import check_own, check_same, counted, space_of

GIB = 2**30


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do."""

    study: str
    ended: int | None
    """Trials that have ended; None: there is no such study yet."""
    settings: Settings
    baselines: tuple[str, ...]
    task: Task
    sizes: Sizes
    speed: Speed
    weight: Weight
    trained_on: int
    """Images that the final training learns from."""
    final_size: int | None
    """Side in pixels of its images, where that is known."""
    workspace: Path

    @property
    def seconds(self) -> dict[str, float]:
        """How long each part of the whole run takes, by its name."""
        task, sizes, speed = self.task, self.sizes, self.speed
        return {
            "search": search_seconds(task, sizes, speed),
            "confirmation": confirmation_seconds(task, sizes, fold_seconds(sizes, speed), speed.workers),
            **({"check": check_seconds(task, sizes, speed)} if sizes.checked else {}),
            "final": final_seconds(task, sizes, speed),
            "rest": speed.reserve,
            "total": duration(task, sizes, speed),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values: seconds, bytes, images a second."""
        final = self.settings.final.train
        return {
            "study": self.study,
            "trials_ended": self.ended,
            "baselines": list(self.baselines),
            "finalists": self.task.finalists,
            **asdict(self.sizes),
            "search_network": self.settings.proxy.model,
            "final_network": self.settings.network if final else None,
            "final_images": self.trained_on if final else None,
            "final_size": self.final_size if final else None,
            "seconds": self.seconds,
            "measured": {
                "workers": self.speed.workers,
                "images_per_second": self.speed.images,
                "final_images_per_second": self.speed.final_images or None,
                "bytes_of_a_worker": self.weight.own or None,
                "bytes_of_a_worker_on_the_gpu": self.weight.device or None,
            },
            "written": [str(HOME / "cache"), str(self.workspace)],
            "command": run_command(self.settings),
        }


def dry_run(told: Settings, display: Display) -> DryRun:
    """Measure some steps of training, and say what a run would come to; no study is made.

    Raises:
        UserError: the input is bad, the study was made from other data, or no training can be measured.
    """
    began = time.monotonic()
    settings, data = open_begun(told, display)
    for line in of_no_use(settings):
        display.line(line)
    study, name = known_study(settings, data), study_name(settings, data)
    if study is not None:
        check_own(study)
        check_same(name, study.user_attrs["identity"], identity_of(settings, data))
    space = space_of(study, settings.space) if study is not None else space_for(settings, data)
    display.line("measuring how fast trainings are here")
    with opened(settings.engine, display.line) as engine:
        weighing = WeighedEngine(engine)
        task, sizes, speed, side = _planned(settings, data, space, study, weighing, began)
    known = None if study is None else sum(trial.state.is_finished() for trial in counted(study))
    found = DryRun(
        name,
        known,
        settings,
        tuple(space.baselines),
        task,
        sizes,
        speed,
        weighing.most,
        trained_on_of(settings, data),
        side or settings.final.size,
        data.workspace.folder,
    )
    _show(found, display)
    return found


def _planned(
    settings: Settings, data: Data, space: Space, study: optuna.Study | None, engine: Engine, began: float
) -> tuple[Task, Sizes, Speed, int | None]:
    """What there is to do, how much of it, how fast, and the final images' side if the budget decides it."""
    task, seconds = task_of(settings, data, space), settings.seconds
    if seconds is None:
        return task, task.usual, measured(engine, data, settings), None

    def left() -> float:
        return seconds - (time.monotonic() - began)

    known = record_of(study) if study is not None else None
    speed, side = measured_within(task, left, engine, data, settings)
    if known is not None and known.sizes is not None and known.seconds == seconds:
        return task, known.sizes, speed, known.final_size
    return task, plan(task, speed, left()), speed, side


def _show(found: DryRun, display: Display) -> None:
    ended = "" if found.ended is None else f", taken up: {found.ended} of its trials have ended"
    display.result(f"study {found.study}{ended}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("what would be trained", overflow="fold")
    table.add_column("about", justify="right", no_wrap=True)
    for step, what in _steps(found).items():
        table.add_row(step, escape(what), duration_in_words(found.seconds[step]))
    display.table(table)
    speed, weight = found.speed, found.weight
    total, unknown = duration_in_words(found.seconds["total"]), ""
    if found.sizes.final_epochs and not speed.final_images:
        unknown = ", the final training not counted"
    whole = " from its beginning" if found.ended else ""
    display.result(
        f"about {total}{whole}, give or take a third{unknown}: measured at "
        f"{speed.workers} × {rounded(speed.images)} images/s"
    )
    if weight.own:
        gpu = f", and {weight.device / GIB:.1f} GiB of its GPU" if weight.device else ""
        display.result(
            f"a worker took up to {weight.own / GIB:.1f} GiB of memory{gpu}; "
            f"all {speed.workers} together {speed.workers * weight.own / GIB:.1f} GiB"
        )
    display.result(f"written were caches alone: {HOME / 'cache'}, {found.workspace}")
    display.result(f"this runs it:\n  {run_command(found.settings)}")


def _steps(found: DryRun) -> dict[str, str]:
    """Each step of the run, in words."""
    sizes, proxy, settings = found.sizes, found.settings.proxy, found.settings
    folds = "1 fold" if sizes.folds == 1 else f"up to {sizes.folds} folds"
    trained = f" × {sizes.epochs} epochs with {proxy.in_words}"
    if proxy.own is not None:
        trained = f", trained by {proxy.own.function}"
    candidates = sizes.trials - len(found.baselines)
    most = min(found.task.finalists, candidates)
    finalists = f" and up to {most} finalist{'' if most == 1 else 's'}" if most else ""
    steps = {
        "search": f"{sizes.trials} trials, {folds} each of {sizes.fold_size:,} images{trained}: "
        f"{candidates} candidates, {len(found.baselines)} baselines ({', '.join(found.baselines)})",
        "confirmation": f"the {len(found.baselines)} baselines{finalists}, "
        f"up to {sizes.confirm_folds} fresh folds each",
    }
    if sizes.checked:
        steps["check"] = f"{sizes.checked} short trainings of {settings.network} with the best policies"
    if settings.final.train:
        at = f" at {found.final_size} px" if found.final_size else ""
        steps["final"] = (
            f"{settings.network}, {found.trained_on:,} images × {sizes.final_epochs} epochs{at}, "
            "then the test, once"
        )
    return {**steps, "rest": "starting workers, drawing, writing, logging"}
