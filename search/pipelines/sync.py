"""``augsearch sync``: what MLflow has not, or not yet, of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.final.train import log_final
from augsearch.search.inputs.reopened import reopen, settings_of
from augsearch.search.settings.addresses import TRACKING_VARIABLE, is_redacted, redacted
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.controls import by_number
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.study import Entry, check_own, entries, load_study, open_to_read, reasons
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers.evaluation.metrics import METRICS

ABOUT = (
    "augsearch study **{}**. The runs below it are its trials; baselines are trials too, tagged `baseline`. "
    "Among the artifacts are the report, a preview of the policy, and the policy file."
)
"""What MLflow says of a study's run."""
FILES = (
    *("policy.json", "settings.toml", "report.html"),
    *("preview.png", "preview-unlabeled.png", "history.png", "importances.png"),
)
"""What a run makes and keeps with MLflow, where it made it."""


def sync(name: str, storage: str | None, tracking: str | None, display: Display) -> None:
    """Log all of study ``name`` to MLflow that is not there; what is there stays as it is.

    ``tracking``: MLflow's address; None: the one that the study's run logged to.

    Raises:
        UserError: there is no such study, it is being run, or MLflow can't be reached.
    """
    storage = storage or TrackingSettings().storage
    with only_driver(name, storage):
        study = load_study(open_to_read(storage), name)
        check_own(study)
        settings = settings_of(study)
        uri = tracking or _recorded_uri(study)
        label = study.user_attrs["identity"]["data"]
        what, _, content = label.rpartition(" ")
        key = study.user_attrs.get("key", name)
        tracker = Tracker(uri, f"{what} {content[:8]}", name, key, ABOUT.format(name))
        known = entries(study)
        with tracker.closing(display.line):
            tracker.parent(params={**settings.flat(), **study.user_attrs["identity"]})
            tracker.trials(known, reasons(study))
            _log_results(tracker, study, display)
            tracker.wait()
    if not tracker.complete:
        raise UserError(f"MLflow at {redacted(uri)} did not take everything; the same command goes on")
    ended = sum(one.state.is_finished() for one in known)
    display.result(f"study {name}: MLflow at {redacted(uri)} has its {ended} trials and what came of them")


def log_verdict(tracker: Tracker, study: str, verdict: Verdict, chosen: Entry) -> None:
    """Log what the confirmation found on the study's run."""
    (confirmed,) = [one for one in verdict.confirmed if one.number == chosen.number]
    tracker.parent(
        metrics={"confirmed_accuracy": confirmed.accuracy},
        tags={
            "mlflow.note.content": f"**{verdict.sentence}**\n\n{ABOUT.format(study)}",
            "verdict": verdict.sentence,
            "verdict_kind": verdict.kind,
            "recommended": chosen.name,
            "best_confirmed": verdict.confirmed[0].name,
        },
    )


def _recorded_uri(study: optuna.Study) -> str:
    said = study.user_attrs.get("settings") or study.user_attrs["tracked"]
    if is_redacted(str(said.get("tracking_uri"))):
        raise UserError(
            f"study {study.study_name!r} does not keep the password of its MLflow server: give "
            f"--tracking-uri, or set {TRACKING_VARIABLE}"
        )
    return settings_of(study).tracking.uri


def _log_results(tracker: Tracker, study: optuna.Study, display: Display) -> None:
    """The verdict, the files and the final model, as far as there are any."""
    settings = settings_of(study)
    document = study.user_attrs.get("verdict")
    if document is not None:
        verdict = Verdict.from_json(document, METRICS[settings.search.metric])
        log_verdict(tracker, study.study_name, verdict, by_number(study)[verdict.recommended])
    folder: str | None = study.user_attrs.get("output")
    if folder is not None:
        for file in filter(Path.exists, (Path(folder) / name for name in FILES)):
            tracker.artifact(file)
    final: dict[str, Any] | None = study.user_attrs.get("final")
    if final is None:
        return
    if not Path(final["model"]).exists():
        display.line(f"{final['model']} is not there any more: the final model is left out")
        return
    log_final(tracker, reopen(study, settings, display), final, settings.tracking.registered)
