"""The charts of a report."""

from __future__ import annotations

import statistics
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from optuna.trial import TrialState

from augsearch.search.figures.common import short
from augsearch.search.figures.figure import Figure
from augsearch.search.figures.search import best_so_far
from augsearch.search.report.facts import Facts, Row
from augsearch.search.report.svg import BASELINE, CANDIDATE, GOOD, GRID, INK, MUTED, SURFACE, Chart, draw
from augsearch.search.statistics.paired import Difference
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import Metric

ROW, TALL_ROW = 22, 30
"""Height of a row of a chart that lists entries: with names on one line, and on two."""
LINE = 24
"""Characters of a line of a name beside such a row."""
MOST_ROWS = 24
"""Trials that the race shows one by one."""


def charts_of(facts: Facts, margin: float | None) -> dict[str, Chart]:
    """Those that there is something to draw of, by name; ``margin``: the gain that hardly matters."""
    drawn = {}
    if facts.entries:
        drawn["race"] = race(facts.entries, facts.folds, facts.metric)
        drawn["history"] = history(facts.entries, facts.metric)
    if facts.importances:
        drawn["importances"] = importances(facts.importances)
    if facts.leads:
        drawn["leads"] = leads(facts.leads, facts.metric, margin)
    if confirmed := [row for row in facts.rows if row.results]:
        drawn["calibration"] = calibration(confirmed)
    return drawn


def shown_in_race(entries: Sequence[Entry]) -> list[Entry]:
    """All trials if they are few; else the baselines and the best, in the order of their numbers."""
    if len(entries) <= MOST_ROWS:
        return list(entries)
    best = sorted(entries, key=lambda entry: (entry.baseline is None, -len(entry.results), -entry.score))
    return sorted(best[:MOST_ROWS], key=lambda entry: entry.number)


def race(entries: Sequence[Entry], folds: int, metric: Metric) -> Chart:
    """A line a trial: the score of every fold it ran, their mean, and how many folds it came to run."""
    rows = shown_in_race(entries)
    names = Names([entry.name for entry in rows])
    scale = Scale(metric, [result.score for entry in rows for result in entry.results])

    def paint(figure: Figure) -> None:
        scores, run = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
        names.write(scores)
        scores.set(xlim=scale.limits, ylim=(len(rows) - 0.5, -0.5))
        scores.set_title(scale.title, loc="left", fontsize=12, color=MUTED)
        scores.xaxis.set_major_formatter(scale.tick)
        scores.locator_params(axis="x", nbins=5)
        scores.grid(axis="x", linewidth=0.8)
        baselines = [entry for entry in rows if entry.baseline]
        if baselines:
            best = max(baselines, key=lambda entry: entry.standing)
            scores.axvline(scale.value(best.score), color=BASELINE, linewidth=1, linestyle=(0, (3, 3)))
        for row, entry in enumerate(rows):
            look = _look(entry)
            values = [scale.value(result.score) for result in entry.results]
            scores.plot(values, [row] * len(values), "o", color=look.colour, markersize=4, alpha=0.45, mew=0)
            scores.plot([scale.value(entry.score)], [row], markersize=8, **look.style, clip_on=False)
            run.barh([row] * folds, [1] * folds, left=range(folds), height=0.5, color=GRID)
            done = len(entry.results)
            run.barh([row] * done, [1] * done, left=range(done), height=0.5, color=look.colour)
        for fold in range(1, folds):
            run.axvline(fold, color=SURFACE, linewidth=2 if folds <= 10 else 1)
        run.set_title("folds", loc="left", fontsize=12, color=MUTED)
        run.set(xlim=(0, folds), xticks=[])
        run.spines["bottom"].set_visible(False)

    words = _race_in_words(entries, metric)
    return draw("race", "The race, trial by trial", words, 54 + names.height, paint, scale.note)


def _race_in_words(entries: Sequence[Entry], metric: Metric) -> str:
    stopped = [entry for entry in entries if entry.state is TrialState.PRUNED]
    best = sorted(entries, key=lambda entry: entry.standing, reverse=True)[:3]
    words = f"{len(entries)} trials. Of those with most folds the best are " + ", ".join(
        f"{entry.name} with {metric.shown(entry.score)}" for entry in best
    )
    if len(stopped) <= MOST_ROWS:
        those = ", ".join(f"{entry.name} after {_folds(len(entry.results))}" for entry in stopped)
    else:
        counts = Counter(len(entry.results) for entry in stopped)
        those = ", ".join(f"{counts[folds]} after {_folds(folds)}" for folds in sorted(counts))
    return f"{words}. Stopped early: {those or 'none'}."


def history(entries: Sequence[Entry], metric: Metric) -> Chart:
    """Every trial's mean score in order, and the best so far."""
    best = best_so_far(entries)
    scale = Scale(metric, [entry.score for entry in entries])
    size = 6 if len(entries) <= 60 else 4

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        numbers = [*(number for number, _ in best), entries[-1].number]
        line = [scale.value(leader.score) for _, leader in best]
        if line:
            axes.step(numbers, [*line, line[-1]], where="post", color=MUTED, linewidth=1.5)
        for look, group in _by_look(entries).items():
            values = [scale.value(entry.score) for entry in group]
            axes.plot([entry.number for entry in group], values, markersize=size, **look.style, clip_on=False)
        axes.set(xlabel="trial", ylim=scale.limits)
        axes.set_title(scale.title, loc="left", fontsize=12, color=MUTED)
        axes.yaxis.set_major_formatter(scale.tick)
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.locator_params(axis="x", integer=True, nbins=8)
        axes.grid(axis="y", linewidth=0.8)

    leaders = {leader.number: leader for _, leader in best}
    words = "; then ".join(f"{e.name} with {metric.shown(e.score)}" for e in leaders.values())
    words = f"In the lead: {words or 'nobody yet'}."
    return draw("history", "The best so far, trial by trial", words, 240, paint, scale.note)


def importances(shares: Mapping[str, float]) -> Chart:
    """How much each choice mattered, the most important on top."""
    names = Names([name.replace("_", " ") for name in shares])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        bars = axes.barh(
            range(len(shares)), [100 * share for share in shares.values()], color=CANDIDATE, height=0.6
        )
        axes.bar_label(bars, [f"{100 * share:.0f} %" for share in shares.values()], padding=4, color=MUTED)
        names.write(axes)
        axes.set(ylim=(len(shares) - 0.5, -0.5), xlim=(0, 118 * max(shares.values())), xticks=[])
        axes.spines["bottom"].set_visible(False)

    words = ", ".join(
        f"{name} {100 * share:.0f} %" for name, share in zip(names.whole, shares.values(), strict=True)
    )
    title = "Which choices mattered"
    return draw("importances", title, f"Shares of importance: {words}.", 14 + names.height, paint)


def leads(differences: Sequence[Difference], metric: Metric, margin: float | None) -> Chart:
    """The best candidate's lead over every baseline, with its interval; the band is what hardly matters."""
    factor, unit = metric.factor, metric.unit
    better = differences[0].better
    names = Names([one.worse for one in differences])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if margin is not None:
            axes.axvspan(-factor * margin, factor * margin, color=GRID, alpha=0.5, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1)
        for row, one in enumerate(differences):
            colour = GOOD if one.low > 0 else CANDIDATE
            axes.plot([factor * one.low, factor * one.high], [row, row], color=colour, linewidth=3)
            axes.plot([factor * one.mean], [row], "o", color=colour, markersize=9, mew=0)
        names.write(axes)
        axes.set(ylim=(len(differences) - 0.5, -0.5), xlabel=f"← worse · {unit} · better →")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", linewidth=0.8)

    words = "; ".join(
        f"over {one.worse} {metric.shown_difference(one.mean, one.low, one.high)}" for one in differences
    )
    title = f"The lead of {better} over each baseline"
    return draw("leads", title, f"{better}: {words}.", 58 + names.height, paint)


def calibration(rows: Sequence[Row]) -> Chart:
    """A line an entry: log-loss and ECE of every fold, small, and their means; less is better."""
    figures = {"log_loss": "log-loss", "ece": "ECE"}
    names = Names([row.entry.name for row in rows])

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(figures), sharey=True)
        for axes, (field, label) in zip(panels, figures.items(), strict=True):
            for place, row in enumerate(rows):
                look = _whole(row.entry)  # how far it came in the search is no matter here
                values = [getattr(result, field) for result in row.results]
                axes.plot(
                    values, [place] * len(values), "o", color=look.colour, markersize=4, alpha=0.45, mew=0
                )
                axes.plot([statistics.fmean(values)], [place], markersize=8, **look.style)
            axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=label)
            names.write(axes)
            axes.locator_params(axis="x", nbins=3)
            axes.grid(axis="x", linewidth=0.8)

    words = " ".join(
        f"Mean {label}: {', '.join(f'{row.entry.name} {row.average(field):.3f}' for row in rows)}."
        for field, label in figures.items()
    )
    return draw("calibration", "How far their confidence can be trusted", words, 62 + names.height, paint)


class Names:
    """What the rows of a chart are called, each on at most two lines."""

    def __init__(self, whole: Sequence[str]) -> None:
        self.whole = whole
        self.lines = [_on_two_lines(name) for name in whole]

    @property
    def height(self) -> int:
        """Of all the rows."""
        return len(self.lines) * (TALL_ROW if any("\n" in name for name in self.lines) else ROW)

    def write(self, axes: Axes) -> None:
        """Beside the rows, the first on top."""
        axes.set_yticks(range(len(self.lines)), self.lines, linespacing=1.05)
        for label in axes.get_yticklabels():
            if "\n" in label.get_text():
                label.set_fontsize(10)


def _on_two_lines(name: str) -> str:
    first, *rest = textwrap.wrap(name, LINE) or [name]
    return "\n".join(short(line, LINE) for line in (first, " ".join(rest)) if line)


def _folds(count: int) -> str:
    return f"{count} fold{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class _Look:
    """How an entry is marked, so that no one needs its colour to know what it is."""

    colour: str
    marker: str

    @property
    def style(self) -> dict[str, Any]:
        """For Matplotlib's ``plot``."""
        edge = 2 if self.marker == "x" else 0
        return {"color": self.colour, "marker": self.marker, "markeredgewidth": edge, "linestyle": "none"}


def _whole(entry: Entry) -> _Look:
    return _Look(BASELINE, "D") if entry.baseline else _Look(CANDIDATE, "o")


def _look(entry: Entry) -> _Look:
    whole = _whole(entry)
    return replace(whole, marker="x") if entry.state is TrialState.PRUNED else whole


def _by_look(entries: Sequence[Entry]) -> dict[_Look, list[Entry]]:
    groups: dict[_Look, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_look(entry), []).append(entry)
    return groups


class Scale:
    """Scores on an axis: better is right or up, whatever the metric; what is hopeless stands at its edge."""

    def __init__(self, metric: Metric, scores: Sequence[float]) -> None:
        self._metric, self._factor = metric, metric.factor
        top, middle, bottom = max(scores), statistics.median(scores), min(scores)
        # One candidate that learned nothing would press all the others together.
        spread = 4 * (top - middle)
        self._floor = max(bottom, top - spread - 1e-9) if spread > 1e-9 else bottom
        edge = 0.04 * (top - self._floor) or 0.01
        self.limits = self._factor * (self._floor - edge), self._factor * (top + edge)
        self.title = metric.title
        self.note = "Marks at the edge of the axis are worse than it shows." if bottom < self._floor else ""

    def value(self, score: float) -> float:
        """Where ``score`` is on the axis."""
        return self._factor * max(score, self._floor)

    def tick(self, value: float, _: float) -> str:
        """What is written at ``value``: of log-loss the score is the negative."""
        return f"{self._metric.direction * value:g}"
