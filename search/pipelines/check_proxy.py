"""``augsearch check-proxy``: do short trainings rank candidates as final models do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

import optuna
from rich.markup import escape
from rich.table import Table

from augsearch.policies import Policy, UserError
from augsearch.policies.errors import first_line
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.registry import opened
from augsearch.search.engines.tasks import evaluate_final
from augsearch.search.figures.proxy_check import draw_check
from augsearch.search.final.scored import A_WEEK, ScoredFinals
from augsearch.search.inputs.identity import identity_of, study_name
from augsearch.search.inputs.prepare import make_folder, with_picked_network, with_stand_in
from augsearch.search.inputs.reopened import as_its_run, reopen, scored_alike
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.workplace import remove_teachers
from augsearch.search.pipelines.afterwards import Logged, log_afterwards, rewrite_report
from augsearch.search.pipelines.budgeted import final_cost
from augsearch.search.pipelines.measure import SHARED, measure
from augsearch.search.pipelines.trainings import OnFold, run_trainings
from augsearch.search.pipelines.trainings import Training as Task
from augsearch.search.race.resume import open_as_begun, space_for
from augsearch.search.report.facts import folder_of
from augsearch.search.settings.durations import duration_in_words
from augsearch.search.settings.sections import AUTO
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import describe
from augsearch.search.space.space import Space
from augsearch.search.space.spread import spread
from augsearch.search.statistics.agreement import FEWEST
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.proxy_check import (
    ATTRIBUTE,
    FINAL,
    PROXY,
    Checked,
    ProxyCheck,
    Training,
    belief_in_words,
    keep_result,
    result_of,
    seeds_in_words,
    spread_of,
)
from augsearch.search.studies.study import load_study, open_storage, open_study, space_of
from augsearch.trainers.data.views import OnDisk
from augsearch.trainers.evaluation.metrics import METRICS, Metric
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.system.threads import available_cores
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

SEEDS, CANDIDATES = 2, 12
PICTURE = "proxy-check.png"


def check_proxy(settings: Settings, candidates: int, seeds: int, display: Display) -> ProxyCheck:
    """Train ``candidates`` spread candidates both ways, compare, print, draw and keep it.

    All of it is kept in a study of its own, training by training: the same call goes on where it stopped,
    and one with more candidates, folds or seeds goes on from there. Where there is a run's study, of this
    data and these settings or the one that they name, what is not given is as in that run, and the outcome is
    kept with it too. The test part is not read.

    Raises:
        UserError: the input is bad; nothing is lost.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    run, settings, data = _opened(settings, display)
    settings = settings.changed(final=True, fold_timeout=max(A_WEEK, settings.engine.fold_timeout))
    space = space_for(settings, data) if run is None else space_of(run, settings.space)
    chosen = spread(space, candidates, settings.seed)
    finals = ScoredFinals.of(data, settings, chosen.values(), display)
    study = _study_of(settings, finals, space)
    with (
        only_driver(study.study_name, settings.tracking.storage),
        opened(settings.engine, display.line) as engine,
    ):
        job = _Checking(study, finals, chosen, seeds, display)
        failures = job.train(engine)
        for failure in failures:
            display.line(failure)
        check = job.outcome()
        show(check, display)
        remove_teachers(data.workspace)
        for one in (study, run):
            if one is not None:
                one.set_user_attr(ATTRIBUTE, check.to_json())
        _keep(study, run, settings, data, check, display)
    return check


def _opened(settings: Settings, display: Display) -> tuple[optuna.Study | None, Settings, Data]:
    """The run's study if there is one, the settings with what it adds, and the data."""
    storage = open_storage(settings.tracking.storage)
    known, given = optuna.get_all_study_names(storage), settings.tracking.study
    if given in known:
        run = load_study(storage, str(given))
        settings = _with_proxy_told(as_its_run(run, settings), settings)
        return run, settings, reopen(run, settings, display)
    picked = with_stand_in(with_picked_network(settings, display))
    picked, data = open_as_begun(picked, settings, display)
    for likely in (picked.with_usual_budget(), picked):
        if given is None and (name := study_name(likely, data)) in known:
            run = load_study(storage, name)
            with suppress(UserError):  # without a record of its run there is nothing to take from it
                settings = as_its_run(run, settings)
                return run, settings, reopen(run, settings, display, data)
    return None, picked, data


def _with_proxy_told(settings: Settings, told: Settings) -> Settings:
    """A run's ``settings`` with what ``--proxy`` was ``told``; another one than it had is refused later."""
    if "proxy" not in told.given:
        return settings
    proxy = with_stand_in(told.changed(final_model=settings.network)).proxy
    return settings.changed(proxy=AUTO, proxy_model=proxy.model, proxy_size=proxy.size)


def _study_of(settings: Settings, finals: ScoredFinals, space: Space) -> optuna.Study:
    """The check's own study: how many candidates, folds and seeds there are may change, the rest not."""
    identity = scored_alike(identity_of(settings, finals.data))
    plan = finals.plan(Candidate(policy=Policy(num_ops=0)))
    identity |= {
        "final network": plan.model,
        "final epochs": plan.recipe.epochs,
        "final size": finals.pixels.side,
        "final recipe": digest(plan.model_dump_json())[:8],
    }
    if isinstance(finals.pixels, OnDisk) and finals.settings.final.crop_scale is None:
        identity["final crops"] = "as the policy says"  # once there was always one
    name = settings.tracking.study or f"{finals.data.images.name}-{digest(identity)[:6]}"
    storage = open_storage(settings.tracking.storage)
    return open_study(storage, f"{name} {ATTRIBUTE}", identity, space, warm_start=False)


@dataclass(frozen=True, eq=False)
class _Checking:
    """One check: what its steps share."""

    study: optuna.Study
    finals: ScoredFinals
    candidates: Mapping[str, Candidate]
    seeds: int
    display: Display

    def train(self, engine: Engine) -> list[str]:
        """Run what is missing, the long ones first; says what failed."""
        every = self._trainings()
        missing = [one for one in every if result_of(self.study, one) is None]
        self._announce(every, missing, engine)
        failures, names = [], {candidate: name for name, candidate in self.candidates.items()}
        with self.display.bar("training", len(every), len(every) - len(missing)) as bar:
            for owner, result in run_trainings([*map(self._task, missing)], engine, self._workspace):
                name = names[owner.candidate]
                if isinstance(result, FoldResult):
                    keep_result(self.study, owner, result)
                else:
                    what = f"{name}, {owner.kind} {owner.number}: {first_line(result)}"
                    failures.append(f"{what}; the same command tries it again")
                bar.advance(1, name)
        return failures

    def _trainings(self) -> list[Training]:
        folds = self.finals.settings.search.folds
        of_kinds = [(FINAL, range(self.seeds)), (PROXY, range(folds))]
        return [
            Training(candidate, kind, number)
            for kind, numbers in of_kinds
            for number in numbers
            for candidate in self.candidates.values()
        ]

    def _task(self, one: Training) -> Task[Training] | OnFold[Training]:
        if one.kind == PROXY:
            return OnFold(one, one.candidate, Fold(Stage.SEARCH, one.number))
        job, scored = self.finals.job(one.candidate, one.number), self.finals.images(Stage.CONFIRMATION)
        return Task(one, evaluate_final, (job, scored, self.finals.settings.search.metric))

    def _announce(self, every: Sequence[Training], missing: Sequence[Training], engine: Engine) -> None:
        done = f", {len(every) - len(missing)} done before" if len(missing) < len(every) else ""
        self.display.line(
            f"checking {self.proxy} against {self.final}: {len(self.candidates)} candidates, "
            f"{self.finals.settings.search.folds} × the first and {self.seeds} × the second of each{done}"
        )
        if not missing:
            return
        speed = measure(engine, self.finals.data, self.finals.settings)
        final_rate = speed.final_images / (SHARED * max(engine.slots, available_cores()))
        seconds = 0.0
        for one in missing:
            cost = final_cost(one.candidate.training, self.finals.data)
            passes = self._proxy_passes if one.kind == PROXY else self._final_passes(one.candidate)
            seconds += cost * passes / (speed.images if one.kind == PROXY else final_rate)
        self.display.line(
            f"about {duration_in_words(seconds / engine.slots)}, give or take a third, on {engine.slots} "
            f"worker{'s' * (engine.slots > 1)}. Stop it at any time: the same command goes on"
        )

    @property
    def _workspace(self) -> Workspace:
        return self.finals.data.workspace

    @property
    def _proxy_passes(self) -> int:
        proxy = self._workspace.proxy
        return proxy.fold_size * proxy.epochs

    def _final_passes(self, candidate: Candidate) -> int:
        return len(self.finals.data.splits.train) * self.finals.plan(candidate).recipe.epochs

    @property
    def proxy(self) -> str:
        """A short training in words."""
        proxy, told = self._workspace.proxy, self.finals.settings.proxy
        return f"{told.in_words}, {proxy.fold_size:,} images × {proxy.epochs} epochs"

    @property
    def final(self) -> str:
        """A final training in words."""
        plan = self.finals.plan(next(iter(self.candidates.values())))
        images = len(self.finals.data.splits.train)
        return f"{plan.model}, {images:,} images × {plan.recipe.epochs} epochs"

    def outcome(self) -> ProxyCheck:
        """What is known of the candidates that have all their trainings."""
        checked = []
        for name, candidate in self.candidates.items():
            proxy = self._scores(candidate, PROXY, self.finals.settings.search.folds)
            final = self._scores(candidate, FINAL, self.seeds)
            if proxy and final:
                baseline = name in space_of(self.study, self.finals.settings.space).baselines
                checked.append(Checked(name, describe(candidate), baseline, proxy, final))
        if len(checked) < FEWEST:
            raise UserError(
                f"only {len(checked)} candidates could be trained both ways, and fewer than {FEWEST} say "
                "nothing; run the same command again"
            )
        metric = self.finals.settings.search.metric
        return ProxyCheck.of(self.study.study_name, metric, self.proxy, self.final, checked)

    def _scores(self, candidate: Candidate, kind: str, count: int) -> tuple[float, ...]:
        """All ``count`` scores; none where one is missing."""
        results = [result_of(self.study, Training(candidate, kind, number)) for number in range(count)]
        known = [result.score for result in results if result is not None]
        return tuple(known) if len(known) == count else ()


def show(check: ProxyCheck, display: Display) -> None:
    """The table and what follows from it."""
    metric = METRICS[check.metric]
    drawn = Table(
        title=f"Short trainings ({check.proxy}) and final models ({check.final}): {metric.label}",
        title_justify="left",
        caption="Final models learned from the training part alone and are scored on the confirmation "
        "images, short trainings on the validation images. In brackets: 95 % intervals of a bootstrap over "
        "candidates.",
        caption_justify="left",
    )
    drawn.add_column("#", justify="right")
    drawn.add_column("candidate")
    for column in ("short", "rank", "final", "rank"):
        unit = metric.suffix if column != "rank" else ""
        drawn.add_column(f"{column}{unit}", justify="right", no_wrap=True)
    for number, (one, places) in enumerate(zip(check.candidates, check.ranks, strict=True), start=1):
        what = one.name if one.baseline else f"{one.name}: {one.words}"
        cells = (_mean(metric, one.proxy), f"{places[0]:g}", _mean(metric, one.final), f"{places[1]:g}")
        drawn.add_row(str(number), escape(what), *cells)
    display.table(drawn)
    display.result(belief_in_words(check))
    if (between := seeds_in_words(check)) is not None:
        display.result(between)


def _mean(metric: Metric, scores: tuple[float, ...]) -> str:
    sd = spread_of(scores)
    spread = "" if sd is None else f" ± {metric.shown_spread(sd)}"
    return f"{metric.shown(fmean(scores), unit=False)}{spread}"


def _keep(
    study: optuna.Study,
    run: optuna.Study | None,
    settings: Settings,
    data: Data,
    check: ProxyCheck,
    display: Display,
) -> None:
    """The picture in the folder of the run's study, or of the check's own; there also report and MLflow."""
    folder = folder_of(run or study)
    make_folder(folder)
    picture = folder / PICTURE
    draw_check(check, picture)
    if run is None:
        display.result(f"picture: {picture}")
        return
    page = rewrite_report(run, folder, display)
    display.result(f"picture: {picture}   report: {page}")
    found = check.agreement
    figures = {
        "proxy_spearman": found.spearman.value,
        "proxy_kendall": found.kendall.value,
        "proxy_regret": found.regret.value,
    }
    log_afterwards(run, settings, data, Logged(ATTRIBUTE, [], [picture, page], figures), display)
