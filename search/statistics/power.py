"""How large a lead must be for a confirmation of so many folds to find it."""

from __future__ import annotations

from augsearch.search.statistics.paired import Spread
from augsearch.search.statistics.sequential import Finalists
from augsearch.search.statistics.verdict import FOUR_IN_FIVE
from augsearch.trainers.evaluation.metrics import Metric


def detectable(noise: Spread, folds: int) -> float:
    """The lead that would be found four times in five with ``folds``, in the metric's unit.

    Its 95 % interval excludes zero in 80 % of repetitions; ``more_seeds`` of a verdict goes by the same.
    """
    return noise.half_width(folds) / FOUR_IN_FIVE


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
