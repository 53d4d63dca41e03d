"""The charts of what is found out after a run: which part earned it, and whether to believe the stand-in."""

from __future__ import annotations

from statistics import fmean

from augsearch.search.figures import ablation as removals
from augsearch.search.figures import proxy_check as scatter
from augsearch.search.figures.figure import Figure
from augsearch.search.report.charts import ROW
from augsearch.search.report.facts import Facts
from augsearch.search.report.svg import BASELINE, CANDIDATE, GOOD, INK, MUTED, Chart, draw
from augsearch.search.studies.ablation import Ablation
from augsearch.search.studies.proxy_check import ProxyCheck
from augsearch.trainers.evaluation.metrics import METRICS, Metric


def further_charts(facts: Facts) -> dict[str, Chart]:
    """Those that there is something to draw of, by name."""
    drawn = {}
    if facts.ablation is not None:
        drawn["ablation"] = _ablation(facts.ablation, facts.metric)
    if facts.proxy_check is not None:
        drawn["proxy"] = _proxy(facts.proxy_check)
    return drawn


def _ablation(ablation: Ablation, metric: Metric) -> Chart:
    colours = removals.Colours(earns=GOOD, harms=BASELINE, open=MUTED, zero=INK)

    def paint_it(figure: Figure) -> None:
        axes = figure.subplots()
        removals.paint(axes, ablation, metric, colours, longest=19)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x", linewidth=0.8)

    words = "; ".join(
        f"without {one.part.name} {metric.shown_difference(one.cost.mean, one.cost.low, one.cost.high)}"
        for one in ablation.removals
    )
    title = f"What removing each part of {ablation.entry.name} costs"
    return draw("ablation", title, f"{title}: {words}.", 58 + ROW * len(ablation.removals), paint_it)


def _proxy(check: ProxyCheck) -> Chart:
    metric = METRICS[check.metric]

    def paint_it(figure: Figure) -> None:
        axes = figure.subplots()
        colours = scatter.Colours(candidate=CANDIDATE, baseline=BASELINE, text=INK, bars=MUTED)
        scatter.paint(axes, check, colours)
        axes.set(xlabel=f"short trainings: {metric.title}")
        axes.set_title(f"final models: {metric.title}", loc="left", fontsize=12, color=MUTED)
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.grid(linewidth=0.8)

    words = "; ".join(
        f"{number} {one.name} {metric.shown(fmean(one.proxy))} and {metric.shown(fmean(one.final))}"
        for number, one in enumerate(check.candidates, start=1)
    )
    title = "Candidates by their short trainings and by their final models"
    return draw("proxy", title, f"{title}: {words}.", 330, paint_it)
