"""From replays to shares, regrets and intervals, to tables, and to a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap

from benchmarks.tables import Table

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.search.plans import Task

NEAR = 0.002
"""A pick is as good as another that is at most so much better: 0.2 points."""
ROUNDING = 1e-9

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """All replays on one recorded table."""

    name: str
    known: dict[Task, Result]
    surrogates: dict[str, dict[str, float]]
    """How good each surrogate is, and the best there is in it."""

    def where(self, **fields: Any) -> dict[int, Result]:
        """The results of the tasks with these fields, by seed."""
        return {
            task.seed: result
            for task, result in self.known.items()
            if all(getattr(task, name) == value for name, value in fields.items())
        }


def race_figures(measured: Measured) -> list[dict[str, Any]]:
    """What each pruner saved and missed, for each number of candidates."""
    found = []
    kinds = dict.fromkeys(
        (task.count, task.way, task.slots) for task in measured.known if task.part == "race"
    )
    for count, way, slots in kinds:
        if way == "none":
            continue
        whole = measured.where(part="race", count=count, way="none")
        pruned = measured.where(part="race", count=count, way=way, slots=slots)
        shares = np.array([pruned[seed]["images"] / whole[seed]["images"] for seed in pruned])
        near = {
            pick: np.array([_is_near(pruned[seed][pick], whole[seed][pick]) for seed in pruned])
            for pick in ("best", "found")
        }
        found.append(
            {
                "candidates": count,
                "pruner": way,
                "workers": slots,
                "replays": len(pruned),
                "images": float(shares.mean()),
                "images of the 95th percentile": float(np.quantile(shares, 0.95)),
                "same": float(np.mean([pruned[seed]["best"] == whole[seed]["best"] for seed in pruned])),
                **{pick: share_of(hits) for pick, hits in near.items()},
                "half and near": share_of((shares <= 0.5) & near["best"]),
                "found none": float(np.mean([pruned[seed]["found"] is None for seed in pruned])),
            }
        )
    return found


def _is_near(pick: float | None, other: float) -> bool:
    return pick is not None and other - pick <= NEAR + ROUNDING


def share_of(hits: NDArray[np.bool_]) -> tuple[float, float, float]:
    """The share that is true, and its interval (Wilson, 95 %)."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(hits.mean()), float(interval.low), float(interval.high)


def mean_of(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and its interval (bootstrap over replays, 95 %)."""
    if len(set(values)) == 1:
        return (values[0],) * 3
    resampled = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    interval = resampled.confidence_interval
    return float(np.mean(values)), float(interval.low), float(interval.high)


def best_of(measured: Measured, truth: str) -> float:
    """The best in a surrogate: what was looked for, or what some search found."""
    values = [
        value
        for result in measured.where(part="search", truth=truth).values()
        for _, *picks in result["path"]
        for value in picks
        if value is not None
    ]
    return float(max(measured.surrogates[truth]["best"], *values))


Pick = Callable[[list[Any]], float]
"""The value of what is picked at a state of a path."""


def with_baselines(state: list[Any]) -> float:
    """The value of the best of all."""
    return float(state[1])


def without_baselines(state: list[Any]) -> float:
    """The value of the best candidate that is no baseline; where none ran all its folds, a baseline's."""
    return float(state[1] if state[2] is None else state[2])


def after(path: list[list[Any]], images: float) -> list[Any]:
    """The first state at which so many images were used: no search has less than it."""
    return next((state for state in path if state[0] >= images - 0.5), path[-1])


def search_figures(measured: Measured, marks: Sequence[int]) -> list[dict[str, Any]]:
    """How far each search's picks are from the best in each surrogate.

    Measured after ``marks`` trials of the default search, and with as many images.
    """
    found = []
    kinds = dict.fromkeys((task.truth, task.way) for task in measured.known if task.part == "search")
    for truth, way in [*kinds, *((truth, LONGER) for truth in dict.fromkeys(truth for truth, _ in kinds))]:
        best = best_of(measured, truth)
        default = measured.where(part="search", truth=truth, way="tpe")
        other = measured.where(part="search", truth=truth, way=way)
        if way == LONGER:  # it is known without a search, whatever the images
            value = measured.surrogates[truth]["best baseline, longer"]
            other = {seed: {"path": [[math.inf, value, None]]} for seed in default}
        for mark in marks:
            pairs = [(default[seed]["path"], other[seed]["path"]) for seed in other]
            if min(len(path) for path, _ in pairs) < mark:
                continue
            images = [path[mark - 1][0] for path, _ in pairs]
            if any(path[-1][0] < needed - 0.5 for (_, path), needed in zip(pairs, images, strict=True)):
                continue
            one: dict[str, Any] = {
                "surrogate": truth,
                "search": way,
                "trials of the default": mark,
                "replays": len(pairs),
                "images": float(np.mean(images)),
            }
            for name, pick in (("best", with_baselines), ("found", without_baselines)):
                ours = [pick(path[mark - 1]) for path, _ in pairs]
                theirs = [pick(after(path, needed)) for (_, path), needed in zip(pairs, images, strict=True)]
                more = [mine - its for mine, its in zip(ours, theirs, strict=True)]
                one[f"regret, {name}"] = mean_of([best - its for its in theirs])
                one[f"default's lead, {name}"] = mean_of(more)
                one[f"default better, equal, {name}"] = (
                    float(np.mean([gain > ROUNDING for gain in more])),
                    float(np.mean([abs(gain) <= ROUNDING for gain in more])),
                )
            found.append(one)
    return found


LONGER = "longer"
"""The best baseline, trained for twice as many passes."""

NAMES = {
    LONGER: "the best baseline, twice the passes",
    "wilcoxon": "**ours** (`wilcoxon`)",
    "median": "`median`",
    "hyperband": "`hyperband`",
    "tpe": "**default** (neighbours, then `tpe`)",
    "random": "random",
    "random alone": "random, no baselines",
    "both": "mean of both",
    "process": "Gaussian process",
    "trees": "boosted trees",
}


def race_table(name: str, figures: Sequence[dict[str, Any]]) -> Table:
    """What racing saves."""
    rows = [
        (
            NAMES.get(one["pruner"], one["pruner"]) + _of_workers(one["workers"]),
            str(one["candidates"]),
            f"{one['replays']:,}",
            f"{100 * one['images']:.1f}",
            f"{100 * one['images of the 95th percentile']:.0f}",
            f"{100 * one['same']:.1f}",
            _percent(one["best"]),
            _percent(one["found"]),
        )
        for one in figures
    ]
    headings = ("pruner", "candidates", "replays", "images, %", "95 % below", "same, %", "as good, %")
    return Table(
        f"Racing on {name}",
        (*headings, "as good without baselines, %"),
        rows,
        notes="*Images* that the race used, of those without pruning: the mean, and what 95 % of the replays "
        "stayed below. *Same*: it picked what no pruning picks. *As good*: that, or one at most "
        f"{100 * NEAR:g} points below it, over all folds; with Wilson's interval. *Without baselines*: the "
        "best of the other candidates only; where none of them ran all its folds, because a baseline was "
        "clearly better, it counts as a miss.",
    )


def _of_workers(count: int) -> str:
    return "" if count == 1 else f", {count} workers"


def search_table(name: str, figures: Sequence[dict[str, Any]]) -> Table:
    """How far from the best."""
    rows = [
        (
            NAMES[one["search"]],
            NAMES[one["surrogate"]],
            str(one["trials of the default"]),
            f"{one['replays']:,}",
            f"{one['images'] / 1000:,.0f}",
            _points(one["regret, best"]),
            "" if one["search"] == "tpe" else _points(one["default's lead, best"], sign=True),
            _points(one["regret, found"]),
            "" if one["search"] == "tpe" else _points(one["default's lead, found"], sign=True),
        )
        for one in figures
    ]
    headings = ("search", "surrogate", "trials", "replays", "1,000 images", "regret", "default's lead")
    return Table(
        f"Proposing on {name}",
        (*headings, "regret without baselines", "default's lead"),
        rows,
        words=2,
        notes="In points of accuracy, the mean over replays with its bootstrap interval. *Trials* of the "
        "default search; the others go on, in the same replay, until they have used as many images, and end "
        "the trial that they are at. *Regret*: how much less the pick is worth in the surrogate than the "
        "best there is. *The best baseline, twice the passes*: of all baselines the one that is best in the "
        "surrogate with what training for twice as long brought it when it was recorded.",
    )


def surrogate_table(measured: Sequence[Measured]) -> Table:
    """How far the surrogates are to be believed."""
    rows = [
        (
            one.name,
            NAMES[truth],
            f"{figures['rank correlation']:.2f}",
            f"{figures['explained']:.2f}",
            f"{100 * figures['best baseline']:.1f}",
            f"{100 * figures['best recorded']:.1f}",
            f"{100 * best_of(one, truth):.1f}",
        )
        for one in measured
        for truth, figures in one.surrogates.items()
    ]
    headings = ("data", "surrogate", "rank correlation", "R²", "best baseline, %", "best recorded, %")
    return Table(
        "The surrogates",
        (*headings, "best there is, %"),
        rows,
        words=2,
        notes="*Rank correlation* (Spearman) and *R²*: of what is predicted for candidates that were held "
        "out, in 16 parts, with what they scored. *Best baseline* and *best there is* are the surrogate's.",
    )


def _percent(share: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in share)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _points(mean: tuple[float, float, float], *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    value, low, high = (100 * one for one in mean)
    return f"{value:{plus}.2f} [{low:{plus}.2f}, {high:{plus}.2f}]".replace("-", "−")


def draw(measured: Sequence[Measured], path: Path) -> None:
    """Mean regret of each search by the images it used."""
    figure = Figure(figsize=(4.6 * len(measured), 3.8), layout="constrained")
    for axes, one in zip(np.atleast_1d(figure.subplots(1, len(measured))), measured, strict=True):
        best = best_of(one, "both")
        for way, colour in COLOURS.items():
            paths = [result["path"] for result in one.where(part="search", truth="both", way=way).values()]
            if not paths:
                continue
            first, last = max(path[0][0] for path in paths), min(path[-1][0] for path in paths)
            images = np.linspace(first, last, 60)
            regret = [
                100 * np.mean([best - with_baselines(after(path, needed)) for path in paths])
                for needed in images
            ]
            axes.plot(images / 1000, regret, color=colour, label=NAMES[way].replace("*", "").replace("`", ""))
        axes.set(
            title=one.name, xlabel="1,000 images trained on", ylabel="mean regret, points", ylim=(0, None)
        )
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path)


COLOURS = {
    "tpe": "#2563eb",
    "random": "#d97706",
    "random alone": "#94a3b8",
}
