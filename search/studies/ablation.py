"""What removing each part of a candidate costs, as a study keeps it: fold by fold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from augsearch.search.space.parts import Part, parts_of
from augsearch.search.statistics.paired import Difference, compare
from augsearch.search.studies.study import Entry
from augsearch.trainers.workspace.folds import FoldResult

ATTRIBUTE = "ablation"
"""The attribute of a study that holds the number of the trial which was ablated last.

With the trial, the fold and the part behind it, it holds the result of a training.
"""
WHOLE = ""
"""Stands for the part of a candidate that lacks none."""
FIRST_FOLD = 1000
"""The folds of ablations begin here. A confirmation has those below: by them the candidate was chosen, so on
them it had luck that its parts would be taken to have earned."""

Results = Mapping[str, Mapping[int, FoldResult]]
"""By part, and by fold."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What it costs to do without a part."""

    part: Part
    cost: Difference
    """How much better the candidate is with it; above zero it earned something."""

    @property
    def clear(self) -> bool:
        """Whether the interval leaves no doubt that it helps, or that it harms."""
        return self.cost.low > 0 or self.cost.high < 0


@dataclass(frozen=True, slots=True)
class Ablation:
    """The removals of one candidate's parts."""

    entry: Entry
    removals: tuple[Removal, ...]
    """The one that costs most first."""

    @property
    def folds(self) -> int:
        """On how many folds they rest; the most, where not all have as many yet."""
        return max(one.cost.folds for one in self.removals)

    def to_json(self) -> dict[str, Any]:
        """Plain values; costs in the metric's unit, positive where it is worse without."""
        return {
            "trial": self.entry.number,
            "name": self.entry.name,
            "folds": self.folds,
            "parts": [
                {"part": one.part.name, "cost": asdict(one.cost), "judged": judged(one)}
                for one in self.removals
            ],
            "sentence": sentence(self),
        }


def ablation_results(study: optuna.Study, number: int) -> defaultdict[str, dict[int, FoldResult]]:
    """What is known of the ablation of trial ``number``."""
    found: defaultdict[str, dict[int, FoldResult]] = defaultdict(dict)
    begins = f"{ATTRIBUTE} {number} "
    for key, document in study.user_attrs.items():
        if key.startswith(begins):
            fold, _, part = key.removeprefix(begins).partition(" ")
            found[part][int(fold)] = FoldResult.from_json(document)
    return found


def ablated_candidates(study: optuna.Study) -> list[dict[int, FoldResult]]:
    """The results of all ablations by fold, one dictionary a candidate that was trained."""
    found: defaultdict[tuple[str, str], dict[int, FoldResult]] = defaultdict(dict)
    for key, document in study.user_attrs.items():
        if key.startswith(f"{ATTRIBUTE} ") and isinstance(document, dict):
            number, fold, part = key.removeprefix(f"{ATTRIBUTE} ").split(" ", maxsplit=2)
            found[number, part][int(fold)] = FoldResult.from_json(document)
    return list(found.values())


def keep_ablation(study: optuna.Study, number: int, part: str, fold: int, result: FoldResult) -> None:
    """Record what trial ``number`` without ``part`` came to on ``fold``."""
    study.set_user_attr(f"{ATTRIBUTE} {number} {fold} {part}", result.to_json())


def ablation_of(entry: Entry, results: Results) -> Ablation | None:
    """What ``results`` say of the parts of ``entry``; None where no part has been compared on two folds."""
    whole = results.get(WHOLE, {})
    removals = []
    for part in parts_of(entry.candidate):
        without = results.get(part.name, {})
        both = sorted(whole.keys() & without.keys())
        if len(both) > 1:
            cost = compare(
                entry.name, [whole[fold] for fold in both], part.name, [without[fold] for fold in both]
            )
            removals.append(Removal(part, cost))
    if not removals:
        return None
    return Ablation(entry, tuple(sorted(removals, key=lambda one: -one.cost.mean)))


def known_ablation(study: optuna.Study, known: Sequence[Entry]) -> Ablation | None:
    """The ablation that was begun last; ``known`` are the study's entries."""
    number = study.user_attrs.get(ATTRIBUTE)
    entry = next((entry for entry in known if entry.number == number), None)
    return None if entry is None else ablation_of(entry, ablation_results(study, entry.number))


def judged(removal: Removal) -> str:
    """What may be said of a part: ``helps``, ``harms`` or ``not clear``."""
    if not removal.clear:
        return "not clear"
    return "helps" if removal.cost.mean > 0 else "harms"


def sentence(ablation: Ablation) -> str:
    """What came of it, plainly."""
    named = {
        judgement: ", ".join(one.part.name for one in ablation.removals if judged(one) == judgement)
        for judgement in ("helps", "harms")
    }
    if not any(named.values()):
        return (
            f"No single part of {ablation.entry.name} clearly helps or harms on {ablation.folds} folds; "
            "more --folds may tell."
        )
    said = [f"clearly {judgement}: {names}" for judgement, names in named.items() if names]
    unclear = sum(not one.clear for one in ablation.removals)
    if unclear:
        said.append(f"{unclear} of {len(ablation.removals)} parts are not clear")
    return f"In {ablation.entry.name}: {'; '.join(said)}."
