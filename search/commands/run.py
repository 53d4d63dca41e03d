"""``augsearch run``, step by step."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from augsearch.policies import UserError, read_policy, write_policy
from augsearch.policies.errors import first_line
from augsearch.search import command_lines as commands
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.workers import lazy_engine
from augsearch.search.final.plan import final_key
from augsearch.search.final.train import log_final, train_and_test
from augsearch.search.inputs.identity import identity_of, study_name
from augsearch.search.inputs.prepare import make_folder, open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.summary import keep_summary, overlap_in_words
from augsearch.search.race.confirm import Confirmation, choose_finalists, confirm
from augsearch.search.race.race import Race, TrialDone
from augsearch.search.race.resume import study_of
from augsearch.search.race.view import RaceView
from augsearch.search.settings import HOME, Settings, show_settings
from augsearch.search.space.describe import describe
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.costs import FINAL, in_words, ledger
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.policy_file import policy_file_of
from augsearch.search.studies.study import entries
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers.evaluation.metrics import METRICS

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


def run(settings: Settings, display: Display) -> Outcome:
    """Search, confirm, decide, export and train the final model; whatever is done already is not done again.

    Raises:
        UserError: the input is bad; nothing is lost.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    data = open_data(settings, display)
    name = study_name(settings, data)
    output = settings.output or HOME / name
    make_folder(output)
    with only_driver(name):
        study = study_of(settings, data, name)
        if (overlap := overlap_in_words(keep_summary(study, settings.data, data))) is not None:
            display.line(overlap)
        study.set_user_attr("settings", settings.model_dump(mode="json"))
        study.set_user_attr("output", str(output))
        tracker = _track(settings, data, study)
        status = "KILLED"
        try:
            verdict = _search_and_confirm(study, data, settings, display, tracker)
            policy_file = _export(study, verdict, data, settings, output, tracker)
            final = (
                _final(study, data, settings, policy_file, output, display, tracker)
                if settings.final
                else None
            )
            _report(study, output, display, tracker)
            status = "FINISHED"
        except UserError:
            status = "FAILED"
            raise
        finally:
            if tracker is not None and (problem := tracker.close(status)) is not None:
                display.line(f"MLflow did not take everything ({problem}); the same command logs it again")
            elif status == "FINISHED":
                study.set_user_attr("tracked", settings.model_dump(mode="json"))
        return Outcome(name, verdict, policy_file, final)


def next_steps(settings: Settings, outcome: Outcome) -> str:
    """Where the results are, and the commands that a person may want next."""
    policy = outcome.policy_file
    beside = "   ".join(f"{word}: {policy.with_name(name)}" for word, name in _BESIDE.items())
    steps = (
        commands.ui_command(settings),
        commands.export_command(settings, outcome.study),
        commands.preview_command(settings),
        commands.train_command(settings, read_policy(policy).training),
    )
    return "\n".join([f"policy: {policy}   {beside}", "next:", *(f"  {step}" for step in steps)])


def _track(settings: Settings, data: Data, study: optuna.Study) -> Tracker | None:
    """A tracker; None where everything was tracked already and nothing new is to come."""
    if study.user_attrs.get("tracked") == settings.model_dump(mode="json"):
        return None
    description = (
        f"augsearch study **{study.study_name}**. The runs below it are its trials; "
        "baselines are trials too, tagged `baseline`."
    )
    key = study.user_attrs["key"]
    tracker = Tracker(settings.tracking_uri, data.experiment, study.study_name, key, description)
    tracker.parent(params={**settings.model_dump(mode="json"), **identity_of(settings, data)})
    return tracker


def _search_and_confirm(
    study: optuna.Study, data: Data, settings: Settings, display: Display, tracker: Tracker | None
) -> Verdict:
    with lazy_engine(settings) as engine:
        if _search_is_unfinished(study, settings):
            _search(study, engine(), data, settings, display, tracker)
        if tracker:
            tracker.trials(entries(study), _params(study))
        finalists = choose_finalists(study, settings.finalists)
        metric = METRICS[settings.metric]
        margin = settings.margin or metric.margin
        confirmation = Confirmation(study, finalists, settings.confirm_folds, margin, metric)
        _confirm(engine, data, confirmation, display)
    # Of large networks they take gigabytes; a longer search would train its own again.
    shutil.rmtree(data.workspace.fold_teachers, ignore_errors=True)
    verdict = confirmation.verdict()
    study.set_user_attr("verdict", verdict.to_json())
    display.summary(verdict, entries(study))
    # The final training's cost is told when it is done, and not here where it was done before.
    display.line(in_words({stage: spent for stage, spent in ledger(study).items() if stage != FINAL}))
    return verdict


def _search_is_unfinished(study: optuna.Study, settings: Settings) -> bool:
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    ended = sum(state.is_finished() for state in states)
    return ended < settings.trials or any(not state.is_finished() for state in states)


def _search(
    study: optuna.Study,
    engine: Engine,
    data: Data,
    settings: Settings,
    display: Display,
    tracker: Tracker | None,
) -> None:
    known = entries(study)
    ended = [entry for entry in known if entry.state.is_finished()]
    resumed = f", {len(ended)} done before" if known else ""
    proxy = data.workspace.proxy
    display.line(
        f"study {study.study_name}: {settings.trials} trials{resumed}, up to {settings.folds} folds "
        f"of {proxy.fold_size} images × {proxy.epochs} epochs, {engine.slots} workers"
    )
    with display.bar("searching", settings.trials * settings.folds, len(ended) * settings.folds) as bar:
        view = RaceView(display, bar, settings.folds, METRICS[settings.metric], known)
        for event in Race(study, engine, data.workspace, settings):
            view.show(event)
            if tracker is not None:
                tracker.check()
                if isinstance(event, TrialDone):
                    tracker.trials([e for e in entries(study) if e.number == event.number], _params(study))


def _params(study: optuna.Study) -> dict[int, dict[str, Any]]:
    return {trial.number: trial.params for trial in study.get_trials(deepcopy=False)}


def _confirm(engine: Any, data: Data, confirmation: Confirmation, display: Display) -> None:
    if not confirmation.missing():
        return
    names = ", ".join(entry.name for entry in confirmation.finalists)
    display.line(f"confirming on up to {confirmation.folds} fresh folds, fewer where that decides: {names}")
    with display.bar("confirming", len(confirmation.finalists) * confirmation.folds) as bar:
        bar.reach(*confirmation.progress())
        for _ in confirm(confirmation, engine(), data.workspace):
            bar.reach(*confirmation.progress())


def _export(
    study: optuna.Study,
    verdict: Verdict,
    data: Data,
    settings: Settings,
    output: Path,
    tracker: Tracker | None,
) -> Path:
    known = {entry.number: entry for entry in entries(study)}
    chosen = known[verdict.recommended]
    path = output / "policy.json"
    write_policy(policy_file_of(study, chosen, verdict.to_json()), path)
    if tracker is None and (output / "preview.png").exists():
        return path
    from augsearch.search.commands.preview import preview_of
    from augsearch.search.figures import search as figures

    made = [path, output / "preview.png", output / "history.png", output / "settings.toml"]

    preview_of(
        chosen.candidate.policy,
        data.images,
        data.splits.train,
        title=f"{chosen.name}: {describe(chosen.candidate)}",
    ).save(output / "preview.png")
    semi = chosen.candidate.semi
    if semi is not None and semi.policy is not None:
        preview_of(
            semi.policy, data.images, data.splits.train, title=f"{chosen.name}: of unlabeled images"
        ).save(output / "preview-unlabeled.png")
        made.append(output / "preview-unlabeled.png")
    figures.history(list(known.values()), METRICS[settings.metric], output / "history.png")
    (output / "settings.toml").write_text(show_settings(settings), encoding="utf-8")
    if figures.importances(study, output / "importances.png"):
        made.append(output / "importances.png")
    if tracker is not None:
        for file in made:
            tracker.artifact(file)
        best = verdict.confirmed[0]
        tracker.parent(
            metrics={
                "confirmed_accuracy": next(
                    one.accuracy for one in verdict.confirmed if one.number == chosen.number
                )
            },
            tags={
                "verdict": verdict.sentence,
                "verdict_kind": verdict.kind,
                "recommended": chosen.name,
                "best_confirmed": best.name,
            },
        )
    return path


def _report(study: optuna.Study, output: Path, display: Display, tracker: Tracker | None) -> None:
    """Write the page about it all. One that can't be drawn must not lose the run."""
    page = output / "report.html"
    if tracker is None and page.exists():  # nothing is new
        return
    from augsearch.search.report.page import write_report

    try:
        write_report(study, page, output)
    except Exception as error:
        again = f"augsearch report {shlex.quote(study.study_name)} tries again"
        display.line(f"{page} could not be written ({first_line(error)}); {again}")
        return
    if tracker is not None:
        tracker.artifact(page)


def _final(
    study: optuna.Study,
    data: Data,
    settings: Settings,
    policy_file: Path,
    output: Path,
    display: Display,
    tracker: Tracker | None,
) -> dict[str, Any]:
    key = final_key(policy_file, settings, data)
    known: dict[str, Any] | None = study.user_attrs.get("final")
    if known is not None and known["key"] == key and Path(known["model"]).exists():
        accuracy = 100 * known["figures"]["test_accuracy"]
        display.line(f"final model: test accuracy {accuracy:.1f} %, saved as {known['model']}")
        if tracker is not None:  # it may have been killed before all of it was logged
            log_final(tracker, data, known)
        return known
    by = f"augsearch run, study {study.study_name}"
    final = {"key": key, **train_and_test(data, settings, policy_file, output, display, tracker, by, study)}
    study.set_user_attr("final", final)
    return final
