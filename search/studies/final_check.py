"""Finalists and the best baselines on the network that ships: what a study keeps of comparing them there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna

from augsearch.search.statistics.paired import CONFIDENCE, Difference, holm
from augsearch.search.statistics.verdict import Kind, Verdict, called
from augsearch.trainers.evaluation.metrics import METRICS

ATTRIBUTE = "final check"
"""The attribute of a study that holds what a check came to."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An entry, and how the final network did that was trained with its policy."""

    number: int
    name: str
    baseline: bool
    scores: tuple[float, ...]
    """By seed; on the confirmation images."""


@dataclass(frozen=True, slots=True)
class FinalCheck:
    """What training the final network with the best policies of a confirmation came to."""

    network: str
    side: int
    """Pixels of the images that it was trained on."""
    epochs: int
    metric: str
    """The search's, by which all are scored."""
    entries: tuple[Checked, ...]
    """The recommended one first."""
    leads: tuple[Difference, ...]
    """Of each of the others over the recommended one, the largest first."""

    @property
    def recommended(self) -> Checked:
        """What the short trainings recommend."""
        return self.entries[0]

    @property
    def seeds(self) -> int:
        """With how many each was trained."""
        return len(self.recommended.scores)

    @property
    def adopted(self) -> Checked | None:
        """What takes its place: the one that leads it beyond the noise, by Holm's method; None: none does."""
        sure = [
            lead
            for lead, p in zip(self.leads, holm([lead.p for lead in self.leads]), strict=True)
            if p <= (1 - CONFIDENCE) / 2
        ]
        return next((one for one in self.entries if sure and one.name == sure[0].better), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a policy file's evidence has them."""
        document = asdict(self)
        document["entries"] = [one | {"scores": list(one["scores"])} for one in document["entries"]]
        adopted = self.adopted
        leads = list(document["leads"])
        return document | {"leads": leads, "adopted": None if adopted is None else adopted.number}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FinalCheck:
        """What ``to_json`` made."""
        return cls(
            *(document["network"], document["side"], document["epochs"], document["metric"]),
            tuple(Checked(**one | {"scores": tuple(one["scores"])}) for one in document["entries"]),
            tuple(Difference(**one) for one in document["leads"]),
        )


def known_final_check(study: optuna.Study) -> FinalCheck | None:
    """The check of ``study``'s verdict; None: there is none."""
    document = (study.user_attrs.get("verdict") or {}).get("final_check")
    return None if document is None else FinalCheck.from_json(document)


def checked(verdict: Verdict, check: FinalCheck) -> Verdict:
    """``verdict`` with what the final network says of it, which has the last word on what to use."""
    told = replace(verdict, final_check=check.to_json())
    adopted = check.adopted
    if adopted is None:
        return replace(told, notes=(*verdict.notes, final_check_in_words(check)))
    # What short trainings showed of another is no proof of the one that is adopted.
    kind: Kind = "as good" if adopted.baseline else "undecided"
    sentence = f"{final_check_in_words(check)} Short trainings alone said: {verdict.sentence}"
    return replace(
        told,
        sentence=sentence,
        kind=kind,
        recommended=adopted.number,
        gain=None,
        unlabeled_gain=None,
        more_seeds=None,
    )


def final_check_in_words(check: FinalCheck) -> str:
    """One sentence on what was compared and what follows."""
    lead, adopted = check.leads[0], check.adopted
    if adopted is not None:
        lead = next(one for one in check.leads if one.better == adopted.name)
    better, worse = called(lead.better), called(lead.worse)
    how = f"On {check.network} itself, trained at {check.side} px with {check.seeds} seeds, {better}"
    shown = METRICS[check.metric].shown_difference(lead.mean, lead.low, lead.high)
    if adopted is not None:
        return f"{how} leads {worse} by {shown}: use {better}."
    if lead.mean > 0:
        return f"{how} leads {worse} by {shown}, which may be noise and changes nothing."
    return f"{how} comes closest to {worse}, {shown}: that stays."
