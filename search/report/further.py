"""The charts of what is found out after a run: which part earned it, and whether to believe the stand-in."""

from __future__ import annotations

from matplotlib.figure import Figure

from augsearch.search.figures.ablation import Colours, paint
from augsearch.search.report.charts import ROW
from augsearch.search.report.facts import Facts
from augsearch.search.report.svg import BASELINE, GOOD, INK, MUTED, Chart, draw
from augsearch.search.studies.ablation import Ablation
from augsearch.trainers.evaluation.metrics import Metric


def further_charts(facts: Facts) -> dict[str, Chart]:
    """Those that there is something to draw of, by name."""
    drawn = {}
    if facts.ablation is not None:
        drawn["ablation"] = _ablation(facts.ablation, facts.metric)
    return drawn


def _ablation(ablation: Ablation, metric: Metric) -> Chart:
    colours = Colours(earns=GOOD, harms=BASELINE, open=MUTED, zero=INK)

    def paint_it(figure: Figure) -> None:
        axes = figure.subplots()
        paint(axes, ablation, metric, colours, longest=19)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="x", linewidth=0.8)

    words = "; ".join(
        f"without {one.part.name} {metric.shown_difference(one.cost.mean, one.cost.low, one.cost.high)}"
        for one in ablation.removals
    )
    title = f"What removing each part of {ablation.entry.name} costs"
    return draw("ablation", title, f"{title}: {words}.", 58 + ROW * len(ablation.removals), paint_it)
