"""The tables of ``benchmarks.quality``: every policy on every data set, and whether the verdicts held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from augsearch.policies import PolicyFile
from augsearch.search.space.describe import describe
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.statistics.paired import Difference, compare
from augsearch.trainers import Candidate
from benchmarks.comparisons import mean_and_deviation
from benchmarks.quality.data import DataSet
from benchmarks.quality.plans import EXPORTED, EXPORTED_LONGER, Row
from benchmarks.quality.runs import Outcome
from benchmarks.tables import Table

EXPLAINED = """\
## How it was measured

Every training is `augsearch`'s own final training (`train_final`, then `test_final`): on train and
validation together, the epoch chosen on the confirmation part, the test part read once. All policies of a
data set have the same network, schedule and number of image passes, but where a row says otherwise, and
share the seeds of weights and order. A data set is divided once, for the search as for all seeds, so no
image that a policy was searched on is a test image of any row. The exported policy is what `augsearch run`
exports with default settings, but for a time budget where one is told below. Where that distils, the
teacher is part of it: it is trained with each seed, on its student's images for as many epochs, and its
passes and seconds are its row's.

*± sd* is between seeds. Differences are paired by seed and image; their 95 % intervals take seeds and test
images both for samples, as the verdict of a search does (`search/statistics/`)."""


@dataclass(frozen=True, eq=False)
class Result:
    """A data set and its rows, as far as whole seeds of them are known."""

    data: DataSet
    rows: Sequence[Row]
    known: dict[str, Outcome]
    exported: PolicyFile | None

    @cached_property
    def begun(self) -> list[Row]:
        """The rows of which anything is known."""
        return [row for row in self.rows if any(job.key in self.known for job in row.jobs)]

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds that all begun rows have been trained with."""
        rows = zip(*(row.jobs for row in self.begun), strict=True)
        return [seed for seed, jobs in enumerate(rows) if all(job.key in self.known for job in jobs)]

    @property
    def lacking(self) -> int:
        """Trainings that are to come."""
        return len({job.key for row in self.rows for job in row.jobs if job.key not in self.known})

    @property
    def baselines(self) -> list[Row]:
        """The begun rows of baselines."""
        return [row for row in self.begun if row.name in BASELINE_POLICIES]

    def row(self, name: str) -> Row | None:
        """The begun row of that name."""
        return next((row for row in self.begun if row.name == name), None)

    def outcomes(self, row: Row) -> list[Outcome]:
        """One a seed."""
        return [self.known[row.jobs[seed].key] for seed in self.seeds]

    def accuracy(self, row: Row) -> float:
        """Mean over seeds, 0 to 1."""
        return fmean(one.accuracy for one in self.outcomes(row))

    def difference(self, first: Row, second: Row) -> Difference | None:
        """First minus second; None: they are the same policy, or there are too few seeds."""
        if first.same_as == second.same_as or len(self.seeds) < 2:
            return None
        ours, theirs = ([one.as_fold for one in self.outcomes(row)] for row in (first, second))
        return compare(first.name, ours, second.name, theirs)


def tables(results: Sequence[Result]) -> list[Table]:
    """All of the page."""
    shown = [result for result in results if result.begun and result.seeds]
    if not shown:
        return []
    of_searches = [result for result in shown if result.exported is not None]
    return [
        summary(shown),
        *([verdicts(of_searches), costs(of_searches)] if of_searches else ()),
        *(details(result) for result in shown),
    ]


def summary(results: Sequence[Result]) -> Table:
    """A row a data set: what the README shows."""
    rows = []
    for result in results:
        cells = [_accuracy(result, row) for row in result.baselines]
        exported = result.row(EXPORTED)
        cells += ["", ""]
        if exported is not None:
            best = max(result.baselines, key=result.accuracy)
            cells[-2:] = [_accuracy(result, exported), _shown(result, exported, best, named=True)]
        rows.append((result.data.title, *cells))
    counts = sorted({len(result.seeds) for result in results})
    lacking = sum(result.lacking for result in results)
    to_come = f" **Not all is trained: {lacking} trainings are to come.**" if lacking else ""
    return Table(
        "Test accuracy, %",
        ("data", *BASELINE_POLICIES, EXPORTED, "exported − best baseline, points"),
        rows,
        notes=f"Mean ± sd of n = {' or '.join(map(str, counts))} paired seeds; the best baseline is the one "
        f"with the highest mean on these test images, which flatters it.{to_come}",
    )


def details(result: Result) -> Table:
    """All figures of a data set."""
    exported = result.row(EXPORTED)
    rows = []
    for row in sorted(result.begun, key=lambda row: row.name in BASELINE_POLICIES):
        mine = result.outcomes(row)
        difference = wins = ""
        if exported is not None and row is not exported:
            difference = _shown(result, exported, row)
            pairs = zip(result.outcomes(exported), mine, strict=True)
            won = sum(one.accuracy > other.accuracy for one, other in pairs)
            wins = f"{won} of {len(mine)}" if row.same_as != exported.same_as else ""
        rows.append(
            (
                row.name if row.name in BASELINE_POLICIES else f"{row.name}: {_in_words(result, row)}",
                _accuracy(result, row),
                mean_and_deviation([one.log_loss for one in mine], 3),
                mean_and_deviation([one.ece for one in mine], 3),
                difference,
                wins,
                f"{fmean(one.passes for one in mine):,.0f}",
                f"{fmean(one.cpu_seconds for one in mine):.0f}",
            )
        )
    plan = result.begun[0].jobs[0].plan
    return Table(
        result.data.title,
        ("policy", "accuracy, %", "log-loss", "ECE", "exported − this, points", "wins", "passes", "CPU s"),
        rows,
        notes=f"{result.data.in_words} images; network “{plan.model}”, {plan.recipe.epochs} epochs, "
        f"{plan.recipe.precision}. Mean ± sd of n = {len(result.seeds)} paired seeds; *wins* are seeds on "
        "which the exported policy was more accurate.",
    )


def verdicts(results: Sequence[Result]) -> Table:
    """What each search said, and whether the test images contradict it."""
    rows = []
    for result in results:
        evidence: dict[str, Any] = result.exported.evidence if result.exported else {}
        said = " ".join(filter(None, (evidence.get("verdict"), evidence.get("budget"))))
        exported = result.row(EXPORTED)
        if exported is None:
            rows.append((result.data.title, said, "not tested yet", ""))
            continue
        longer = result.row(EXPORTED_LONGER)
        others = [row for row in result.begun if row.same_as != exported.same_as and row is not longer]
        pairs = [(_for_as_many_passes(row, exported, longer), row) for row in others]
        measured = "; ".join(
            f"{_shown(result, ours, row)} over {row.name}{'' if ours is exported else ' for as many passes'}"
            for ours, row in pairs
        )
        kind = evidence.get("kind", "")
        # Better than the baselines is all that "better" claims.
        rivals = [pair for pair in pairs if kind != "better" or pair[1].name in BASELINE_POLICIES]
        leads = [found for pair in rivals if (found := result.difference(*pair)) is not None]
        held = agreement(kind, evidence.get("margin", 0.0), leads)
        rows.append((result.data.title, said, measured, held))
    return Table(
        "What the searches said, and what the test images say",
        ("data", "the search's verdict", "exported policy on the test images, points", "does it hold?"),
        rows,
        words=4,
        notes="*Better* holds if the exported policy leads every baseline with intervals above 0, *as good* "
        "if no other row leads it by the margin, intervals included. Either is contradicted where an "
        "interval says the opposite, and not contradicted in between. *Undecided* claims nothing.",
    )


def _for_as_many_passes(row: Row, exported: Row, longer: Row | None) -> Row:
    """What was exported, trained as long as ``row`` with its teacher is, where that was done."""
    return longer if longer is not None and row.jobs[0].training.distillation is not None else exported


def agreement(kind: str, margin: float, leads: Sequence[Difference]) -> str:
    """Whether a verdict holds by the exported policy's ``leads`` over the other rows.

    Args:
        kind: ``better``, ``as good`` or ``undecided``.
        margin: a gain below it counts as none, as a share of images.
        leads: over those of whom it speaks.
    """
    says: dict[str, tuple[Callable[[Difference], bool], Callable[[Difference], bool]]] = {
        "better": (lambda lead: lead.low > 0, lambda lead: lead.high < 0),
        "as good": (lambda lead: lead.low > -margin, lambda lead: lead.high < -margin),
    }
    if kind not in says or not leads:
        return "it claims nothing" if kind == "undecided" else ""
    holds, fails = says[kind]
    if any(map(fails, leads)):
        return "contradicted"
    return "holds" if all(map(holds, leads)) else "not contradicted"


def costs(results: Sequence[Result]) -> Table:
    """What was spent to get the exported policies."""
    rows = []
    for result in results:
        ledger: Any = (result.exported.evidence if result.exported else {}).get("ledger") or {}
        final = [one for row in result.baselines for one in result.outcomes(row)]
        stages = [ledger.get(stage) or {} for stage in ("search", "confirmation")]
        rows.append(
            (
                result.data.title,
                *(_spent(stage.get("images", 0), stage.get("worker_seconds", 0)) for stage in stages),
                _spent(fmean(one.passes for one in final), fmean(one.cpu_seconds for one in final)),
            )
        )
    return Table(
        "What it cost",
        ("data", "search", "confirmation", "one final training of a baseline"),
        rows,
        notes="Image passes, and seconds of one worker, of a final training those of the processor. No "
        "baseline needs the first two.",
    )


def _spent(images: float, seconds: float) -> str:
    return f"{images:,.0f} in {seconds:,.0f} s"


def _accuracy(result: Result, row: Row) -> str:
    return mean_and_deviation([100 * one.accuracy for one in result.outcomes(row)], 1)


def _shown(result: Result, first: Row, second: Row, *, named: bool = False) -> str:
    if first.same_as == second.same_as:
        return f"the same: {second.name}" if named else "the same"
    found = result.difference(first, second)
    if found is None:
        return ""
    mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
    over = f" ({second.name})" if named else ""
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]{over}".replace("-", "−")


def _in_words(result: Result, row: Row) -> str:
    for baseline in result.baselines:
        if baseline.same_as == row.same_as:
            return baseline.name
    first = row.jobs[0]
    return describe(Candidate(policy=first.policy, distillation=first.training.distillation))
