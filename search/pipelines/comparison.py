"""What a comparison of searches found: a table, a sentence, plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from augsearch.search.space.describe import describe
from augsearch.search.statistics.paired import CONFIDENCE, Difference, compare, mean_interval
from augsearch.search.studies.costs import Spent, spent
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import Metric
from augsearch.trainers.workspace.folds import FoldResult

DEFAULT, RANDOM, BASELINES = "default search", "random search", "baselines alone"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to find a policy, what it spent, and what it found."""

    name: str
    study: str
    trials: int
    search: Spent
    pick: Entry
    """The trial with the highest search score."""
    confirmed: tuple[FoldResult, ...]
    """The pick on the confirmation's folds, the same for all contestants."""

    @property
    def scores(self) -> list[float]:
        """The scores of the confirmation, fold by fold."""
        return [result.score for result in self.confirmed]

    @property
    def confirmation(self) -> Spent:
        """What the confirmation of the pick took."""
        return spent([dict(enumerate(self.confirmed))])


@dataclass(frozen=True, slots=True)
class Comparison:
    """The contestants on one seed."""

    seed: int
    data: str
    metric: Metric
    contestants: tuple[Contestant, ...]
    """The default search first."""

    def lead(self, over: str) -> Difference | None:
        """How far the default search's pick leads that of ``over``; None: they picked the same."""
        first, other = self.contestants[0], self.contestant(over)
        if first.pick.candidate == other.pick.candidate:
            return None
        return compare(first.name, first.confirmed, other.name, other.confirmed)

    def contestant(self, name: str) -> Contestant:
        """The contestant of that name."""
        return next(one for one in self.contestants if one.name == name)


def lead_over_seeds(comparisons: Sequence[Comparison], over: str) -> Difference | None:
    """The default search's lead: on one seed over folds and images, on several over seeds.

    None: they picked the same on every one.
    """
    leads = [one.lead(over) for one in comparisons]
    if len(leads) == 1 or not any(leads):
        return leads[0]
    gains = np.array([lead.mean if lead else 0.0 for lead in leads])
    return Difference(DEFAULT, over, float(gains.mean()), *mean_interval(gains), folds=len(gains))


def table(comparisons: Sequence[Comparison]) -> Table:
    """All contestants, seed by seed."""
    metric = comparisons[0].metric
    unit = metric.suffix
    confirmations = [one.confirmation for comparison in comparisons for one in comparison.contestants]
    folds = len(comparisons[0].contestants[0].confirmed)
    drawn = Table(
        title=f"What each picked for as many image passes, on {folds} fresh folds: {metric.label}",
        title_justify="left",
        caption="Passes and seconds are the search's; a trial that has begun is ended. The confirmation of a "
        f"pick took {max(one.images for one in confirmations):,} passes and "
        f"{fmean(one.seconds for one in confirmations):,.0f} worker seconds.",
        caption_justify="left",
    )
    drawn.add_column("seed", justify="right")
    drawn.add_column("contestant")
    drawn.add_column("what it picked")
    for column in ("passes", "worker s", f"search{unit}", f"confirmed{unit}", "default − this"):
        drawn.add_column(column, justify="right", no_wrap=True)
    for comparison in comparisons:
        for index, one in enumerate(comparison.contestants):
            drawn.add_row(
                "" if index else str(comparison.seed),
                one.name,
                escape(picked(one.pick)),
                f"{one.search.images:,}",
                f"{one.search.seconds:,.0f}",
                metric.shown(one.pick.score, unit=False),
                f"{metric.shown(fmean(one.scores), unit=False)} ± {metric.shown_spread(stdev(one.scores))}",
                _shown(metric, comparison.lead(one.name)) if index else "",
            )
    return drawn


def _shown(metric: Metric, lead: Difference | None) -> str:
    return "the same" if lead is None else metric.shown_difference(lead.mean, lead.low, lead.high)


def picked(pick: Entry) -> str:
    """Its name, and what it is where the name doesn't say."""
    return f"{pick.name}: {describe(pick.candidate)}" if pick.baseline is None else pick.name


def sentence(comparisons: Sequence[Comparison]) -> str:
    """What came of it, plainly."""
    metric, count = comparisons[0].metric, len(comparisons)
    on_average = f", on average over {count} seeds," if count > 1 else ""
    random, alone = (lead_over_seeds(comparisons, over) for over in (RANDOM, BASELINES))
    return (
        f"For as many image passes, what the default search picks is{on_average} "
        f"{_judged(metric, random, 'what random search picks')}, and "
        f"{_judged(metric, alone, 'the best of the baselines')}."
    )


def _judged(metric: Metric, lead: Difference | None, other: str) -> str:
    if lead is None:
        return f"the same as {other}"
    how = "better than" if lead.low > 0 else "worse than" if lead.high < 0 else "not clearly different from"
    return f"{how} {other} ({_shown(metric, lead)})"


def to_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Plain values: every figure behind the table, and the ledger."""
    leads = {over: lead_over_seeds(comparisons, over) for over in (RANDOM, BASELINES)}
    return {
        "metric": comparisons[0].metric.name,
        "confidence": CONFIDENCE,
        "comparisons": [
            {
                "seed": comparison.seed,
                "data": comparison.data,
                "contestants": [_contestant(comparison, one) for one in comparison.contestants],
            }
            for comparison in comparisons
        ],
        "default search minus": {over: lead and asdict(lead) for over, lead in leads.items()},
        "sentence": sentence(comparisons),
    }


def _contestant(comparison: Comparison, one: Contestant) -> dict[str, Any]:
    lead = comparison.lead(one.name)
    return {
        "name": one.name,
        "study": one.study,
        "trials": one.trials,
        "pick": {
            "trial": one.pick.number,
            "name": one.pick.name,
            "in_words": describe(one.pick.candidate),
            "candidate": one.pick.candidate.model_dump(mode="json", exclude_none=True),
            "search_score": one.pick.score,
        },
        "ledger": {
            "search": asdict(one.search),
            "confirmation": asdict(one.confirmation),
            "final": None,  # none is trained
        },
        "confirmed": {
            "scores": one.scores,
            "mean": fmean(one.scores),
            "sd": stdev(one.scores),
            "n": len(one.scores),
            "log_loss": fmean(result.log_loss for result in one.confirmed),
            "ece": fmean(result.ece for result in one.confirmed),
        },
        "default_minus_this": lead and asdict(lead),
    }
