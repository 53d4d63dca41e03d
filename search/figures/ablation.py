"""What removing each part of a candidate costs, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from augsearch.search.figures.common import save_figure, short
from augsearch.search.figures.figure import Figure
from augsearch.search.studies.ablation import Ablation
from augsearch.trainers.evaluation.metrics import Metric


@dataclass(frozen=True, slots=True)
class Colours:
    """What is drawn in which colour."""

    earns: str = "#15803d"
    """What clearly helps."""
    harms: str = "#c2410c"
    """What the candidate would clearly be better without."""
    open: str = "#64748b"
    """What may be luck."""
    zero: str = "#1e293b"


def paint(axes: Axes, ablation: Ablation, metric: Metric, colours: Colours, longest: int = 34) -> None:
    """Draw a line a part into ``axes``: its interval and its mean; names have at most ``longest`` letters."""
    axes.axvline(0, color=colours.zero, linewidth=1)
    for row, one in enumerate(ablation.removals):
        cost, factor = one.cost, metric.factor
        colour = colours.earns if cost.low > 0 else colours.harms if cost.high < 0 else colours.open
        axes.plot([factor * cost.low, factor * cost.high], [row, row], color=colour, linewidth=2.5)
        axes.plot([factor * cost.mean], [row], "o", color=colour, markersize=7, mew=0)
    names = [short(one.part.name, longest) for one in ablation.removals]
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=f"← better without · {metric.unit} · worse without →")
    axes.locator_params(axis="x", nbins=6)


def draw_ablation(ablation: Ablation, metric: Metric, path: Path) -> None:
    """Write the picture."""
    rows = len(ablation.removals)
    figure = Figure(figsize=(8, 1.3 + 0.32 * rows), layout="constrained")
    axes = figure.subplots()
    paint(axes, ablation, metric, Colours())
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(
        f"What removing each part of {short(ablation.entry.name, 30)} costs: {metric.label}, "
        f"95 % intervals over {ablation.folds} folds",
        loc="left",
        fontsize=10,
    )
    save_figure(figure, path)
