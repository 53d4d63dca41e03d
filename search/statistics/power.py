"""How large a lead must be for so many folds to find it, and how many folds or images find one."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import stats

from augsearch.search.statistics.looks import Look
from augsearch.search.statistics.paired import CONFIDENCE, Spread
from augsearch.search.statistics.sequential import Finalist, Finalists
from augsearch.trainers.evaluation.metrics import Metric

POWER = 0.8
"""How often what is told to decide is to decide, where a lead is as large as it looks."""
MOST_LOOKS = 10
"""That are added for the folds that would decide; there are more folds than anybody runs by then."""


def detectable(noise: Spread, folds: int) -> float:
    """The lead that would be found four times in five with ``folds``, in the metric's unit.

    Its 95 % interval excludes zero in 80 % of repetitions.
    """
    return noise.half_width(folds) / clear_in_most((1 - CONFIDENCE) / 2)


def noise_of(finalists: Finalists) -> Spread | None:
    """What the lead of the best candidate over the best baseline is uncertain by.

    Without candidates that of the two best baselines; None: there is but one.
    """
    best = finalists.best_baseline
    others = finalists.candidates or [one for one in finalists.members if one is not best]
    if not others or min(len(best.results), len(others[0].results)) < 2:
        return None
    return finalists.noise(max(others, key=lambda one: one.mean), best)


def shown_lead(metric: Metric, lead: float) -> str:
    """``2.1 points``."""
    return f"{metric.factor * lead:.{metric.digits}f} {metric.difference_unit}"


def _ways_to_decide(finalists: Finalists, look: Look) -> list[list[tuple[float, Finalist, Finalist]]]:
    """The ways to a decision at ``look``: for each the half-widths that it takes, and between whom."""
    ways = []
    if finalists.candidates:
        best, of = finalists.candidates[0], clear_in_most(look.level)
        ways.append([(of * finalists.lead(best, one).mean, best, one) for one in finalists.rivals(best)])
    of = clear_in_most(look.tail)
    for baseline in (one for one in finalists.baselines if one in finalists.choices):
        others = [one for one in finalists.choices if one is not baseline]
        pairs = [(one, finalists.fair(baseline, one)) for one in others]
        ways.append([(of * (finalists.margin - finalists.lead(*pair).mean), *pair) for pair in pairs])
    return [way for way in ways if way and min(width for width, _, _ in way) > 0]


def clear_in_most(level: float) -> float:
    """The half-width of the interval, as a share of a lead, with which a test at ``level`` has ``POWER``."""
    z = stats.norm.ppf
    return float(z(0.5 + CONFIDENCE / 2) / (z(1 - level) + z(POWER)))


def more_seeds(finalists: Finalists, later: Callable[[int], Look]) -> int | None:
    """Folds that would decide beside those that there are, at the looks that come with them."""
    done = max(len(one.results) for one in finalists.members)
    more = 1
    # Many more folds bring more looks, each of which may be wrong less often.
    for _ in range(MOST_LOOKS):
        found = _more_at(finalists, later(done + more))
        if found is None or found <= more:
            return None if found is None else more
        more = found
    return more


def _more_at(finalists: Finalists, look: Look) -> int | None:
    """Folds that would decide beside those that there are, at ``look``; None: no number of folds would."""
    best = None
    for way in _ways_to_decide(finalists, look):
        folds = [finalists.needed(width, one, other) for width, one, other in way]
        done = min(min(len(one.results), len(other.results)) for _, one, other in way)
        if None not in folds:
            more = max(1, max(count for count in folds if count is not None) - done)
            best = more if best is None else min(best, more)
    return best


def images_factor(finalists: Finalists, look: Look) -> float:
    """How many times as many images would let folds decide."""
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))

    def factor(width: float, noise: Spread) -> float:
        # Half of the interval's variance to the images, half to the folds.
        return 2 * (z * noise.by_data / width) ** 2

    ways = [
        max(factor(width, finalists.noise(one, other)) for width, one, other in way)
        for way in _ways_to_decide(finalists, look)
    ]
    best = max(2.0, math.ceil(min(ways))) if ways else math.inf
    return best if best <= 1000 else math.inf
