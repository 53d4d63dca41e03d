"""The tables of ``benchmarks.unlabeled``: against the labels only, and searched against baseline policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from augsearch.policies import RANDAUGMENT, Policy
from augsearch.search.space.describe import describe
from augsearch.trainers import Candidate as Described
from benchmarks.comparisons import (
    Column,
    Comparison,
    Row,
    differences,
    mean_and_deviation,
    report,
    steps_table,
)
from benchmarks.tables import Table
from benchmarks.unlabeled.plans import LABELS_ONLY, Candidate, Rows, Setting, best_of
from benchmarks.unlabeled.runs import Job, Outcome

Found = dict[str, list[Outcome]]
"""Outcomes by the names of rows, seed by seed."""


def part_tables(
    setting: Setting, candidates: Sequence[Candidate], ended: bool, known: dict[str, Outcome]
) -> list[Table]:
    """All of a part, as far as whole seeds of it are known; ``ended``: the search is."""
    if not candidates:
        return []
    baseline = Rows.of(setting, setting.part.baseline)
    best = best_of(candidates).policy
    tables: list[Table] = []
    if ended:
        searched = Rows.of(setting, best) if best != baseline.policy else None
        sets = [rows for rows in (baseline, searched) if rows]
        seeds = whole_seeds(sets, known)
        if seeds:
            tables = comparisons(setting, sets, seeds, known)
    return [*tables, candidates_table(setting, candidates, ended)]


def baseline_tables(setting: Setting, known: dict[str, Outcome]) -> list[Table]:
    """All of a part for which no policy is searched."""
    rows = [Rows.of(setting, setting.part.baseline)]
    seeds = whole_seeds(rows, known)
    return comparisons(setting, rows, seeds, known) if seeds else []


def whole_seeds(sets: Sequence[Rows], known: dict[str, Outcome]) -> list[int]:
    """The seeds whose jobs are known in every row."""
    rows = [jobs for one in sets for jobs in one.jobs.values()]
    return [
        seed for seed, jobs in enumerate(zip(*rows, strict=True)) if all(job.key in known for job in jobs)
    ]


def comparisons(
    setting: Setting, sets: Sequence[Rows], seeds: Sequence[int], known: dict[str, Outcome]
) -> list[Table]:
    """The rows of each policy; of two, searched minus baseline too."""
    tables, found = [], []
    lacking = setting.part.seeds - len(seeds)
    cut_short = f" **Not all is trained: {lacking} more seeds are to come.**" if lacking else ""
    for name, rows in zip(("baseline policy", "searched policy"), sets, strict=False):
        outcomes: Found = {row: [known[jobs[seed].key] for seed in seeds] for row, jobs in rows.jobs.items()}
        comparison = Comparison[Job](
            f"{title(setting)}, {name}",
            tuple(Row(row, jobs) for row, jobs in rows.jobs.items()),
            notes=f"{in_full(rows.policy)}. Budget: {setting.part.budget:,} image passes a row; the "
            f"network is `{setting.part.network}`, bfloat16.{cut_short}",
        )
        tables += report(comparison, outcomes, MORE)
        found.append(outcomes)
    if len(found) == 2:
        steps = [(row, differences(found[1][row], found[0][row])) for row in found[0] if row in found[1]]
        tables.append(
            steps_table(
                f"{title(setting)}, searched − baseline policy",
                steps,
                "Each training with itself, seed by seed.",
            )
        )
    return tables


def title(setting: Setting) -> str:
    """Data set and labels."""
    note = f", {setting.part.note}" if setting.part.note else ""
    return f"{setting.data.split()[0]}, {setting.part.images_per_class} labels a class{note}"


def described(policy: Policy) -> str:
    """The policy in a few words."""
    return describe(Described(policy=policy))


def in_full(policy: Policy) -> str:
    """The policy in a few words, and which of RandAugment's operations it lacks."""
    lacking = [name for name in RANDAUGMENT if name not in policy.operations] if policy.num_ops else []
    return described(policy) + (f", without {', '.join(lacking)}" if lacking else "")


def percent(value: Callable[[Outcome], float | None]) -> Callable[[Sequence[Outcome]], str]:
    """Mean and deviation of a share, of the outcomes that have it."""

    def shown(outcomes: Sequence[Outcome]) -> str:
        values = [100 * share for one in outcomes if (share := value(one)) is not None]
        return mean_and_deviation(values, 1) if values else ""

    return shown


MORE: tuple[Column, ...] = (
    ("looked at", lambda outcomes: f"{fmean(one.looked_at for one in outcomes):,.0f}"),
    ("used, %", percent(lambda one: one.used)),
    ("rightly labeled, %", percent(lambda one: one.pseudo_accuracy)),
)

EXPLAINED = (
    "*Image passes* are images trained on, forward and backward, labeled and unlabeled, of all models "
    "of a row together; equal but for the rounding to whole epochs, and fewer where a model was sure of "
    f"too few images to fill its batches. “{LABELS_ONLY}, … epochs” has as many epochs as `fixmatch`. "
    "*Looked at* are images that went forward only: weak views and labelings. *Used* is the share of "
    "the unlabeled images that were learned from, by the last labeling or in the last epoch; *rightly "
    "labeled* are so many of them, of `fixmatch` by the clean images at the end. CPU seconds are of the "
    f"training, its labelings included. The techniques train without label smoothing, “{LABELS_ONLY}” "
    "with 0.1, the default: so log-losses compare less well than accuracies."
)
"""What the columns mean, once for the page."""


def candidates_table(setting: Setting, candidates: Sequence[Candidate], ended: bool) -> Table:
    """Every candidate of the search, as it was tried."""
    best, epochs = best_of(candidates), setting.searched(setting.part.baseline, 0).recipe.epochs
    rows = []
    for place, one in enumerate(candidates):
        accuracy = f"{100 * one.accuracy:.2f}"
        rows.append(
            (
                f"{described(one.policy)}{'' if place else ' (the baseline)'}",
                f"**{accuracy}**" if one is best else accuracy,
                *(f"{100 * outcome.accuracy:.2f}" for outcome in one.outcomes),
                f"{fmean(outcome.log_loss for outcome in one.outcomes):.3f}",
                f"{fmean(outcome.passes for outcome in one.outcomes):,.0f}",
            )
        )
    draws = tuple(f"draw {number}" for number in range(1, setting.sizes.draws + 1))
    verdict = " **The search is not ended.**" if not ended else ""
    if ended and best is candidates[0]:
        verdict = " It found nothing better than the baseline policy, so there are no rows of a searched one."
    return Table(
        f"The search for a policy: {title(setting)}",
        ("policy", "accuracy, %", *draws, "log-loss", "image passes"),
        rows,
        notes=f"FixMatch, {epochs} epochs each, on labels drawn from {setting.in_pool[1]:,} images and "
        f"validated on {candidates[0].outcomes[0].tested:,}, which no row above learns from or is tested on. "
        "The candidates share labels and seeds. Each is a neighbour of the best before it, proposed as "
        f"`augsearch run` proposes its first ones; the most accurate is taken.{verdict}",
    )
