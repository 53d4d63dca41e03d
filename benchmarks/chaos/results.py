"""What a study came to, as the study and MLflow have it."""

from __future__ import annotations

from itertools import count, takewhile
from typing import Any

import click
import optuna
from mlflow import MlflowClient
from mlflow.entities import Run

from augsearch.search.studies.study import open_storage
from augsearch.search.tracking.names import STUDY_TAG, TRIAL_TAG

_COSTS = ("seconds", "teacher_seconds")
"""What the machine took, which is never the same."""
_LIMIT = ("a fold took longer than", "a fold took more memory than")
"""Begins the reason of a trial that lost by a limit."""


def results(storage: str, name: str) -> dict[str, Any]:
    """Every fold's score, by trial, the confirmation's and the verdict."""
    opened = open_storage(storage)
    try:
        study = optuna.load_study(storage=opened, study_name=name)
        trials = [_trial(trial) for trial in study.trials]
        known = study.user_attrs
        confirmed = {key: _score(value) for key, value in known.items() if key.startswith("confirmation ")}
        return {"trials": trials, "confirmed": confirmed, "verdict": known["verdict"]["verdict"]}
    finally:
        opened.scoped_session.remove()
        opened.engine.dispose()


def _trial(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    known = trial.user_attrs
    return {
        "params": trial.params,
        "state": trial.state.name,
        "value": trial.value,
        "reason": known.get("reason"),
        "folds": {key: _score(value) for key, value in known.items() if key.startswith("fold ")},
    }


def _score(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in _COSTS}


def check_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that a search came to the same as one that nothing disturbed.

    Raises:
        ClickException: it has not; says what differs.
    """
    if found != expected:
        differing = [
            f"trial {number}"
            for number, (one, other) in enumerate(zip(found["trials"], expected["trials"], strict=False))
            if one != other
        ]
        differing += [part for part in ("confirmed", "verdict") if found[part] != expected[part]]
        differing += [f"{len(found['trials'])} trials instead of {len(expected['trials'])}"]
        raise click.ClickException(f"another result than undisturbed: {', '.join(differing)}")


def check_limited(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Check a search of which some candidates took more than they may: those lost, and said so; all else
    that is known of a candidate is as undisturbed. Returns why they lost.

    Raises:
        ClickException: a trial has another result, or failed for another reason.
    """
    undisturbed = {_key(trial): trial for trial in expected["trials"]}
    lost = []
    for trial in found["trials"]:
        calm = undisturbed[_key(trial)]
        if trial["state"] == "FAIL" and (trial["reason"] or "").startswith(_LIMIT):
            lost.append(trial["reason"])
        elif trial != calm:
            raise click.ClickException(f"another result than undisturbed: {trial['params']}")
        if any(result != calm["folds"][fold] for fold, result in trial["folds"].items()):
            raise click.ClickException(f"another score than undisturbed: {trial['params']}")
    both = found["confirmed"].keys() & expected["confirmed"].keys()
    if any(found["confirmed"][key] != expected["confirmed"][key] for key in both):
        raise click.ClickException("another confirmation than undisturbed")
    return lost


def _key(trial: dict[str, Any]) -> str:
    return str(sorted(trial["params"].items()))


def check_logged_once(uri: str, study: str, found: dict[str, Any]) -> None:
    """Check that MLflow has every trial of a study once, and each of its folds once.

    ``found``: what the study came to.

    Raises:
        ClickException: it has not.
    """
    client = MlflowClient(uri)
    folders = [experiment.experiment_id for experiment in client.search_experiments()]
    parents = client.search_runs(folders, f"tags.`{STUDY_TAG}` = '{study}'")
    if len(parents) != 1:
        raise click.ClickException(f"MLflow has study {study} {len(parents)} times")
    below = client.search_runs(folders, f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    runs = [run for run in below if TRIAL_TAG in run.data.tags]
    logged = {int(run.data.tags[TRIAL_TAG]): run for run in runs}
    if len(logged) != len(runs):
        raise click.ClickException(f"MLflow has trials of study {study} twice")
    for number, trial in enumerate(found["trials"]):
        if "fold 0" in trial["folds"]:
            _check_run(client, logged.pop(number, None), number, trial)
    if logged:
        raise click.ClickException(f"MLflow has trials {sorted(logged)} that study {study} has not")


def _check_run(client: MlflowClient, run: Run | None, number: int, trial: dict[str, Any]) -> None:
    if run is None or run.info.status != {"COMPLETE": "FINISHED", "FAIL": "FAILED"}[trial["state"]]:
        raise click.ClickException(f"MLflow lacks trial {number}, or the end of it")
    logged = client.get_metric_history(run.info.run_id, "fold_accuracy")
    in_order = takewhile(trial["folds"].__contains__, (f"fold {number}" for number in count()))
    known = [(fold, trial["folds"][key]["accuracy"]) for fold, key in enumerate(in_order)]
    if sorted((metric.step, metric.value) for metric in logged) != known:
        raise click.ClickException(f"MLflow has other folds of trial {number}")
