"""The table of the search for T and α of ``benchmarks.techniques``."""

from __future__ import annotations

from collections.abc import Sequence

from augsearch.policies import Distillation
from benchmarks.comparisons import Outcome
from benchmarks.tables import Table
from benchmarks.techniques.runs import Job


def best_of(candidates: Sequence[tuple[Job, Outcome]]) -> Distillation:
    """What the most accurate candidate of a search was given; of equals, the first."""
    tried = [(outcome.accuracy, job.distillation) for job, outcome in candidates if job.distillation]
    return max(tried, key=lambda one: one[0])[1]


def candidates_table(candidates: Sequence[tuple[Job, Outcome]]) -> Table:
    """Every candidate of the search, as it was tried."""
    best = best_of(candidates)
    rows = []
    for job, outcome in candidates:
        one = job.distillation
        accuracy = f"{100 * outcome.accuracy:.2f}"
        rows.append(
            (
                f"{one.temperature:g}" if one else "labels alone",
                f"{one.alpha:g}" if one else "",
                f"**{accuracy}**" if one and one == best else accuracy,
                f"{outcome.log_loss:.3f}",
            )
        )
    plain, outcome = candidates[0]
    return Table(
        "The search for T and α",
        ("T", "α", "accuracy, %", "log-loss"),
        rows,
        words=0,
        notes=f"In the order of Optuna's TPE (seed 0), {plain.epochs} epochs each, one seed. Trained on "
        f"{plain.images_per_class} images a class and validated on {outcome.tested:,} in all, which no row "
        "above trains or is tested on, with a teacher of their own. The most accurate is taken.",
    )
