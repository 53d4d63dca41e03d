"""N and M tuned around a winner on the final network, as a study keeps it and a policy file takes it over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import optuna

from augsearch.policies import Policy
from augsearch.search.statistics.paired import Difference
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import Metric

ATTRIBUTE = "refinement"
"""The attribute of a study that holds what a refinement came to.

With the name of a final training behind it, it holds that training's result.
"""

Magnitude = int | str
"""0 to 30, or ``random``."""


@dataclass(frozen=True, slots=True)
class Point:
    """N and M, and how the final models did that were trained with them."""

    num_ops: int
    magnitude: Magnitude
    scores: tuple[float, ...]
    """By seed; on validation images."""

    @property
    def words(self) -> str:
        """``N = 2, M = 9``."""
        return f"N = {self.num_ops}, M = {self.magnitude}"


@dataclass(frozen=True, slots=True)
class Refinement:
    """What trying the points around a winner came to."""

    trial: int
    winner: Point
    tried: tuple[Point, ...]
    """Those around it; the one that looked best first."""
    lead: Difference | None
    """Of that one over the winner, on seeds by which it was not chosen; None: it did not look better."""

    @property
    def adopted(self) -> Point | None:
        """What takes the winner's place; None: nothing is better beyond the noise."""
        return self.tried[0] if self.lead is not None and self.lead.low > 0 else None

    def policy(self, policy: Policy) -> Policy:
        """``policy``, the winner's, with the N and M to use."""
        point = self.adopted
        if point is None:
            return policy
        return policy.model_copy(update={"num_ops": point.num_ops, "magnitude": point.magnitude})

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a policy file's evidence has them."""
        document = asdict(self) | {"adopted": self.adopted is not None}
        for point in (document["winner"], *document["tried"]):
            point["scores"] = list(point["scores"])
        return document | {"tried": list(document["tried"])}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Refinement:
        """What ``to_json`` made."""
        winner, *tried = (
            Point(one["num_ops"], one["magnitude"], tuple(one["scores"]))
            for one in (document["winner"], *document["tried"])
        )
        lead = document["lead"]
        return cls(document["trial"], winner, tuple(tried), None if lead is None else Difference(**lead))


def known_refinement(study: optuna.Study, number: int) -> Refinement | None:
    """The refinement of trial ``number``; None: there is none."""
    document = study.user_attrs.get(ATTRIBUTE)
    if document is None or document["trial"] != number:
        return None
    return Refinement.from_json(document)


def refined(study: optuna.Study, entry: Entry) -> Entry:
    """``entry`` with the N and M that its refinement found better, if there is one that did."""
    found = known_refinement(study, entry.number)
    if found is None:
        return entry
    policy = found.policy(entry.candidate.policy)
    return replace(entry, candidate=entry.candidate.model_copy(update={"policy": policy}))


def refinement_in_words(found: Refinement, metric: Metric) -> str:
    """One sentence on what was tried and what came of it."""
    count = len(found.tried)
    tried = f"{count} point{'s were' if count > 1 else ' was'} tried"
    points = f"Around {found.winner.words} {tried} on the final network"
    best = found.tried[0]
    if found.lead is None:
        return f"{points}; none looked better than the winner's {metric.shown(fmean(found.winner.scores))}."
    lead = metric.shown_difference(found.lead.mean, found.lead.low, found.lead.high)
    seeds = f"on {found.lead.folds} fresh seeds {best.words} leads it by {lead}"
    if found.adopted is not None:
        return f"{points}; {seeds}, so that is what the policy file says."
    return f"{points}; {seeds}, which may be noise: N and M stay."
