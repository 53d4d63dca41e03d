"""What the confirmation found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from augsearch.search.statistics.paired import CONFIDENCE, Difference, Spread, shrunken
from augsearch.search.statistics.sequential import LEVEL, Finalist, Finalists, needed
from augsearch.trainers.evaluation.metrics import Metric

FOUR_IN_FIVE = 1.96 / (1.96 + 0.84)
"""An interval that is narrower than a lead by this excludes zero in 80 % of repetitions, instead of half."""

Kind = Literal["better", "as good", "undecided"]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """An entry's figures on the confirmation folds."""

    number: int
    name: str
    baseline: bool
    scores: tuple[float, ...]
    """By the search's metric, one a fold."""
    accuracy: float
    log_loss: float
    ece: float
    beside: float | None
    """Mean score on the data's own images, where the target's are what counts."""

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))

    @property
    def sd(self) -> float:
        """Standard deviation of the score between folds."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else math.nan

    @classmethod
    def of(cls, finalist: Finalist) -> Confirmed:
        """The figures of ``finalist``."""
        results = finalist.results
        beside = [result.beside for result in results if result.beside is not None]
        return cls(
            finalist.number,
            finalist.name,
            finalist.baseline,
            tuple(result.score for result in results),
            float(np.mean([result.accuracy for result in results])),
            float(np.mean([result.log_loss for result in results])),
            float(np.mean([result.ece for result in results])),
            float(np.mean(beside)) if beside else None,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the confirmation found."""

    sentence: str
    kind: Kind
    recommended: int
    """The trial to use."""
    metric: Metric
    margin: float
    """A gain below it counts as none."""
    confirmed: tuple[Confirmed, ...]
    """Best first."""
    differences: tuple[Difference, ...]
    """The best candidate against each baseline."""
    p: float | None = None
    """That the best candidate is better than every baseline by luck: see ``Finalists.p_values``."""
    shrunken: tuple[float, float, float] | None = None
    """The best candidate's lead over the best baseline, corrected for having been picked: mean, interval."""
    more_seeds: int | None = None
    """Folds that would decide what is undecided; None: nothing is, or no number of folds would."""
    gain: Difference | None = None
    """What is recommended against no augmentation; None where that is what is recommended, or where only one
    of the two learns from unlabeled images."""
    unlabeled_gain: Difference | None = None
    """What is recommended, if it learns from unlabeled images, against the best baseline that doesn't."""
    budget: str | None = None
    """What certainty the budget took; None: nothing."""

    def to_json(self) -> dict[str, Any]:
        """Plain values: the evidence of a policy file."""
        return {
            "verdict": self.sentence,
            "kind": self.kind,
            "recommended": self.recommended,
            "metric": self.metric.name,
            "margin": self.margin,
            "confirmation": [
                {
                    **asdict(entry),
                    "scores": list(entry.scores),
                    "mean": entry.mean,
                    "sd": entry.sd if len(entry.scores) > 1 else None,
                    "n": len(entry.scores),
                }
                for entry in self.confirmed
            ],
            "differences": [asdict(difference) for difference in self.differences],
            "p": self.p,
            "shrunken": dict(zip(("mean", "low", "high"), self.shrunken, strict=True))
            if self.shrunken
            else None,
            "more_seeds": self.more_seeds,
            "gain": asdict(self.gain) if self.gain else None,
            "unlabeled_gain": asdict(self.unlabeled_gain) if self.unlabeled_gain else None,
            "confidence": CONFIDENCE,
            **({"budget": self.budget} if self.budget is not None else {}),
        }


def reach_verdict(
    finalists: Finalists, level: float = LEVEL, leads: Sequence[tuple[float, float]] = ()
) -> Verdict:
    """The verdict on ``finalists``.

    Args:
        finalists: the candidates and baselines, with their results.
        level: how often a claim may be wrong where no candidate is better.
        leads: what the search says of its candidates' leads over the best baseline, with standard errors;
            by them the winner's is corrected for having been picked.
    """
    best = finalists.candidates[0] if finalists.candidates else None
    winner, simplest = finalists.beats_all(level), finalists.as_good(level)
    more = None
    if winner is not None:
        kind: Kind = "better"
        chosen, sentence = winner, _better(winner, finalists)
    elif simplest is not None:
        kind, chosen = "as good", simplest
        sentence = _as_good(simplest, finalists)
    else:
        kind, chosen = "undecided", finalists.best_baseline
        more = _more_seeds(finalists)
        sentence = _undecided(finalists, more)
    corrected = None
    if best is not None:
        lead = best.over(finalists.best_baseline)
        error = best.noise_over(finalists.best_baseline).error(lead.folds) if lead.folds > 1 else 0.0
        corrected = shrunken(lead.mean, error, leads)
    ranked = sorted(finalists.members, key=lambda one: -one.mean)
    return Verdict(
        sentence,
        kind,
        chosen.number,
        finalists.metric,
        finalists.margin,
        tuple(Confirmed.of(one) for one in ranked),
        tuple(best.over(baseline) for baseline in finalists.baselines) if best else (),
        finalists.p_values[0] if best else None,
        corrected,
        more,
        *_gains(chosen, finalists),
    )


def _gains(chosen: Finalist, finalists: Finalists) -> tuple[Difference | None, Difference | None]:
    """What is recommended over no augmentation; and over the best of the labels alone."""
    nothing = next((one for one in finalists.baselines if one.name == "none"), None)
    gain = None
    # Where one learns from unlabeled images and the other doesn't, the policies aren't what differs.
    if nothing is not None and nothing is not chosen and nothing.unlabeled == chosen.unlabeled:
        gain = chosen.over(nothing)
    alone = [one for one in finalists.baselines if not one.unlabeled]
    beside = chosen.over(max(alone, key=lambda one: one.mean)) if alone and chosen.unlabeled else None
    return gain, beside


def _shown(finalists: Finalists, lead: Difference) -> str:
    return finalists.metric.shown_difference(lead.mean, lead.low, lead.high)


def called(name: str, begins: bool = False) -> str:
    """An entry as a sentence calls it."""
    name = "no augmentation" if name == "none" else name
    return name[0].upper() + name[1:] if begins else name


def _better(winner: Finalist, finalists: Finalists) -> str:
    closest = min((winner.over(baseline) for baseline in finalists.baselines), key=lambda lead: lead.mean)
    lead = f"{_shown(finalists, closest)} over {called(closest.worse)}, the closest"
    return f"{called(winner.name, begins=True)} is better than every baseline: {lead}."


def _as_good(simplest: Finalist, finalists: Finalists) -> str:
    others = [one for one in finalists.members if one is not simplest]
    best = max(others, key=lambda one: one.over(simplest).mean)
    what = f"{called(simplest.name, begins=True)} is as good as anything that was tried"
    return f"{what} ({called(best.name)} over it: {_shown(finalists, best.over(simplest))}): use that."


def _undecided(finalists: Finalists, more: int | None) -> str:
    fallback, rival = finalists.best_baseline, _rival(finalists)
    lead = _shown(finalists, rival.over(fallback))
    said = f"Undecided: {called(rival.name)} against {called(fallback.name)} is {lead}"
    if more is not None:
        how = f"about {more} more seed{'' if more == 1 else 's'} would decide"
    elif math.isfinite(factor := _images_factor(finalists)):
        how = f"more seeds won't decide, but some {factor:.0f} times as many images to confirm on would"
    else:
        how = "neither seeds nor images will decide between two that are so alike"
    return f"{said}; {how}. Until then use {called(fallback.name)}."


def _rival(finalists: Finalists) -> Finalist:
    """The best of those that aren't the best baseline, a candidate if there is one."""
    fallback = finalists.best_baseline
    others = finalists.candidates or [one for one in finalists.members if one is not fallback]
    return max(others, key=lambda one: one.mean)


def _ways_to_decide(finalists: Finalists) -> list[list[tuple[float, Finalist, Finalist]]]:
    """The ways to a decision: for each the interval's half-widths that it takes, and between whom."""
    ways = []
    if finalists.candidates:
        best = finalists.candidates[0]
        ways.append([(best.over(baseline).mean, best, baseline) for baseline in finalists.baselines])
    for baseline in finalists.baselines:
        others = [one for one in finalists.members if one is not baseline]
        ways.append([(finalists.margin - one.over(baseline).mean, one, baseline) for one in others])
    return [way for way in ways if way and min(width for width, _, _ in way) > 0]


def _more_seeds(finalists: Finalists) -> int | None:
    best = None
    for way in _ways_to_decide(finalists):
        folds = [needed(width * FOUR_IN_FIVE, one, other) for width, one, other in way]
        done = min(min(len(one.results), len(other.results)) for _, one, other in way)
        if None not in folds:
            more = max(1, max(count for count in folds if count is not None) - done)
            best = more if best is None else min(best, more)
    return best


def _images_factor(finalists: Finalists) -> float:
    """How many times as many images would let folds decide."""
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))

    def factor(width: float, noise: Spread) -> float:
        # Half of the interval's variance to the images, half to the folds.
        return 2 * (z * noise.by_images / width) ** 2

    ways = [
        max(factor(width * FOUR_IN_FIVE, one.noise_over(other)) for width, one, other in way)
        for way in _ways_to_decide(finalists)
    ]
    best = max(2.0, math.ceil(min(ways))) if ways else math.inf
    return best if best <= 1000 else math.inf
