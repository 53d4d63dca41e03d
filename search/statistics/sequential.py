"""The confirmation as a sequential test: who is better than whom, and who is worth another fold.

Pure functions of results: ``benchmarks/statistics/`` runs them on thousands of made worlds, to see how
often what they say is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import stats

from augsearch.search.statistics.paired import Difference, Spread, compare, folds_needed, holm, spread
from augsearch.trainers.evaluation.metrics import ACCURACY, Metric
from augsearch.trainers.workspace.folds import FoldResult

LEVEL = 0.05
"""How often a candidate may be called better than every baseline where none is."""
EARLY_LEVEL = 0.01
"""The same before the last fold: looking often must not make it likely (Haybittle 1971, Peto 1976)."""
EARLY_TAIL = 0.01
"""How often, before the last fold, a lead of the margin may be taken for less, instead of 2.5 %."""
FUTILE = 0.05
"""A candidate whose chance to win by the last fold is smaller stops."""
LOOK = 8
"""Folds between two interim analyses: with fewer the signed-rank test can't reach ``EARLY_LEVEL``."""


@dataclass(frozen=True, eq=False)
class Finalist:
    """An entry and its results on the confirmation's folds so far, in their order."""

    number: int
    name: str
    baseline: bool
    results: Sequence[FoldResult]
    unlabeled: bool = False
    """Whether it learns from unlabeled images."""

    @cached_property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean([result.score for result in self.results]))

    def over(self, other: Finalist) -> Difference:
        """Its lead over ``other``, on the folds that both have."""
        key = self._key(other)
        if key not in self._leads:
            self._leads[key] = compare(self.name, self.results, other.name, other.results)
        return self._leads[key]

    def noise_over(self, other: Finalist) -> Spread:
        """What that lead is uncertain by."""
        key = self._key(other)
        if key not in self._noises:
            self._noises[key] = spread(self.results, other.results)
        return self._noises[key]

    def _key(self, other: Finalist) -> tuple[int, int]:
        return other.number, min(len(self.results), len(other.results))

    @cached_property
    def _leads(self) -> dict[tuple[int, int], Difference]:
        return {}

    @cached_property
    def _noises(self) -> dict[tuple[int, int], Spread]:
        return {}


@dataclass(frozen=True, eq=False)
class Finalists:
    """The candidates and baselines of a confirmation; the baselines the simplest first."""

    members: Sequence[Finalist]
    margin: float
    metric: Metric = ACCURACY

    @cached_property
    def candidates(self) -> list[Finalist]:
        """Best first; before them all those that were trained on more folds."""
        candidates = [one for one in self.members if not one.baseline]
        return sorted(candidates, key=lambda one: (-len(one.results), -one.mean))

    @cached_property
    def baselines(self) -> list[Finalist]:
        """The simplest first: what takes no unlabeled images before what does."""
        return sorted((one for one in self.members if one.baseline), key=lambda one: one.unlabeled)

    @property
    def best_baseline(self) -> Finalist:
        """That of the highest mean."""
        return max(self.baselines, key=lambda one: one.mean)

    @cached_property
    def p_values(self) -> list[float]:
        """p value of each of ``candidates``: that it is no better than every baseline.

        Against all baselines at once the largest p counts (intersection–union: Berger 1982); among
        several candidates it is adjusted by Holm's method.
        """
        return holm([max(own.over(baseline).p for baseline in self.baselines) for own in self.candidates])

    def beats_all(self, level: float) -> Finalist | None:
        """The candidate that is better than every baseline, if one is."""
        for candidate, p in zip(self.candidates, self.p_values, strict=True):
            if p <= level and all(self._leads(candidate, baseline) for baseline in self.baselines):
                return candidate
        return None

    def _leads(self, candidate: Finalist, baseline: Finalist) -> bool:
        """Whether the interval of its lead lies above zero, being as wide as it must be for the best of
        several candidates (Bonferroni): the test knows of folds alone, and images are luck as well."""
        lead = candidate.over(baseline)
        return lead.mean - _factor(lead.folds, LEVEL / 2 / len(self.candidates)) * (lead.mean - lead.low) > 0

    def as_good(self, level: float) -> Finalist | None:
        """The simplest baseline that nothing leads by the margin or more, if one is known to be it."""
        for baseline in self.baselines:
            others = [one for one in self.members if one is not baseline]
            if all(_highest(one.over(baseline), level) < self.margin for one in others):
                return baseline
        return None

    def level(self, folds: int) -> float:
        """How wrong a claim may be: before the last of ``folds`` it must be surer."""
        return LEVEL if max(len(one.results) for one in self.members) == folds else EARLY_LEVEL

    def decided(self, level: float) -> bool:
        """Whether more folds would change nothing."""
        return self.beats_all(level) is not None or self.as_good(level) is not None

    def worth_more(self, folds: int) -> list[Finalist]:
        """Who is worth training on more folds, ``folds`` in all at most; none: the question is closed."""
        live = [one for one in self.candidates if self._may_win(one, folds)]
        if live:
            level = EARLY_LEVEL / len(self.candidates)
            return live + [
                one
                for one in self.baselines
                if not all((lead := own.over(one)).p <= level and lead.low > 0 for own in live)
            ]
        # No candidate will win. Which is the simplest baseline that is as good as anything?
        best = max(self.members, key=lambda one: one.mean)
        in_play = [
            one
            for one in self.baselines
            if (one is best or best.over(one).low <= 0) and self._may_be_as_good(one, folds)
        ]
        return [
            one
            for one in self.members
            if one in in_play or any(one.over(own).high >= self.margin for own in in_play)
        ]

    def _may_win(self, candidate: Finalist, folds: int) -> bool:
        return all(self._chance(candidate, baseline, folds) >= FUTILE for baseline in self.baselines)

    def _chance(self, candidate: Finalist, baseline: Finalist, folds: int) -> float:
        """Predictive power: that the lead after ``folds`` will be clear, going by what is known of it now
        (Spiegelhalter, Freedman and Blackburn 1986)."""
        lead, noise = candidate.over(baseline), candidate.noise_over(baseline)
        left = folds - lead.folds
        if left <= 0 or noise.by_fold == 0:
            return float(lead.low > 0)
        wanted = stats.norm.ppf(1 - LEVEL / 2) * noise.error(folds)
        will_vary = noise.by_fold * math.sqrt(left / (folds * lead.folds))
        return float(stats.norm.cdf((lead.mean - wanted) / will_vary))

    def _may_be_as_good(self, baseline: Finalist, folds: int) -> bool:
        """Whether twice the folds might show it, going by the leads over it as they are now."""
        for other in self.members:
            if other is not baseline and (lead := other.over(baseline)).high >= self.margin:
                wanted = needed(self.margin - lead.mean, other, baseline)
                if wanted is None or wanted > 2 * folds:
                    return False
        return True


def _highest(lead: Difference, level: float) -> float:
    """The upper end of the lead's interval; before the last fold of a wider one."""
    if level == LEVEL:
        return lead.high
    return lead.mean + _factor(lead.folds, EARLY_TAIL) * (lead.high - lead.mean)


@lru_cache
def _factor(folds: int, tail: float) -> float:
    """By how much wider an interval is whose tails are so small, instead of 2.5 % each."""
    return (
        float(stats.t.ppf(1 - tail, folds - 1) / stats.t.ppf(1 - LEVEL / 2, folds - 1)) if folds > 1 else 1.0
    )


def needed(half_width: float, first: Finalist, second: Finalist) -> int | None:
    """Folds until the interval of their difference is as narrow; None: no number of folds does it."""
    if half_width <= 0:
        return None
    return folds_needed(half_width, first.noise_over(second))


def look_after(done: int, folds: int) -> int:
    """How many folds there are at the next interim analysis."""
    step = max(LOOK, math.ceil(folds / 4))
    return min(folds, (done // step + 1) * step)


def interim_analysis(
    finalist: Callable[[int, int], Finalist],
    numbers: Sequence[int],
    folds: int,
    margin: float,
    metric: Metric,
) -> tuple[Finalists, list[tuple[int, int]]]:
    """The finalists with their results so far, and the folds that the next analysis needs.

    All begin; after every eighth fold or so those go on by whom the verdict may still change, until it
    can't or all of ``folds`` are run.

    Args:
        finalist: the finalist of an entry's number, with at most so many folds.
        numbers: the entries' numbers.
        folds: how many an entry runs at most.
        margin: see ``Finalists``.
        metric: see ``Finalists``.

    Returns:
        The finalists, and who (by number) needs how many folds before the next analysis; empty: it is over.
    """
    reached = dict.fromkeys(numbers, 0)
    going, done = set(numbers), 0
    while True:
        done = look_after(done, folds)
        reached |= dict.fromkeys(going, done)
        finalists = Finalists([finalist(number, reached[number]) for number in numbers], margin, metric)
        wanting = [(one.number, done) for one in finalists.members if len(one.results) < reached[one.number]]
        if wanting or done == folds or finalists.decided(EARLY_LEVEL):
            return finalists, wanting
        going = {one.number for one in finalists.worth_more(folds)}
        if not going:
            return finalists, []
