"""What a study cost: search, confirmation and final training apart, so that none hides in another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from augsearch.search.studies.ablation import ablated_candidates
from augsearch.search.studies.final_check import ATTRIBUTE as FINAL_CHECK
from augsearch.search.studies.refinement import ATTRIBUTE as REFINEMENT
from augsearch.search.studies.study import SAME_AS, TAKES_UP, confirmation_results, fold_results
from augsearch.trainers.workspace.folds import FoldResult, Stage

ABLATION, FINAL = "ablation", "final training"
OF_FINAL_MODELS = {FINAL_CHECK: "comparison on the final network", REFINEMENT: "refinement"}
"""Stages by what begins the names of the attributes that hold their results."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took."""

    trainings: int
    """Trainings, those of teachers among them."""
    images: int
    """Image passes."""
    seconds: float
    """Time of one worker; for the final training, which uses all cores, from beginning to end."""


def spent(candidates: Iterable[Mapping[int, FoldResult]]) -> Spent:
    """What candidates took, each one's results by the fold; a fold's teacher counts once."""
    trainings, images, seconds = 0, 0, 0.0
    teachers: dict[int, FoldResult] = {}
    for results in candidates:
        for fold, result in results.items():
            trainings, images, seconds = trainings + 1, images + result.images, seconds + result.seconds
            if result.teacher_images:
                teachers[fold] = result
    return Spent(
        trainings + len(teachers),
        images + sum(result.teacher_images for result in teachers.values()),
        round(seconds + sum(result.teacher_seconds for result in teachers.values()), 1),
    )


def searched(study: optuna.Study) -> Spent:
    """What the trials of a search took; those that took over another's folds took nothing."""
    trials = study.get_trials(deepcopy=False)
    taken_up = {trial.user_attrs.get(TAKES_UP) for trial in trials}  # the next trial has their folds
    return spent(
        fold_results(trial)
        for trial in trials
        if SAME_AS not in trial.user_attrs and trial.number not in taken_up
    )


def ledger(study: optuna.Study) -> dict[str, Spent]:
    """By stage; those after the confirmation only where there were such."""
    confirmed = confirmation_results(study)
    stages = {
        Stage.SEARCH.value: searched(study),
        Stage.CONFIRMATION.value: spent(confirmed.values()),
    }
    if ablated := ablated_candidates(study):
        stages[ABLATION] = spent(ablated)
    for kept_as, stage in OF_FINAL_MODELS.items():
        if trained := _trained(study, f"{kept_as} "):
            stages[stage] = spent(trained)
    final: dict[str, Any] | None = study.user_attrs.get("final")
    if final is not None:
        figures = final["figures"]
        of_teacher = int(figures.get("final_teacher_images", 0))
        images = int(figures.get("final_images", 0)) + of_teacher
        stages[FINAL] = Spent(2 if of_teacher else 1, images, float(figures.get("final_seconds", 0.0)))
    return stages


def _trained(study: optuna.Study, begins: str) -> list[dict[int, FoldResult]]:
    """The results that are kept under names that begin so, each by the number of its teacher, which several
    may share."""
    known = (document for name, document in study.user_attrs.items() if name.startswith(begins))
    results = [FoldResult.from_json(document) for document in known]
    teachers = [(one.teacher_images, one.teacher_seconds) for one in results]
    return [{teachers.index(teacher): one} for teacher, one in zip(teachers, results, strict=True)]


def in_words(stages: dict[str, Spent]) -> str:
    """``cost: search 52 trainings, 1.2 million images, 3 min; confirmation …``: seconds are of one worker."""
    parts = [
        f"{name} {one.trainings:,} training{'' if one.trainings == 1 else 's'}, {_millions(one.images)}, "
        f"{_minutes(one.seconds)}"
        for name, one in stages.items()
        if one.trainings
    ]
    return f"cost (time of one worker): {'; '.join(parts) or 'nothing yet'}"


def _millions(images: int) -> str:
    return f"{images / 1e6:.2g} million images" if images >= 100_000 else f"{images:,} images"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
