"""``augsearch run``, step by step."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from augsearch.policies import Policy, read_policy, write_policy
from augsearch.policies.errors import first_line
from augsearch.search import command_lines as commands
from augsearch.search.budget.session import Session
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.registry import opened
from augsearch.search.final.plan import final_epochs, final_key, short_settings, with_transfer
from augsearch.search.final.scored import ScoredFinals
from augsearch.search.final.train import log_final, train_and_test
from augsearch.search.inputs.identity import identity_of, study_name
from augsearch.search.inputs.prepare import make_folder
from augsearch.search.inputs.run_data import Data, tracked_data
from augsearch.search.inputs.stand_in import stand_in_in_words
from augsearch.search.inputs.summary import imbalance_in_words, keep_summary, warnings_of
from augsearch.search.pipelines import tracked
from augsearch.search.pipelines.alongside import followed
from augsearch.search.pipelines.budgeted import Outlook, final_cost, planned, task_of, trained_on_of
from augsearch.search.pipelines.changed import changes_in_words
from augsearch.search.pipelines.confirming import Confirming
from augsearch.search.pipelines.final_check import FinalChecking
from augsearch.search.pipelines.refine import refine
from augsearch.search.pipelines.sync import ABOUT, log_verdict
from augsearch.search.race.race import Event, FoldDone, Race, TrialDone, TrialStarted
from augsearch.search.race.resume import open_begun, study_of
from augsearch.search.race.view import RaceView, show_verdict
from augsearch.search.settings.files import show_settings
from augsearch.search.settings.sections import HOME
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import describe
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.controls import by_number, with_controls
from augsearch.search.studies.costs import FINAL, in_words, ledger
from augsearch.search.studies.dashboard import keep_note
from augsearch.search.studies.ending import keep_end, missing_baselines, time_was_up
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.policy_file import policy_file_of
from augsearch.search.studies.pruner import pruner_of
from augsearch.search.studies.refinement import refined
from augsearch.search.studies.study import Entry, counted, entries, entry_of, reasons, space_of
from augsearch.search.tracking.runs import NOT_HEEDED, Tracker
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.workspace.candidate import Candidate, ProxySettings

_BESIDE = {"sheet": "preview.png", "report": "report.html"}
"""What lies beside the policy file, and what a person calls it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    study: str
    verdict: Verdict
    policy_file: Path
    final: dict[str, Any] | None
    """The final model's path and figures; None with ``--no-final``."""
    final_epochs: int | None = None
    """The epochs of the final training, where the budget decided them."""
    trained: Settings | None = None
    """What the final training was done with, whoever decided it; None: it was done before."""


def run(
    settings: Settings,
    display: Display,
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
    opens: bool | None = None,
) -> Outcome:
    """Search, confirm, decide, export and train the final model; whatever is done already is not done again.

    ``clock`` tells the seconds that a budget is counted in, from ``began`` on; None: from now on. ``opens``:
    whether the report is served meanwhile, in a browser where there is a screen; False: it is said what
    serves it, None: it isn't.

    Raises:
        UserError: the input is bad; nothing is lost.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    began = clock() if began is None else began
    settings, data = open_begun(settings, display)
    name = study_name(settings, data)
    output = settings.tracking.output or HOME / name
    make_folder(output)
    with only_driver(name, settings.tracking.storage) as renew:
        study = study_of(settings, data, name, renew=renew)
        for line in _to_heed(settings, data, study):
            display.line(line)
        study.set_user_attr("settings", settings.flat())
        study.set_user_attr("output", str(output))
        if ignored := [name for name in NOT_HEEDED if os.environ.get(name)]:
            display.line(f"{', '.join(ignored)}: not heeded; a study has an MLflow experiment of its own")
        tracker = _track(settings, data, study)
        session = None
        if settings.seconds is not None:
            task = task_of(settings, data, space_of(study, settings.space))
            session = Session(study, settings.seconds, task, clock, began)
        if settings.stands_in:
            check = commands.check_proxy_command(settings, name)
            display.line(stand_in_in_words(settings.proxy, settings.network, check))
        job = _Run(settings, settings, data, study, output, display, tracker, session)
        if tracker is None:
            if opens:
                display.line(f"--open: nothing is left to run; the report is {output / 'report.html'}")
            return job.outcome()
        again = commands.watch_command(settings, name)
        alive = followed(name, settings.tracking.storage, again, display, opens)
        with alive, tracker.closing(display.line):
            outcome = job.outcome()
        if tracker.complete:
            tracked.keep(study, settings.flat())
        return outcome


def next_steps(settings: Settings, outcome: Outcome) -> str:
    """Where the results are, and the commands that a person may want next."""
    policy = outcome.policy_file
    trained = outcome.trained or settings
    beside = "   ".join(f"{word}: {policy.with_name(name)}" for word, name in _BESIDE.items())
    steps = (
        commands.ui_command(settings),
        commands.export_command(settings, outcome.study),
        commands.preview_command(settings),
        *([commands.check_proxy_command(settings, outcome.study)] if trained.stands_in else []),
        commands.train_command(trained, read_policy(policy).training),
    )
    return "\n".join([f"policy: {policy}   {beside}", "next:", *(f"  {step}" for step in steps)])


def _to_heed(settings: Settings, data: Data, study: optuna.Study) -> Iterator[str]:
    """What is unusual about the data or the settings, a line each."""
    summary, search = keep_summary(study, settings.data.source, data), settings.search
    unequal = imbalance_in_words(summary, search.metric, search.class_balance)
    yield from filter(None, (*warnings_of(summary), unequal, *commands.of_no_use(settings)))
    yield from changes_in_words(study, settings.flat())


def _trained(proxy: ProxySettings) -> str:
    """How long folds train, or by whom."""
    return f" × {proxy.epochs} epochs" if proxy.own is None else f", trained by {proxy.own.function}"


def _track(settings: Settings, data: Data, study: optuna.Study) -> Tracker | None:
    """A tracker; None where everything was tracked already and nothing new is to come."""
    if tracked.all_is_tracked(study, settings.flat(), settings.engine):
        return None
    tracked.begin(study)
    description = ABOUT.format(study.study_name)
    key, uses = study.user_attrs["key"], tracked_data(data, settings.data.source)
    tracker = Tracker(settings.tracking.uri, data.experiment, study.study_name, key, description, uses)
    tracker.parent(params={**settings.flat(), **identity_of(settings, data)})
    return tracker


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: what its steps share."""

    settings: Settings
    """With the sizes that a budget planned."""
    told: Settings
    """As they were given."""
    data: Data
    study: optuna.Study
    output: Path
    display: Display
    tracker: Tracker | None
    """None: all of it is in MLflow already."""
    session: Session | None = None
    """None: there is no budget."""

    def outcome(self) -> Outcome:
        """Take every step that is not done yet."""
        with opened(self.settings.engine, self.display.line) as engine:
            job = self._planned(engine)
            verdict = job._verdict(engine)
        return job._after(job._checked(verdict))

    def _checked(self, verdict: Verdict) -> Verdict:
        """Ask the final network which of the best to use."""
        if not self.told.compares_on_final:
            return verdict

        def finals_of(candidates: Iterable[Candidate]) -> ScoredFinals:
            short = short_settings(self.told, self.settings, len(self.data.splits.train))
            return ScoredFinals.of(self.data, short, candidates, self.display)

        network, seeds = self.told.network, self.told.final.seeds
        checking = FinalChecking(network, seeds, finals_of, self.study, self.display, self.session)
        return checking.verdict(verdict)

    def _after(self, verdict: Verdict) -> Outcome:
        """Export, train the final model and report."""
        settings = self.settings
        if settings.final.refine:
            winner = by_number(self.study)[verdict.recommended]
            finals = ScoredFinals.of(self.data, settings, [winner.candidate], self.display)
            refine(self.study, winner, finals, self.display)
        policy_file = self._export(verdict)
        final = None
        if settings.final.train:
            settings = self._final_settings(policy_file)
            final = self._final(policy_file, settings)
        self._report()
        if self.session is not None:
            self.session.note()
        epochs = settings.final.epochs if self.session is not None else None
        return Outcome(self.study.study_name, verdict, policy_file, final, epochs, settings)

    def _planned(self, engine: Engine) -> _Run:
        """The same with the sizes that its budget leaves it."""
        if self.session is None:
            return self
        settings, data = planned(self.session, engine, self.data, self.settings, self.display)
        self.study.pruner = pruner_of(settings.search.pruner, settings.search.folds)
        return replace(self, settings=settings, data=data)

    def _verdict(self, engine: Engine) -> Verdict:
        """Search and confirm."""
        settings, study, session = self.settings, self.study, self.session
        if self._search_is_unfinished():
            self._search(engine)
        if self.tracker:
            self.tracker.trials(entries(study), reasons(study))
        space = space_of(study, settings.space)
        missing = tuple(missing_baselines(study, space))
        rules, metric = settings.confirmation, METRICS[settings.search.metric]
        source, limits = settings.data.source, settings.engine
        confirming = Confirming(
            *(rules, source, metric, missing, self.data, study, self.display, session, limits),
            safest=space.safest,
        )
        verdict = confirming.verdict(engine)
        show_verdict(self.display, verdict, with_controls(study), session.seconds if session else None)
        # The final training's cost is told when it is done, and not here where it was done before.
        spent = {stage: cost for stage, cost in ledger(study).items() if stage != FINAL}
        self.display.line(in_words(spent))
        return verdict

    def _search_is_unfinished(self) -> bool:
        trials, search = counted(self.study), self.settings.search
        ended = sum(trial.state.is_finished() for trial in trials)
        if ended < len(trials):
            return True
        if self.session is not None and self.session.search_is_over:
            return False
        return ended < search.trials and not time_was_up(self.study, search.timeout, search.trials)

    def _search(self, engine: Engine) -> None:
        study, search, proxy = self.study, self.settings.search, self.data.workspace.proxy
        known, session = entries(study), self.session
        ended = [entry for entry in known if entry.state.is_finished()]
        resumed = f", {len(ended)} done before" if known else ""
        trials = session.sizes.trials if session else search.trials
        many = f"about {trials}" if session else f"{trials}"
        folds = "1 fold" if search.folds == 1 else f"up to {search.folds} folds"
        self.display.line(
            f"study {study.study_name}: {many} trials{resumed}, {folds} "
            f"of {proxy.fold_size} images{_trained(proxy)}, {engine.slots} workers"
        )
        timing: Session | Outlook | None = session
        if session is None and not known:
            task = task_of(self.settings, self.data, space_of(study, self.settings.space))
            timing = Outlook(self.display, self.data, self.settings, task, engine.slots)
        may_begin = session.may_begin_trial if session else None
        with self.display.bar("searching", trials * search.folds, len(ended) * search.folds) as bar:
            view = RaceView(self.display, bar, search.folds, METRICS[search.metric], known)
            candidates: dict[int, Candidate] = {}
            for event in Race(study, engine, self.data.workspace, self.settings, may_begin=may_begin):
                if isinstance(event, TrialStarted):
                    candidates[event.number] = event.candidate
                view.show(event)
                if isinstance(event, FoldDone) and timing is not None:
                    timing.fold_done(candidates[event.number], event.result)
                self._log(event)
        if session is not None:
            session.search_ended(len(study.get_trials(deepcopy=False)))
        for line in keep_end(study, self.settings.space, search.timeout, search.trials):
            self.display.line(line)

    def _log(self, event: Event) -> None:
        if self.tracker is None:
            return
        self.tracker.check()
        if isinstance(event, TrialDone):
            done = entry_of(self.study, event.number)
            self.tracker.trials([done] if done else [], {event.number: event.reason})

    def _export(self, verdict: Verdict) -> Path:
        chosen = refined(self.study, by_number(self.study)[verdict.recommended])
        path = self.output / "policy.json"
        write_policy(policy_file_of(self.study, chosen, verdict.to_json()), path)
        keep_note(self.study, verdict.sentence, chosen.name)
        if self.tracker is None and (self.output / "preview.png").exists():
            return path
        drawn = self._draw(chosen, entries(self.study))
        if self.tracker is not None:
            for file in (path, *drawn):
                self.tracker.artifact(file)
            log_verdict(self.tracker, self.study.study_name, verdict, chosen)
        return path

    def _draw(self, chosen: Entry, known: list[Entry]) -> list[Path]:
        """The pictures of the search and its policy, and the settings; returns the files."""
        from augsearch.search.figures import search as figures
        from augsearch.search.pipelines.preview import preview_of

        def sheet(policy: Policy, file: str, title: str) -> Path:
            preview = preview_of(policy, self.data.images, self.data.splits.train, title=title)
            preview.save(self.output / file)
            return self.output / file

        candidate = chosen.candidate
        made = [sheet(candidate.policy, "preview.png", f"{chosen.name}: {describe(candidate)}")]
        if candidate.semi is not None and candidate.semi.policy is not None:
            title = f"{chosen.name}: of unlabeled images"
            made.append(sheet(candidate.semi.policy, "preview-unlabeled.png", title))
        history, shown = self.output / "history.png", self.output / "settings.toml"
        figures.history(known, METRICS[self.settings.search.metric], history)
        shown.write_text(show_settings(self.told), encoding="utf-8", errors="surrogateescape")
        made += [history, shown]
        if figures.importances(self.study, self.output / "importances.png"):
            made.append(self.output / "importances.png")
        return made

    def _final_settings(self, policy_file: Path) -> Settings:
        """The settings of the final training, with as many epochs as the budget leaves time for."""
        if self.session is None:
            return self.settings
        training = with_transfer(read_policy(policy_file), self.settings).training
        trained_on = trained_on_of(self.settings, self.data)
        usual = final_epochs(self.settings, trained_on, training)
        trained = self._epochs_of_the_model(policy_file)
        epochs = self.session.final_epochs(usual, final_cost(training, self.data), trained)
        return self.settings.changed(final_epochs=epochs)

    def _epochs_of_the_model(self, policy_file: Path) -> int:
        """The epochs of the model that a smaller budget left, if it is of this policy; 0: it isn't."""
        known = self.study.user_attrs.get("final")
        epochs = None if self.session is None else self.session.epochs_before
        if known is None or epochs is None or not Path(known["model"]).exists():
            return 0
        same = final_key(policy_file, self.settings.changed(final_epochs=epochs), self.data) == known["key"]
        return epochs if same else 0

    def _final(self, policy_file: Path, settings: Settings) -> dict[str, Any]:
        study = self.study
        key = final_key(policy_file, settings, self.data)
        known: dict[str, Any] | None = study.user_attrs.get("final")
        if known is not None and known["key"] == key and Path(known["model"]).exists():
            accuracy = 100 * known["figures"]["test_accuracy"]
            self.display.result(f"final model: test accuracy {accuracy:.1f} %, saved as {known['model']}")
            if self.tracker is not None:  # it may have been killed before all of it was logged
                log_final(self.tracker, self.data, known, settings.tracking.registered)
            return known
        by = f"augsearch run, study {study.study_name}"
        final = {
            "key": key,
            **train_and_test(
                self.data, settings, policy_file, self.output, self.display, self.tracker, by, study
            ),
        }
        study.set_user_attr("final", final)
        return final

    def _report(self) -> None:
        """Write the page about it all. One that can't be drawn must not lose the run."""
        page = self.output / "report.html"
        if self.tracker is None and page.exists():  # nothing is new
            return
        from augsearch.search.report.page import write_report

        try:
            write_report(self.study, page, self.output)
        except Exception as error:
            again = f"augsearch report {shlex.quote(self.study.study_name)} tries again"
            self.display.line(f"{page} could not be written ({first_line(error)}); {again}")
            return
        if self.tracker is not None:
            self.tracker.artifact(page)
