"""A trial of a study → the policy file that says how to train from it, and why to believe it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import optuna

from augsearch.policies import PolicyFile
from augsearch.search.studies.costs import ledger
from augsearch.search.studies.refinement import known_refinement, refined
from augsearch.search.studies.study import Entry, edition_of


def provenance(study: optuna.Study, entry: Entry) -> dict[str, Any]:
    """Where a policy comes from."""
    identity = study.user_attrs["identity"]
    packages = ("augsearch", "torch", "optuna", "opencv-python-headless", "numpy")
    return {
        "study": study.study_name,
        "trial": entry.number,
        "name": entry.name,
        "made_from": identity,
        "edition": edition_of(study),
        "versions": {package: version(package) for package in packages}
        | {"python": platform.python_version()},
    }


def policy_file_of(study: optuna.Study, entry: Entry, verdict: dict[str, Any] | None) -> PolicyFile:
    """The policy file of one trial, with what is known of it."""
    evidence: dict[str, Any] = {
        "search": {
            "scores": [result.score for result in entry.results],
            "mean": entry.score if entry.results else None,
            "n": len(entry.results),
        },
        "ledger": {
            stage: {"folds": spent.trainings, "images": spent.images, "worker_seconds": spent.seconds}
            for stage, spent in ledger(study).items()
        },
    }
    refinement = known_refinement(study, entry.number)
    if refinement is not None:
        evidence["refinement"] = refinement.to_json()
    return PolicyFile(
        policy=refined(study, entry).candidate.policy,
        training=entry.candidate.training,
        provenance=provenance(study, entry),
        evidence=evidence | (verdict or {}),
    )
