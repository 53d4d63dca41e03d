"""The table of ``benchmarks.imbalance``: macro-F1 of each way to balance classes, beside doing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from benchmarks.comparisons import Comparison, believed, mean_and_deviation
from benchmarks.imbalance.plans import Job
from benchmarks.imbalance.runs import Outcome
from benchmarks.tables import Table

EXPLAINED = """\
## How it was measured

`augsearch`'s own final training of the network that ships, on all training images as they are, once for each
value of `--class-balance` and each seed of weights, order and augmentation. Macro-F1 is the mean of the
classes' F1, balanced accuracy the mean of their recalls: in both a rare class counts as much as a frequent
one, in accuracy as much as it has images. *Points* of macro-F1 are against doing nothing, seed by seed;
*better?* says yes or no where their 95 % interval (t, paired) leaves out 0."""


def table(comparison: Comparison[Job], found: dict[str, list[Outcome]], divided: str) -> Table:
    """A row for each way, of the seeds that all of them have; ``divided``: the parts, in words."""
    first = next(iter(found.values()))
    rows = []
    for name, outcomes in found.items():
        points = [100 * (one.macro_f1 - base.macro_f1) for one, base in zip(outcomes, first, strict=True)]
        against = ("", "", "")
        if outcomes is not first:
            wins = f"{sum(point > 0 for point in points)} of {len(points)}"
            against = (mean_and_deviation(points, 1, sign=True), wins, believed(points))
        rows.append(
            (
                name,
                _percent([one.macro_f1 for one in outcomes]),
                *against,
                _percent([one.balanced_accuracy for one in outcomes]),
                _percent([one.accuracy for one in outcomes]),
                mean_and_deviation([one.log_loss for one in outcomes], 3),
                f"{fmean(one.cpu_seconds for one in outcomes):.0f}",
            )
        )
    scores = ("macro-F1, %", "points", "wins", "better?", "balanced accuracy, %", "accuracy, %", "log-loss")
    return Table(
        comparison.title,
        ("`--class-balance`", *scores, "CPU seconds"),
        rows,
        notes=f"{divided} {comparison.notes} Mean ± sd of n = {len(first)} seeds, on "
        f"{first[0].tested:,} test images.",
    )


def _percent(shares: Sequence[float]) -> str:
    return mean_and_deviation([100 * share for share in shares], 1)
