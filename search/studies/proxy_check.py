"""How short trainings and final models of the same candidates compare, as a study keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
import optuna

from augsearch.search.statistics.agreement import Agreement, Estimate, agreement, ranks
from augsearch.trainers.evaluation.metrics import METRICS, Metric
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult

ATTRIBUTE = "proxy check"
"""The attribute of a study that holds what a check came to.

With the candidate, the kind and the number of the training behind it, it holds the result of a training.
"""
PROXY, FINAL = "proxy", "final"
"""The two kinds of trainings."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a check."""

    candidate: Candidate
    kind: str
    number: int
    """The fold of a proxy, the seed of a final model."""

    @property
    def attribute(self) -> str:
        """Where a study keeps its result."""
        return f"{ATTRIBUTE} {digest(self.candidate.model_dump_json())} {self.kind} {self.number}"


def result_of(study: optuna.Study, training: Training) -> FoldResult | None:
    """What is known of ``training``."""
    document = study.user_attrs.get(training.attribute)
    return None if document is None else FoldResult.from_json(document)


def keep_result(study: optuna.Study, training: Training, result: FoldResult) -> None:
    """Record what ``training`` came to."""
    study.set_user_attr(training.attribute, result.to_json())


@dataclass(frozen=True, slots=True)
class Checked:
    """A candidate, by both."""

    name: str
    words: str
    """What it does."""
    baseline: bool
    proxy: tuple[float, ...]
    """Scores, by fold."""
    final: tuple[float, ...]
    """Scores, by seed."""


@dataclass(frozen=True, slots=True)
class ProxyCheck:
    """What a check came to."""

    study: str
    """Where its trainings are kept."""
    metric: str
    proxy: str
    """How a short training is done, in words."""
    final: str
    """The same of a final model's."""
    candidates: tuple[Checked, ...]
    """The one whose final model is best first."""
    agreement: Agreement

    @classmethod
    def of(cls, study: str, metric: str, proxy: str, final: str, candidates: Sequence[Checked]) -> ProxyCheck:
        """Of candidates that have as many folds and as many seeds each."""
        ranked = tuple(sorted(candidates, key=lambda one: -fmean(one.final)))
        found = agreement(np.array([one.proxy for one in ranked]), np.array([one.final for one in ranked]))
        return cls(study, metric, proxy, final, ranked, found)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ProxyCheck:
        """What ``to_json`` made."""
        said = dict(document["agreement"])
        for name in ("spearman", "kendall", "regret"):
            said[name] = Estimate(**said[name])
        candidates = tuple(
            Checked(**{**one, "proxy": tuple(one["proxy"]), "final": tuple(one["final"])})
            for one in document["candidates"]
        )
        return cls(**{**document, "candidates": candidates, "agreement": Agreement(**said)})

    @property
    def ranks(self) -> list[tuple[float, float]]:
        """Each candidate's place by its short trainings and by its final models."""
        by_proxy = ranks(np.array([fmean(one.proxy) for one in self.candidates]))
        by_final = ranks(np.array([fmean(one.final) for one in self.candidates]))
        return list(zip(by_proxy, by_final, strict=True))

    @property
    def pick(self) -> Checked:
        """The candidate that leads the short trainings."""
        return max(self.candidates, key=lambda one: fmean(one.proxy))


def known_check(study: optuna.Study) -> ProxyCheck | None:
    """The check that is kept with ``study``."""
    document = study.user_attrs.get(ATTRIBUTE)
    return None if document is None else ProxyCheck.from_json(document)


def spread_of(scores: tuple[float, ...]) -> float | None:
    """The standard deviation; None of a single score."""
    return stdev(scores) if len(scores) > 1 else None


_BELIEFS = {
    "believe": "Believe the stand-in",
    "likely": "The stand-in may be believed, though so few candidates leave it open",
    "doubtful": "Be careful with the stand-in; more candidates or seeds may show that it is better",
    "not": "Don't believe the stand-in: search with a network, images and a length more like the final ones",
}


def belief_in_words(check: ProxyCheck) -> str:
    """One sentence on whether to believe the short trainings, with the figures."""
    found, metric = check.agreement, METRICS[check.metric]
    if found.belief == "nothing to rank":
        return (
            f"There is nothing to rank: the {len(check.candidates)} candidates' scores don't differ, so this "
            "says nothing of the stand-in."
        )
    low, high = (lost(metric, end, unit=False) for end in (found.regret.low, found.regret.high))
    return (
        f"{_BELIEFS[found.belief]}: over {len(check.candidates)} candidates its ranks agree with the final "
        f"models' at Spearman {_shown(found.spearman)} and Kendall {_shown(found.kendall)}, and choosing by "
        f"it costs {lost(metric, found.regret.value, unit=False)} [{low}, {high}] {metric.difference_unit} "
        f"against the best final model, where choosing blindly costs {lost(metric, found.blind)}."
    )


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def lost(metric: Metric, regret: float, *, unit: bool = True) -> str:
    """What is lost, in the metric's unit."""
    return f"{metric.factor * regret:.{metric.digits}f}{' ' + metric.difference_unit if unit else ''}"


def seeds_in_words(check: ProxyCheck) -> str | None:
    """What final trainings say of each other, and so how well a stand-in could do at best."""
    return between_seeds_in_words(check.agreement)


def between_seeds_in_words(found: Agreement) -> str | None:
    """The same of what was found of any final trainings; None: they have one seed."""
    between = found.between_seeds
    if between is None:
        return None
    said = f"Final trainings that differ by their seed alone agree at Spearman {between:.2f}"
    best = found.attainable
    return f"{said}." if best is None else f"{said}: a perfect stand-in would come to about {best:.2f}."
