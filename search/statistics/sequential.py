"""The confirmation as a sequential test: who is better than whom, and who is worth another fold.

Pure functions of results: ``benchmarks/statistics/`` runs them on thousands of made worlds, to see how
often what they say is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from augsearch.search.statistics.looks import LEVEL, Look
from augsearch.search.statistics.paired import (
    Difference,
    Parts,
    Spread,
    difference,
    folds_needed,
    gains_of,
    holm,
    parts_of,
)
from augsearch.trainers.evaluation.metrics import ACCURACY, Metric
from augsearch.trainers.workspace.folds import FoldResult

FUTILE = 0.03
"""A candidate whose chance to win by the last fold is smaller stops."""
STILL_WRONG = 0.2
"""The share of what is still wrong below which a gain counts as none."""
SURELY = 0.005
"""A baseline that all candidates lead with a smaller p value takes no more folds."""


@dataclass(frozen=True, eq=False)
class Finalist:
    """An entry and its results on the confirmation's folds so far, in their order."""

    number: int
    name: str
    baseline: bool
    results: Sequence[FoldResult]
    unlabeled: bool = False
    """Whether it learns from unlabeled images."""
    control_of: frozenset[int] | None = None
    """Of a control: the candidates that must be better than it; None: it is none. A candidate may be one too,
    where it is the best baseline with help: of the others that have the same."""
    same_help: bool = False
    """Of a control: whether it has the teacher or the unlabeled images of its candidates, and not as many
    image passes without them."""
    base: int | None = None
    """Of a control: the baseline that it is but for the help, or that it trains longer."""

    @property
    def trains_longer(self) -> bool:
        """Whether it is a control for nothing but as many image passes: no choice of its own."""
        return self.control_of is not None and not self.same_help

    @cached_property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean([result.score for result in self.results]))

    def parts_over(self, other: Finalist) -> Parts:
        """What its lead over ``other`` is uncertain by, from the folds that both have."""
        key = other.number, min(len(self.results), len(other.results))
        if key not in self._parts:
            self._parts[key] = parts_of(self.results, other.results)
        return self._parts[key]

    @cached_property
    def _parts(self) -> dict[tuple[int, int], Parts]:
        return {}


@dataclass(frozen=True, eq=False)
class Finalists:
    """The candidates and baselines of a confirmation; the baselines the simplest first."""

    members: Sequence[Finalist]
    most_margin: float
    """The gain below which a policy is as good as a simpler one, where much is still wrong."""
    metric: Metric = ACCURACY
    relative: bool = True
    """Whether that is less where less is still wrong; see ``margin``."""
    safest: str | None = None
    """The baseline to use while nothing is known to be better; None: the best one."""

    @cached_property
    def candidates(self) -> list[Finalist]:
        """Best first; before them all those that were trained on more folds."""
        candidates = [one for one in self.members if not one.baseline]
        return sorted(candidates, key=lambda one: (-len(one.results), -one.mean))

    @cached_property
    def baselines(self) -> list[Finalist]:
        """The simplest first: what takes no unlabeled images before what does, and controls last."""
        baselines = (one for one in self.members if one.baseline)
        return sorted(baselines, key=lambda one: (one.control_of is not None, one.unlabeled))

    @cached_property
    def choices(self) -> list[Finalist]:
        """All that may be recommended: longer training would help any of them."""
        return [one for one in self.members if not one.trains_longer]

    @cached_property
    def best_baseline(self) -> Finalist:
        """That of the highest mean; controls are for one candidate, and not for everyone."""
        return max((one for one in self.baselines if one.control_of is None), key=lambda one: one.mean)

    @cached_property
    def fallback(self) -> Finalist:
        """The baseline to use while it is undecided: the best one, unless the ``safest`` may be as good."""
        best = self.best_baseline
        safest = next((one for one in self.baselines if one.name == self.safest), best)
        return best if safest is best or self.lead(best, safest).low > 0 else safest

    @cached_property
    def margin(self) -> float:
        """The gain below which a policy is as good as a simpler one: at most a fifth of what is still wrong
        with the best baseline."""
        if not self.relative:
            return self.most_margin
        return min(self.most_margin, STILL_WRONG * self.metric.still_wrong(self.best_baseline.mean))

    def lead(self, one: Finalist, other: Finalist) -> Difference:
        """The lead of ``one`` over ``other``, on the folds that both have."""
        key = one.number, other.number
        if key not in self._leads:
            gains = gains_of(one.results, other.results)
            noise = self.noise(one, other) if len(gains) > 1 else None
            self._leads[key] = difference(one.name, other.name, gains, noise)
        return self._leads[key]

    def fair(self, baseline: Finalist, other: Finalist) -> Finalist:
        """``baseline`` as it is measured against ``other``: where that takes more image passes, for a teacher
        say, as it does when it trains for as many, if that is better."""
        helped = (other.control_of if other.same_help else None) or frozenset({other.number})
        for longer in self.members:
            lengthens = longer.trains_longer and longer.base == baseline.number
            is_its_own = lengthens and helped & (longer.control_of or frozenset())
            if is_its_own and longer.mean > baseline.mean:
                return longer
        return baseline

    def fair_lead(self, one: Finalist, baseline: Finalist) -> Difference:
        """The lead of ``one`` over ``baseline``, as that is measured against it."""
        return self.lead(one, self.fair(baseline, one))

    def noise(self, one: Finalist, other: Finalist) -> Spread:
        """What that lead is uncertain by.

        Of how much folds differ two entries alone say little, so all that were trained on the same folds are
        asked together; unless the two surely differ more.
        """
        parts = one.parts_over(other)
        return parts.spread(max(self._between, parts.surely_between))

    @cached_property
    def _between(self) -> float:
        """The variance between folds of a lead over the best baseline, from all entries."""
        best = self.best_baseline
        found = [
            one.parts_over(best)
            for one in self.members
            if one is not best and min(len(one.results), len(best.results)) > 1
        ]
        if not found:
            return 0.0
        return float(np.average([one.between for one in found], weights=[one.folds - 1 for one in found]))

    @cached_property
    def _leads(self) -> dict[tuple[int, int], Difference]:
        return {}

    def rivals(self, candidate: Finalist) -> list[Finalist]:
        """Whom ``candidate`` must be better than: the baselines, and its own controls."""
        common = [one for one in self.baselines if one.control_of is None]
        return common + self.controls_of(candidate)

    def controls_of(self, candidate: Finalist) -> list[Finalist]:
        """The best baseline with the help of ``candidate``, and the one that is trained for as long."""
        members = (*self.baselines, *self.candidates)
        return [one for one in members if candidate.number in (one.control_of or ())]

    def base_of(self, control: Finalist) -> Finalist:
        """The baseline that ``control`` is but for the help."""
        return next((one for one in self.members if one.number == control.base), self.best_baseline)

    @cached_property
    def p_values(self) -> list[float]:
        """p value of each of ``candidates``: that it is no better than every one of its rivals.

        Against all of them at once the largest p counts (intersection–union: Berger 1982); among several
        candidates it is adjusted by Holm's method.
        """
        return holm([max(self.lead(own, rival).p for rival in self.rivals(own)) for own in self.candidates])

    def p_of(self, candidate: Finalist) -> float:
        """Its p value."""
        return self.p_values[self.candidates.index(candidate)]

    def beats_all(self, level: float) -> Finalist | None:
        """The candidate that is better than every rival, if one is; ``level``: one-sided.

        None either where another's control is surely better still: a baseline with help that is at hand.
        """
        for candidate, p in zip(self.candidates, self.p_values, strict=True):
            if p <= level and not any(
                self.lead(one, candidate).low > 0 for one in self.choices if one.baseline
            ):
                return candidate
        return None

    def as_good(self, tail: float) -> Finalist | None:
        """The simplest baseline that nothing leads by the margin or more, if one is known to be it.

        What takes more image passes must lead it as it is when it trains for as many.

        ``tail``: how often a lead of the margin may be taken for less.
        """
        for baseline in (one for one in self.baselines if one in self.choices):
            others = [one for one in self.choices if one is not baseline]
            highest = [self._highest(one, self.fair(baseline, one), tail) for one in others]
            # Where nothing is wrong any more the margin is 0, and nobody leads.
            if all(high < self.margin or high == self.margin == 0 for high in highest):
                return baseline
        return None

    def decided(self, look: Look) -> bool:
        """Whether more folds than at ``look`` would change nothing."""
        return self.beats_all(look.level) is not None or self.as_good(look.tail) is not None

    def worth_more(self, folds: int) -> list[Finalist]:
        """Who is worth training on more folds, ``folds`` in all at most; none: the question is closed."""
        live = [one for one in self.candidates if self._may_win(one, folds)]
        if live:
            level = SURELY / len(self.candidates)
            # The last to be beaten stays: alone a candidate would be trained on for nothing.
            last = [max(self.rivals(own), key=lambda one: self.lead(own, one).p) for own in live]
            return live + [
                one
                for one in self.baselines
                if one in last
                or (
                    any(one in self.rivals(own) for own in live)
                    and not all(self.lead(own, one).p <= level for own in live)
                )
            ]
        # No candidate will win. Which is the simplest baseline that is as good as anything?
        best = max(self.choices, key=lambda one: one.mean)
        in_play = [
            one
            for one in self.baselines
            if one in self.choices
            and (one is best or self.fair_lead(best, one).low <= 0)
            and self._may_be_as_good(one, folds)
        ]
        open_pairs = [
            (one, self.fair(own, one))
            for one in self.choices
            for own in in_play
            if one is not own and self.fair_lead(one, own).high >= self.margin
        ]
        wanted = {one.number for one in in_play} | {one.number for pair in open_pairs for one in pair}
        return [one for one in self.members if one.number in wanted]

    def needed(self, half_width: float, one: Finalist, other: Finalist) -> int | None:
        """Folds until the interval of their difference is as narrow; None: no number of folds does it."""
        return folds_needed(half_width, self.noise(one, other)) if half_width > 0 else None

    def _highest(self, one: Finalist, baseline: Finalist, tail: float) -> float:
        """The upper end of the lead's interval that leaves out ``tail``."""
        lead = self.lead(one, baseline)
        if lead.folds < 2:
            return lead.high
        return lead.mean + self.noise(one, baseline).half_width(lead.folds, 1 - 2 * tail)

    def _may_win(self, candidate: Finalist, folds: int) -> bool:
        return all(self._chance(candidate, rival, folds) >= FUTILE for rival in self.rivals(candidate))

    def _chance(self, candidate: Finalist, baseline: Finalist, folds: int) -> float:
        """Predictive power: that the lead after ``folds`` will be clear, going by what is known of it now
        (Spiegelhalter, Freedman and Blackburn 1986)."""
        lead, noise = self.lead(candidate, baseline), self.noise(candidate, baseline)
        left = folds - lead.folds
        if left <= 0 or noise.by_fold == 0:
            return float(lead.low > 0)
        wanted = stats.norm.ppf(1 - LEVEL) * noise.error(folds)
        will_vary = noise.by_fold * math.sqrt(left / (folds * lead.folds))
        return float(stats.norm.cdf((lead.mean - wanted) / will_vary))

    def _may_be_as_good(self, baseline: Finalist, folds: int) -> bool:
        """Whether twice the folds might show it, going by the leads over it as they are now."""
        for other in self.choices:
            if other is not baseline and (lead := self.fair_lead(other, baseline)).high >= self.margin:
                wanted = self.needed(self.margin - lead.mean, other, self.fair(baseline, other))
                if wanted is None or wanted > 2 * folds:
                    return False
        return True


Going = Sequence[int]
"""The numbers of those who were trained on for the next look."""


def interim_analysis(
    finalists: Callable[[dict[int, int]], Finalists],
    numbers: Sequence[int],
    looks: Sequence[Look],
    kept: Sequence[Going] = (),
) -> tuple[Finalists, list[tuple[int, int]], list[list[int]]]:
    """The finalists with their results so far, and the folds that the next look needs.

    All begin; after each look those go on by whom the verdict may still change, until it can't or no look is
    left. Who once went on or stopped, as ``kept`` has it, is not asked again: what a later call knows of more
    looks changes nothing that was.

    Args:
        finalists: the finalists, each with at most so many folds, by its number.
        numbers: the entries' numbers.
        looks: the looks, in order.
        kept: who went on after each look of before.

    Returns:
        The finalists; who (by number) needs how many folds before the next look, empty: it is over; and who
        went on after each look.
    """
    reached = dict.fromkeys(numbers, 0)
    going = list(numbers)
    history: list[list[int]] = []
    for index, look in enumerate(looks):
        reached |= dict.fromkeys(going, look.folds)
        found = finalists(reached)
        wanting = [
            (one.number, look.folds) for one in found.members if len(one.results) < reached[one.number]
        ]
        if wanting:
            return found, wanting, history
        if index < len(kept):
            going = list(kept[index])
        elif found.decided(look):
            going = []
        elif index + 1 < len(looks):
            going = [one.number for one in found.worth_more(looks[-1].folds)]
        else:
            going = [number for number in numbers if reached[number] == look.folds]
        history.append(going)
        if not going:
            break
    return found, [], history
