"""What is found out of a study after its run: in its report, and in MLflow."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import optuna

from augsearch.policies.errors import first_line
from augsearch.search.console import Display
from augsearch.search.inputs.run_data import Data
from augsearch.search.report.page import write_report
from augsearch.search.settings.settings import Settings
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.workspace.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Child:
    """A run below the study's."""

    name: str
    key: str
    """Tells it from others; one that is there already stays as it is."""
    figures: dict[str, float]
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Logged:
    """What MLflow is to have."""

    attribute: str
    """With `` tracked`` behind it, the attribute of the study that says what MLflow has already."""
    children: Sequence[Child]
    files: Sequence[Path]
    figures: dict[str, float] = field(default_factory=dict)
    """Metrics of the study's own run."""


def rewrite_report(study: optuna.Study, folder: Path, display: Display) -> Path:
    """The study's page in its folder, with all that is known now; one that can't be drawn loses nothing."""
    page = folder / "report.html"
    try:
        write_report(study, page, folder)
    except Exception as error:
        again = f"augsearch report {shlex.quote(study.study_name)} tries again"
        display.line(f"{page} could not be written ({first_line(error)}); {again}")
    return page


def log_afterwards(
    study: optuna.Study, settings: Settings, data: Data, logged: Logged, display: Display
) -> None:
    """Log to MLflow with the study's run, unless all of it is there."""
    children = [asdict(child) | {"candidate": None} for child in logged.children]
    state = digest([settings.tracking.uri, children, logged.figures])
    attribute = f"{logged.attribute} tracked"
    if study.user_attrs.get(attribute) == state:
        return
    about = f"augsearch study **{study.study_name}**."
    key = study.user_attrs.get("key", study.study_name)
    tracker = Tracker(settings.tracking.uri, data.experiment, study.study_name, key, about)
    with tracker.closing(display.line):
        tracker.parent(metrics=logged.figures)
        for child in logged.children:
            policy = {"policy": child.candidate.model_dump_json()}
            tracker.child(child.name, child.key, child.figures, policy)
        for file in logged.files:
            if file.exists():
                tracker.artifact(file)
    if tracker.complete:
        study.set_user_attr(attribute, state)
