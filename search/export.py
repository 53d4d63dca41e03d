"""From a study to a policy file, with where it comes from and why to believe it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna

from augsearch.policies import PolicyFile, UserError, write_policy
from augsearch.search.ledger import ledger
from augsearch.search.settings import Settings
from augsearch.search.studies import Entry, entries, finished, load_study, open_storage
from augsearch.search.wording import describe


def export_policy(name: str, output: Path, trial: int | None, storage: str | None) -> str:
    """Write the policy file of a trial, or of what the verdict recommends; returns a line that says which.

    Raises:
        UserError: there is no such study or trial, or nothing to export yet.
    """
    study = load_study(open_storage(storage or Settings().storage), name)
    known = {entry.number: entry for entry in entries(study)}
    verdict = study.user_attrs.get("verdict")
    note = ""
    if trial is not None:
        number = trial
    elif verdict is not None:
        number = verdict["recommended"]
    else:
        done = finished(study)
        if not done:
            raise UserError(f"study {name!r} has no finished trial yet; run it on with augsearch run")
        number = max(done, key=lambda entry: entry.score).number
        note = "; not confirmed yet, so its lead may be luck"
    if number not in known:
        raise UserError(f"study {name!r} has no trial {number} with results; it has {_ranges(list(known))}")
    entry = known[number]
    write_policy(policy_file_of(study, entry, verdict), output)
    return f"{output}: {entry.name} ({describe(entry.candidate)}){note}"


def _ranges(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"


def provenance(study: optuna.Study, entry: Entry) -> dict[str, Any]:
    """Where a policy comes from."""
    identity = study.user_attrs["identity"]
    packages = ("augsearch", "torch", "optuna", "opencv-python-headless", "numpy")
    return {
        "study": study.study_name,
        "trial": entry.number,
        "name": entry.name,
        "made_from": identity,
        "versions": {package: version(package) for package in packages}
        | {"python": platform.python_version()},
    }


def policy_file_of(study: optuna.Study, entry: Entry, verdict: dict[str, Any] | None) -> PolicyFile:
    """The policy file of one trial, with what is known of it."""
    evidence: dict[str, Any] = {
        "search": {
            "scores": [result.score for result in entry.results],
            "mean": entry.score,
            "n": len(entry.results),
        },
        "ledger": {
            stage: {"folds": spent.trainings, "images": spent.images, "worker_seconds": spent.seconds}
            for stage, spent in ledger(study).items()
        },
    }
    return PolicyFile(
        policy=entry.candidate.policy,
        training=entry.candidate.training,
        provenance=provenance(study, entry),
        evidence=evidence | (verdict or {}),
    )
