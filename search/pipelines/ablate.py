"""``augsearch ablate``: what removing each part of a study's winner costs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import optuna
from rich.markup import escape
from rich.table import Table

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.registry import opened
from augsearch.search.figures.ablation import draw_ablation
from augsearch.search.inputs.prepare import make_folder
from augsearch.search.inputs.reopened import as_its_run, reopen
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.workplace import remove_teachers
from augsearch.search.pipelines.afterwards import Child, Logged, log_afterwards, rewrite_report
from augsearch.search.pipelines.confirming import stage_of
from augsearch.search.pipelines.trainings import OnFold, run_trainings
from augsearch.search.report.facts import folder_of
from augsearch.search.settings.durations import duration_in_words
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import describe
from augsearch.search.space.parts import Part, parts_of
from augsearch.search.studies.ablation import (
    ATTRIBUTE,
    FIRST_FOLD,
    WHOLE,
    Ablation,
    Removal,
    ablation_of,
    ablation_results,
    judged,
    keep_ablation,
    sentence,
)
from augsearch.search.studies.controls import by_number, check_known
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.study import Entry, check_own, entries, finished, load_study, open_to_read
from augsearch.trainers.evaluation.metrics import METRICS, Metric
from augsearch.trainers.workspace.folds import Fold, FoldResult

FOLDS = 8
PICTURE = "ablation.png"


@dataclass(frozen=True, slots=True)
class _Missing:
    """A training that is to be run."""

    part: str
    fold: int


def ablate(name: str, trial: int | None, folds: int, said: Settings, display: Display) -> Ablation | None:
    """Train the winner of study ``name`` without each of its parts, print what that costs, draw and keep it.

    The winner is what the verdict recommends, else the best so far; or ``trial``. What is trained already is
    not trained again: the same call goes on where it stopped, and one with more ``folds`` goes on from there.
    What ``said`` doesn't give is as in the run that made the study. None: there is nothing to remove.

    Raises:
        UserError: there is no such study or trial, or its images are not there any more.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    study = load_study(open_to_read(said.tracking.storage), name)
    check_own(study)
    entry, why = _chosen(study, trial)
    parts = parts_of(entry.candidate)
    if not parts:
        display.result(f"{entry.name} ({why}) has nothing to remove{_instead(study, entry)}")
        return None
    settings = as_its_run(study, said)
    with only_driver(name, said.tracking.storage), opened(settings.engine, display.line) as engine:
        data = reopen(study, settings, display)
        study.set_user_attr(ATTRIBUTE, entry.number)
        job = _Ablating(study, data, entry, parts, folds, display)
        failures = job.train(engine)
        remove_teachers(data.workspace)
        ablation = ablation_of(entry, ablation_results(study, entry.number))
        for failure in failures:
            display.line(failure)
        if ablation is None:
            raise UserError("no part could be compared on two folds; run the same command again")
        metric = METRICS[settings.search.metric]
        display.table(table(ablation, metric))
        display.result(sentence(ablation))
        _keep(study, settings, data, ablation, display)
    return ablation


def _chosen(study: optuna.Study, trial: int | None) -> tuple[Entry, str]:
    """The entry to ablate, and why it is that one."""
    known = by_number(study)
    if trial is not None:
        check_known(study, trial, known)
        return known[trial], "as asked for"
    verdict = study.user_attrs.get("verdict")
    if verdict is not None:
        return known[verdict["recommended"]], "what the verdict recommends"
    done = finished(study)
    if not done:
        raise UserError(f"study {study.study_name!r} has no finished trial yet; run it on with augsearch run")
    return max(done, key=lambda entry: entry.score), "the best so far, not confirmed yet"


def _instead(study: optuna.Study, entry: Entry) -> str:
    """Which other trial may be ablated, where there is one."""
    others = [one for one in finished(study) if one.number != entry.number and parts_of(one.candidate)]
    if not others:
        return ""
    best = max(others, key=lambda one: (one.baseline is None, one.score))
    return f"; --trial {best.number} takes {best.name} ({describe(best.candidate)}) apart"


@dataclass(frozen=True, eq=False)
class _Ablating:
    """One ablation: what its steps share."""

    study: optuna.Study
    data: Data
    entry: Entry
    parts: list[Part]
    folds: int
    display: Display

    def train(self, engine: Engine) -> list[str]:
        """Run what is missing, fold by fold, so that whatever is known is paired; says what failed."""
        known = ablation_results(self.study, self.entry.number)
        names = [WHOLE, *(part.name for part in self.parts)]
        numbers = range(FIRST_FOLD, FIRST_FOLD + self.folds)
        missing = [_Missing(name, fold) for fold in numbers for name in names if fold not in known[name]]
        total, failures = len(names) * self.folds, []
        self._announce(total, len(missing), engine.slots)
        with self.display.bar("ablating", total, total - len(missing)) as bar:
            for owner, result in run_trainings(self._trainings(missing), engine, self.data.workspace):
                if isinstance(result, FoldResult):
                    keep_ablation(self.study, self.entry.number, owner.part, owner.fold, result)
                else:
                    what = f"without {owner.part}" if owner.part else "whole"
                    failures.append(
                        f"{what}, fold {owner.fold}: {first_line(result)}; the same command tries it again"
                    )
                bar.advance(1, owner.part)
        return failures

    def _trainings(self, missing: list[_Missing]) -> list[OnFold[_Missing]]:
        candidates = {WHOLE: self.entry.candidate, **{part.name: part.without for part in self.parts}}
        stage = stage_of(self.study, self.data)
        return [OnFold(one, candidates[one.part], Fold(stage, one.fold)) for one in missing]

    def _announce(self, total: int, missing: int, slots: int) -> None:
        what = f"{self.entry.name} ({describe(self.entry.candidate)})"
        done = f", {total - missing} done before" if missing < total else ""
        known = self.entry.results or entries(self.study)[0].results  # a control ran no fold of the search
        each = fmean(result.seconds for result in known)
        took = f", about {duration_in_words(missing * each / slots)}" if missing else ""
        self.display.line(
            f"ablating {what}: {len(self.parts)} parts, {total} trainings on {self.folds} fresh folds"
            f"{done}{took}. Stop it at any time: the same command goes on"
        )


def table(ablation: Ablation, metric: Metric) -> Table:
    """A line a part, the one that costs most first."""
    drawn = Table(
        title=f"What removing each part of {ablation.entry.name} costs: {metric.label}",
        title_justify="left",
        caption="Positive: it is worse without. Each interval is a 95 % one for itself: of twenty parts that "
        "do nothing, one may seem to.",
        caption_justify="left",
    )
    drawn.add_column("without")
    drawn.add_column("costs [95 % interval]", justify="right", no_wrap=True)
    drawn.add_column("folds", justify="right")
    drawn.add_column("")
    for one in ablation.removals:
        cost = one.cost
        drawn.add_row(
            escape(one.part.name),
            metric.shown_difference(cost.mean, cost.low, cost.high),
            str(cost.folds),
            judged(one),
        )
    return drawn


def _keep(study: optuna.Study, settings: Settings, data: Data, ablation: Ablation, display: Display) -> None:
    """The picture in the study's folder, its report, and the figures in MLflow."""
    folder = folder_of(study)
    make_folder(folder)
    metric, picture = METRICS[settings.search.metric], folder / PICTURE
    draw_ablation(ablation, metric, picture)
    page = rewrite_report(study, folder, display)
    display.result(f"picture: {picture}   report: {page}")
    children = [_logged(ablation.entry, one) for one in ablation.removals]
    log_afterwards(study, settings, data, Logged(ATTRIBUTE, children, [picture, page]), display)


def _logged(entry: Entry, one: Removal) -> Child:
    """A removal as a run of MLflow below the study's."""
    cost = one.cost
    figures = {"cost": cost.mean, "cost_low": cost.low, "cost_high": cost.high, "folds": float(cost.folds)}
    key = f"{ATTRIBUTE} {entry.number} {one.part.name}, {cost.folds} folds"
    return Child(f"{entry.name} without {one.part.name}", key, figures, one.part.without)
