"""Which epoch a final training keeps, said a second time."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.tasks.final import FinalEpoch


def chosen_of(epochs: Sequence[FinalEpoch], metric: str = "accuracy") -> FinalEpoch:
    """The latest that scores no more than a standard error less than the best of those until then."""
    score = METRICS[metric].score
    chosen = peak = epochs[0]
    for epoch in epochs[1:]:
        one, best = epoch.validation, peak.validation
        if (score(one), -one.log_loss) > (score(best), -best.log_loss):
            chosen = peak = epoch
        elif score(best) - score(one) <= stats.sem(one.by_image - best.by_image) + 1e-9:
            chosen = epoch
    return chosen
