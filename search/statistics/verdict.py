"""What the confirmation found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from augsearch.policies.errors import each
from augsearch.search.statistics.looks import LEVEL, TAIL, Look
from augsearch.search.statistics.paired import CONFIDENCE, Difference
from augsearch.search.statistics.power import images_factor, more_seeds
from augsearch.search.statistics.sequential import Finalist, Finalists
from augsearch.trainers.evaluation.metrics import Metric

POWER = 0.8
"""How often what is told to decide is to decide, where a lead is as large as it looks."""

MOST_LOOKS = 10
"""That are added for the folds that would decide; there are more folds than anybody runs by then."""
_HELP = "its teacher, unlabeled images or class balance"

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
class Part:
    """A part of a lead over the best baseline."""

    of: str
    """What brings it."""
    difference: Difference


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
    more_seeds: int | None = None
    """Folds that would decide what is undecided; None: nothing is, or no number of folds would."""
    gain: Difference | None = None
    """What is recommended against no augmentation; None where that is what is recommended, or where only one
    of the two learns from unlabeled images."""
    unlabeled_gain: Difference | None = None
    """What is recommended, if it learns from unlabeled images, against the best baseline that doesn't."""
    over_best: tuple[Difference, ...] = ()
    """Each other entry against the best baseline, best first."""
    parts: tuple[Part, ...] = ()
    """What the lead of the candidate over the best baseline is made of, where it takes more than a policy."""
    notes: tuple[str, ...] = ()
    """What a person must know beside: what is missing, what was confirmed on these images before."""
    budget: str | None = None
    """What certainty the budget took; None: nothing."""
    final_check: dict[str, Any] | None = None
    """What the final network says of it, see ``studies/final_check.py``; None: it was not asked."""

    def __str__(self) -> str:
        return self.sentence

    @classmethod
    def from_json(cls, document: dict[str, Any], metric: Metric) -> Verdict:
        """What ``to_json`` made, of an older version too; without parts and notes."""

        def read(name: str) -> Difference | None:
            found = document.get(name)
            return Difference(**found) if found else None

        confirmed = [
            Confirmed(
                *(one["number"], one["name"], one["baseline"], tuple(one.get("scores") or one["accuracies"])),
                *(one["accuracy"], one["log_loss"], one["ece"], one.get("beside")),
            )
            for one in document["confirmation"]
        ]
        return cls(
            *(document["verdict"], document["kind"], document["recommended"], metric),
            *(document["margin"], tuple(confirmed)),
            differences=tuple(Difference(**one) for one in document["differences"]),
            p=document["p"],
            more_seeds=document["more_seeds"],
            gain=read("gain"),
            unlabeled_gain=read("unlabeled_gain"),
            budget=document.get("budget"),
            final_check=document.get("final_check"),
        )

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
            "more_seeds": self.more_seeds,
            "gain": asdict(self.gain) if self.gain else None,
            "unlabeled_gain": asdict(self.unlabeled_gain) if self.unlabeled_gain else None,
            "confidence": CONFIDENCE,
            "over_best": [asdict(difference) for difference in self.over_best],
            "parts": [{"of": part.of, **asdict(part.difference)} for part in self.parts],
            "notes": list(self.notes),
            **({"budget": self.budget} if self.budget is not None else {}),
            **({"final_check": self.final_check} if self.final_check is not None else {}),
        }


def reach_verdict(
    finalists: Finalists,
    level: float = LEVEL,
    tail: float = TAIL,
    missing: Sequence[str] = (),
    later: Callable[[int], Look] | None = None,
) -> Verdict:
    """The verdict on ``finalists``.

    Args:
        finalists: the candidates and baselines, with their results.
        level: one-sided; how often a candidate that is no better may be called better.
        tail: one-sided; how often a lead of the margin may be taken for less.
        missing: baselines that could not be trained, so that nothing can be called better than every one.
        later: the last look of a confirmation of so many folds; None: one like this.
    """
    best = finalists.candidates[0] if finalists.candidates else None
    winner = None if missing else finalists.beats_all(level)
    simplest = finalists.as_good(tail)
    more = None
    if winner is not None:
        kind: Kind = "better"
        chosen, sentence = winner, _better(winner, finalists)
    elif simplest is not None:
        kind, chosen = "as good", simplest
        sentence = _as_good(simplest, finalists)
    else:
        kind, chosen = "undecided", finalists.fallback
        if not missing:  # else nothing can be better, however many folds there are
            more = more_seeds(finalists, later or (lambda folds: Look(folds, level, tail)))
        sentence = _undecided(finalists, more, Look(0, level, tail), missing)
    ranked = sorted(finalists.members, key=lambda one: -one.mean)
    shown = winner or best
    return Verdict(
        sentence,
        kind,
        chosen.number,
        finalists.metric,
        finalists.margin,
        tuple(Confirmed.of(one) for one in ranked),
        tuple(finalists.lead(shown, rival) for rival in finalists.rivals(shown)) if shown else (),
        finalists.p_of(shown) if shown else None,
        more,
        *_gains(chosen, finalists),
        over_best=tuple(
            finalists.lead(one, finalists.best_baseline)
            for one in ranked
            if one is not finalists.best_baseline
        ),
        parts=_parts(shown, finalists),
        notes=_about_missing(missing) + _about_controls(shown, finalists),
    )


def _about_missing(missing: Sequence[str]) -> tuple[str, ...]:
    if not missing:
        return ()
    return (
        f"{each(missing)} could not be trained, so nothing is called better than every baseline; "
        "the same command tries again.",
    )


def _parts(candidate: Finalist | None, finalists: Finalists) -> tuple[Part, ...]:
    """A candidate's lead over the best baseline, divided by its controls."""
    if candidate is None:
        return ()
    found = []
    if candidate.base is not None:  # with the policy of a baseline
        found.append(Part(_HELP, finalists.lead(candidate, finalists.base_of(candidate))))
    for control in finalists.controls_of(candidate):
        lead = finalists.lead(control, finalists.base_of(control))
        if control.same_help:
            found += [Part("its policy", finalists.lead(candidate, control)), Part(_HELP, lead)]
        else:
            found.append(Part("as many image passes without them", lead))
    return tuple(found)


def _about_controls(candidate: Finalist | None, finalists: Finalists) -> tuple[str, ...]:
    """That another baseline than the one that had the candidate's help was the best here."""
    best = finalists.best_baseline
    controls = finalists.controls_of(candidate) if candidate else []
    others = [base for control in controls if (base := finalists.base_of(control)) is not best]
    if not others:
        return ()
    return (
        f"{called(best.name, begins=True)} is the best baseline here, in the search "
        f"{called(others[0].name)} was: the latter alone was tried with the same help or for as many image "
        "passes.",
    )


def parts_in_words(metric: Metric, parts: Sequence[Part]) -> str | None:
    """What a candidate's lead over the best baseline is made of; None: there is nothing to divide."""
    if not parts:
        return None
    baseline = parts[-1].difference.worse
    said = [
        f"{part.of} {metric.shown_difference(lead.mean, lead.low, lead.high)}"
        for part in parts
        for lead in [part.difference]
    ]
    return f"What brings how much over {called(baseline)}: {'; '.join(said)}."


def _gains(chosen: Finalist, finalists: Finalists) -> tuple[Difference | None, Difference | None]:
    """What is recommended over no augmentation; and over the best of the labels alone."""
    nothing = next((one for one in finalists.baselines if one.name == "none"), None)
    gain = None
    # Where one learns from unlabeled images and the other doesn't, the policies aren't what differs.
    if nothing is not None and nothing is not chosen and nothing.unlabeled == chosen.unlabeled:
        gain = finalists.lead(chosen, nothing)
    alone = [one for one in finalists.baselines if not one.unlabeled]
    beside = (
        finalists.lead(chosen, max(alone, key=lambda one: one.mean)) if alone and chosen.unlabeled else None
    )
    return gain, beside


def _shown(finalists: Finalists, lead: Difference) -> str:
    return finalists.metric.shown_difference(lead.mean, lead.low, lead.high)


def called(name: str, begins: bool = False) -> str:
    """An entry as a sentence calls it."""
    name = "no augmentation" if name == "none" else name
    return name[0].upper() + name[1:] if begins else name


def _better(winner: Finalist, finalists: Finalists) -> str:
    leads = [finalists.lead(winner, rival) for rival in finalists.rivals(winner)]
    closest, p = min(leads, key=lambda lead: lead.mean), finalists.p_of(winner)
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.1g}"
    lead = f"{_shown(finalists, closest)} over {called(closest.worse)}, the closest (one-sided {chance})"
    return f"{called(winner.name, begins=True)} is better than every baseline: {lead}."


def _as_good(simplest: Finalist, finalists: Finalists) -> str:
    others = [one for one in finalists.choices if one is not simplest]
    if not others:
        return f"{called(simplest.name, begins=True)} is all that could be confirmed: use that."
    # Those with help lead a baseline that trains for half as long, and that is what a person would ask about.
    helped = [one for one in others if finalists.fair(simplest, one) is not simplest]
    best = max(helped or others, key=lambda one: finalists.fair_lead(one, simplest).mean)
    what = f"{called(simplest.name, begins=True)} is as good as anything that was tried"
    name, lead = called(best.name), _shown(finalists, finalists.fair_lead(best, simplest))
    if not helped:
        return f"{what} ({name} over it: {lead}): use that."
    return (
        f"{what} once it trains for as many image passes ({name} over it then: {lead}): use that, and train "
        "it longer."
    )


def _undecided(finalists: Finalists, more: int | None, look: Look, missing: Sequence[str]) -> str:
    best, rival = finalists.best_baseline, _rival(finalists)
    lead = _shown(finalists, finalists.lead(rival, best))
    said = f"Undecided: {called(rival.name)} against {called(best.name)} is {lead}"
    if missing:
        how = f"{each(missing)} must be trained first"
    elif more is not None:
        how = f"about {more} more seed{'' if more == 1 else 's'} would decide"
    elif math.isfinite(factor := images_factor(finalists, look)):
        how = f"more seeds won't decide, but some {factor:.0f} times as many images would"
    else:
        how = "neither more seeds nor many more images would decide"
    return f"{said}; {how}. Until then use {_fallback(finalists)}."


def _fallback(finalists: Finalists) -> str:
    fallback, best = finalists.fallback, finalists.best_baseline
    if fallback is best:
        return called(best.name)
    lead = _shown(finalists, finalists.lead(best, fallback))
    return (
        f"{called(fallback.name)}: {called(best.name)} over it is {lead}, which may be noise, and where "
        "pretrained networks were measured it was safer than what led"
    )


def _rival(finalists: Finalists) -> Finalist:
    """The best of those that aren't the best baseline, a candidate if there is one."""
    fallback = finalists.best_baseline
    others = finalists.candidates or [one for one in finalists.choices if one is not fallback]
    return max(others, key=lambda one: one.mean)
