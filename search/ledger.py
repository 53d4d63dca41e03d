"""What a study cost: search, confirmation and final training apart, so that none hides in another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import optuna

from augsearch.search.studies import confirmation_results, entries
from augsearch.trainers.folds import FoldResult, Stage

FINAL = "final training"


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took."""

    trainings: int
    images: int
    """Image passes."""
    seconds: float
    """Of one worker; of the final training, which uses all cores, from beginning to end."""

    @classmethod
    def of(cls, results: Iterable[FoldResult]) -> Spent:
        """The sum over ``results``."""
        results = tuple(results)
        seconds = sum(result.seconds for result in results)
        return cls(len(results), sum(result.images for result in results), round(seconds, 1))


def ledger(study: optuna.Study) -> dict[str, Spent]:
    """By stage; the final training only where there was one."""
    known = entries(study)
    stages = {
        Stage.SEARCH.value: Spent.of(result for entry in known for result in entry.results),
        Stage.CONFIRMATION.value: Spent.of(
            result for entry in known for result in confirmation_results(study, entry.number).values()
        ),
    }
    final: dict[str, Any] | None = study.user_attrs.get("final")
    if final is not None:
        figures = final["figures"]
        seconds = float(figures.get("final_seconds", 0.0))
        stages[FINAL] = Spent(1, int(figures.get("final_images", 0)), seconds)
    return stages


def in_words(stages: dict[str, Spent]) -> str:
    """``cost: search 52 trainings, 1.2 million images, 3 min; confirmation …``: seconds are of one worker."""
    parts = [
        f"{name} {one.trainings:,} training{'' if one.trainings == 1 else 's'}, {_millions(one.images)}, "
        f"{_minutes(one.seconds)}"
        for name, one in stages.items()
        if one.trainings
    ]
    return f"cost (time of one worker): {'; '.join(parts)}"


def _millions(images: int) -> str:
    return f"{images / 1e6:.2g} million images" if images >= 100_000 else f"{images:,} images"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
