"""The tables of ``benchmarks.carry_over``: how each way ranks, and what choosing by it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from augsearch.search.statistics.agreement import FEWEST, Agreement, Estimate, agreement, ranks
from augsearch.search.studies.proxy_check import between_seeds_in_words
from benchmarks.carry_over.plans import FINAL, POLICIES, Sizes, Way, jobs
from benchmarks.comparisons import Outcome
from benchmarks.tables import Table

EXPLAINED = """\
## How it was measured

Every policy is trained in each way: as folds of a search, of the same training images, scored on the
validation images; and as `augsearch`'s own final training of the network that ships, on all training images,
its epoch picked on the validation images and scored on all images that it has not learned from. ρ and τ
compare the ranks of the means; in brackets are 95 % intervals of a bootstrap over policies. The *regret* is
what the final model loses whose policy leads the short trainings, against the best final model; choosing
*blindly* loses what an average policy does. *Seconds* are of one core, for one policy with all its folds.
From ρ = 0.6 on a stand-in is thought worth believing."""


@dataclass(frozen=True, eq=False)
class Result:
    """A data set and what is known of it."""

    title: str
    name: str
    sizes: Sizes
    known: Mapping[str, Outcome]

    def outcomes(self, way: Way) -> dict[str, list[Outcome]]:
        """Of each policy by its name, those of the folds or seeds that all policies have."""
        names = list(POLICIES)[: self.sizes.policies]
        by_policy: dict[str, list[Outcome | None]] = {name: [] for name in names}
        of_policy = {POLICIES[name].model_dump_json(): name for name in names}
        for job in jobs(self.name, self.sizes):
            if job.way == way:
                by_policy[of_policy[job.policy.model_dump_json()]].append(self.known.get(job.key))
        rounds = list(zip(*by_policy.values(), strict=True))
        whole = [number for number, one in enumerate(rounds) if None not in one]
        found = {name: [all_[number] for number in whole] for name, all_ in by_policy.items()}
        return {name: [one for one in some if one is not None] for name, some in found.items()}

    def scores(self, way: Way) -> np.ndarray | None:
        """Accuracies, (policies, folds or seeds); None: there are none yet."""
        rows = [[one.accuracy for one in some] for some in self.outcomes(way).values()]
        return np.array(rows) if rows and rows[0] and len(rows) >= FEWEST else None

    @property
    def final(self) -> Way:
        """What the others stand in for."""
        return next(way for way in self.sizes.ways if way.is_final)


def tables(results: list[Result]) -> list[Table]:
    """All that can be said so far."""
    return [table for one in results for table in (_ways(one), _policies(one)) if table is not None]


def _ways(result: Result) -> Table | None:
    finals = result.scores(result.final)
    if finals is None:
        return None
    rows, blind, seeds = [], "", None
    for way in result.sizes.ways:
        scores = None if way.is_final else result.scores(way)
        if scores is None:
            continue
        said = agreement(scores, finals)
        blind, seeds = f"{100 * said.blind:.1f}", between_seeds_in_words(said)
        seconds = fmean(sum(one.cpu_seconds for one in some) for some in result.outcomes(way).values())
        rows.append((_in_words(way, result), *_figures(said), f"{seconds:.0f}"))
    seconds = fmean(fmean(one.cpu_seconds for one in some) for some in result.outcomes(result.final).values())
    trained = f"n = {finals.shape[1]} final trainings of each ({_in_words(result.final, result)})"
    return Table(
        f"{result.title}: what may stand in",
        ("way, folds", "Spearman ρ", "Kendall τ", "regret, points", "seconds"),
        rows,
        notes=f"{len(finals)} policies, {trained}, {seconds:.0f} s of a core each. "
        f"Choosing blindly loses {blind} points." + (f" {seeds}" if seeds else ""),
    )


def _in_words(way: Way, result: Result) -> str:
    folds = "" if way.is_final else f", {len(next(iter(result.outcomes(way).values())))} folds"
    share = "all" if way.share == 1 else f"{100 * way.share:.0f} %"
    return f"{way.name}: {way.model}, {way.side} px, {share} of the images × {way.epochs}{folds}"


def _figures(said: Agreement) -> tuple[str, str, str]:
    return _shown(said.spearman), _shown(said.kendall), _shown(said.regret, 100, 1)


def _shown(one: Estimate, factor: float = 1, digits: int = 2) -> str:
    value, low, high = (f"{factor * figure:.{digits}f}" for figure in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def _policies(result: Result) -> Table | None:
    finals = result.scores(result.final)
    if finals is None:
        return None
    ways = [way for way in result.sizes.ways if not way.is_final and result.scores(way) is not None]
    places = [ranks(scores.mean(axis=1)) for way in ways if (scores := result.scores(way)) is not None]
    order = np.argsort(-finals.mean(axis=1), kind="stable")
    names = list(result.outcomes(result.final))
    rows = [
        (names[row], _mean(finals[row]), *(f"{place[row]:g}" for place in places)) for row in order.tolist()
    ]
    headings = ("policy", f"{FINAL}, %", *(f"rank, {way.name}" for way in ways))
    notes = f"Mean ± sd of n = {finals.shape[1]} seeds, best first; ranks by the mean over folds."
    return Table(f"{result.title}: the policies", headings, rows, notes=notes)


def _mean(scores: np.ndarray) -> str:
    sd = f" ± {100 * stdev(scores.tolist()):.1f}" if len(scores) > 1 else ""
    return f"{100 * scores.mean():.1f}{sd}"
