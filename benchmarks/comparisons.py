"""Trainings beside each other, seed by seed: means, paired differences, and whether they are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from scipy.stats import t

from benchmarks.tables import Table

CONFIDENCE = 0.95


class Outcome(BaseModel):
    """What came of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float
    """0 to 1, as the model is after the last epoch."""
    log_loss: float
    tested: int
    """Images."""
    passes: int
    """Images trained on, in all epochs; a teacher's own training and its looking on not counted."""
    seconds: float
    """The training's, without the test."""
    cpu_seconds: float
    """The processor's, which do not grow when others use the machine too."""


JobT = TypeVar("JobT")
OutcomeT = TypeVar("OutcomeT", bound=Outcome)
Column = tuple[str, Callable[[Sequence[Any]], str]]
"""A heading, and what stands below it of a row's outcomes."""


@dataclass(frozen=True)
class Row(Generic[JobT]):
    """A way to train, by seed; the first of a comparison is what the others are compared with."""

    name: str
    jobs: tuple[JobT, ...]
    compared: bool = True
    """False: shown for itself, such as a teacher."""


@dataclass(frozen=True)
class Comparison(Generic[JobT]):
    """Rows that meet on the same seeds."""

    title: str
    rows: tuple[Row[JobT], ...]
    pairs: tuple[tuple[str, str], ...] = ()
    """Names of further rows to compare: the first minus the second."""
    notes: str = ""


def trained(comparison: Comparison[JobT], result: Callable[[JobT], OutcomeT]) -> dict[str, list[OutcomeT]]:
    """The outcomes of every row, trained seed by seed, so that a run cut short has whole seeds."""
    found: dict[str, list[OutcomeT]] = {row.name: [] for row in comparison.rows}
    for jobs in zip(*(row.jobs for row in comparison.rows), strict=True):
        for row, job in zip(comparison.rows, jobs, strict=True):
            found[row.name].append(result(job))
    return found


def report(
    comparison: Comparison[JobT], found: dict[str, list[OutcomeT]], more: Sequence[Column] = ()
) -> list[Table]:
    """The rows, with ``more`` columns at their end, and the further pairs."""
    base = comparison.rows[0].name
    rows = []
    for row in comparison.rows:
        mine = found[row.name]
        difference = ("", "", "", "")
        if row.compared and row.name != base:
            difference = differences(mine, found[base])
        rows.append(
            (
                row.name,
                mean_and_deviation([100 * one.accuracy for one in mine], 1),
                mean_and_deviation([one.log_loss for one in mine], 3),
                *difference,
                f"{fmean(one.passes for one in mine):,.0f}",
                f"{fmean(one.cpu_seconds for one in mine):.0f}",
                *(shown(mine) for _, shown in more),
            )
        )
    count, tested = len(found[base]), found[base][0].tested
    headings = (*AGAINST, "image passes", "CPU seconds", *(heading for heading, _ in more))
    tables = [
        Table(
            comparison.title,
            ("training", "accuracy, %", "log-loss", *headings),
            rows,
            notes=f"{comparison.notes} Mean ± sd of n = {count} seeds, on {tested:,} test images. "
            f"*Points* of accuracy, *wins* and *log-loss less* are against “{base}”, seed by seed. "
            f"*Better?* is yes or no where the {100 * CONFIDENCE:.0f} % interval of the points "
            "(t, paired) leaves out 0, and else “not shown”.",
        )
    ]
    if comparison.pairs:
        steps = [
            (f"{one} − {other}", differences(found[one], found[other])) for one, other in comparison.pairs
        ]
        tables.append(steps_table(f"{comparison.title}, step by step", steps))
    return tables


AGAINST = ("points", "wins", "log-loss less", "better?")
Differences = tuple[str, str, str, str]
"""What stands below ``AGAINST``."""


def steps_table(title: str, steps: Sequence[tuple[str, Differences]], notes: str = "") -> Table:
    """Pairs of rows, each with what it is called."""
    return Table(title, ("step", *AGAINST), [(name, *found) for name, found in steps], notes=notes)


def differences(ours: Sequence[Outcome], base: Sequence[Outcome]) -> Differences:
    """Points, wins, what the log-loss is less, and whether that is to be believed."""
    points = [100 * (one.accuracy - other.accuracy) for one, other in zip(ours, base, strict=True)]
    nats = [other.log_loss - one.log_loss for one, other in zip(ours, base, strict=True)]
    wins = sum(point > 0 for point in points)
    return (
        mean_and_deviation(points, 2, sign=True),
        f"{wins} of {len(points)}",
        mean_and_deviation(nats, 3, sign=True),
        believed(points),
    )


def believed(points: Sequence[float]) -> str:
    """Whether the t interval of the mean leaves out 0, and on which side.

    >>> believed([1.0, 1.1, 0.9]), believed([-1.0, -1.1, -0.9]), believed([1.0, -1.0, 0.5])
    ('yes', 'no, worse', 'not shown')
    """
    mean = fmean(points)
    if len(points) < 2 or abs(mean) <= half_width(points):
        return "not shown"
    return "yes" if mean > 0 else "no, worse"


def half_width(values: Sequence[float]) -> float:
    """Half the width of the t interval of the mean, of two values at least."""
    return float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values)))


def mean_and_deviation(values: Sequence[float], digits: int, *, sign: bool = False) -> str:
    """``+1.20 ± 0.30``; the deviation is the sample's, and there is none of a single value."""
    plus = "+" if sign else ""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):{plus}.{digits}f}{deviation}".replace("-", "−")
