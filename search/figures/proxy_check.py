"""Candidates by their short trainings and by their final models, as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes

from augsearch.search.figures.common import save_figure, short
from augsearch.search.figures.figure import Figure
from augsearch.search.studies.proxy_check import Checked, ProxyCheck, spread_of
from augsearch.trainers.evaluation.metrics import METRICS, Metric


@dataclass(frozen=True, slots=True)
class Colours:
    """What is drawn in which colour."""

    candidate: str = "#2563eb"
    baseline: str = "#d97706"
    text: str = "#1e293b"
    bars: str = "#94a3b8"


def paint(axes: Axes, check: ProxyCheck, colours: Colours) -> None:
    """Draw each candidate at its two mean scores, with their standard errors, and its number beside it.

    Better is up and right, whatever the metric.
    """
    metric = METRICS[check.metric]
    for number, one in enumerate(check.candidates, start=1):
        x, y = (metric.factor * fmean(scores) for scores in (one.proxy, one.final))
        axes.errorbar(
            [x],
            [y],
            xerr=_error(one.proxy, metric),
            yerr=_error(one.final, metric),
            fmt="D" if one.baseline else "o",
            color=colours.baseline if one.baseline else colours.candidate,
            ecolor=colours.bars,
            elinewidth=1,
            markersize=6,
        )
        axes.annotate(str(number), (x, y), xytext=(5, 4), textcoords="offset points", color=colours.text)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{metric.direction * value:g}")
    axes.locator_params(nbins=6)


def _error(scores: tuple[float, ...], metric: Metric) -> float | None:
    sd = spread_of(scores)
    return None if sd is None else metric.factor * sd / math.sqrt(len(scores))


def draw_check(check: ProxyCheck, path: Path) -> None:
    """Write the picture, with a list of the candidates beside it."""
    metric, colours = METRICS[check.metric], Colours()
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes, names = figure.subplots(1, 2, width_ratios=(3, 1.7))
    paint(axes, check, colours)
    axes.set(xlabel=f"short trainings: {metric.title}", ylabel=f"final models: {metric.title}")
    axes.grid(alpha=0.3)
    rho = check.agreement.spearman
    folds, seeds = len(check.candidates[0].proxy), len(check.candidates[0].final)
    axes.set_title(
        f"Spearman {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]; bars: standard errors over "
        f"{folds} fold{'s' * (folds > 1)}, {seeds} seed{'s' * (seeds > 1)}",
        loc="left",
        fontsize=10,
    )
    names.axis("off")
    step = 1 / max(12, len(check.candidates) + 1)
    for number, one in enumerate(check.candidates, start=1):
        colour = colours.baseline if one.baseline else colours.candidate
        names.text(0, 1 - number * step, str(number), color=colour, fontsize=9, weight="bold")
        names.text(0.1, 1 - number * step, _called(one), color=colours.text, fontsize=9)
    save_figure(figure, path)


def _called(one: Checked) -> str:
    return short(one.name, 34)
