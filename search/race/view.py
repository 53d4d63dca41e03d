"""What a person sees of a race while it runs."""

from __future__ import annotations

from optuna.trial import TrialState
from rich.markup import escape
from rich.table import Table

from augsearch.search.console import Bar, Display
from augsearch.search.race.race import Event, FoldDone, TrialDone, TrialStarted
from augsearch.search.settings.durations import duration_flag
from augsearch.search.space.describe import describe
from augsearch.search.statistics.paired import Difference
from augsearch.search.statistics.verdict import Verdict, called, parts_in_words
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import Metric


class RaceView:
    """Follows a race: a line for every trial that ends, and beside the bar who leads."""

    def __init__(self, display: Display, bar: Bar, folds: int, metric: Metric, entries: list[Entry]) -> None:
        self._display, self._bar, self._folds, self._metric = display, bar, folds, metric
        self._running: dict[int, str] = {}
        self._done: dict[int, int] = {}
        self._best: dict[bool, tuple[float, str]] = {}
        for entry in entries:
            if entry.state is TrialState.COMPLETE:
                self._lead(entry.name, entry.baseline, entry.score)

    def show(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, TrialStarted):
            self._running[event.number] = event.baseline or describe(event.candidate)
            self._done[event.number] = event.folds_done
            self._bar.advance(0, self._note())
        elif isinstance(event, FoldDone):
            self._done[event.number] += 1
            self._bar.advance(1)
            score, seconds = self._metric.shown(event.result.score), event.result.seconds
            self._display.detail(f"trial {event.number:3d}  {score:>7s}  fold {event.fold}, {seconds:.1f} s")
        elif isinstance(event, TrialDone):
            self._end(event)

    def _end(self, event: TrialDone) -> None:
        what, folds = self._running.pop(event.number), self._done.pop(event.number)
        if event.state is TrialState.COMPLETE and event.score is not None:
            self._lead(event.baseline or f"trial {event.number}", event.baseline, event.score)
        score = "–" if event.score is None else self._metric.shown(event.score)
        ending = {
            TrialState.COMPLETE: "",
            TrialState.PRUNED: f"  stopped after {folds} of {self._folds} folds",
            TrialState.FAIL: f"  failed: {event.reason}",
        }[event.state]
        if event.same_as is not None:
            ending = f"  the same as trial {event.same_as}, not trained again"
            folds = 0
        self._display.line(f"trial {event.number:3d}  {score:>7s}  {what}{ending}")
        self._bar.advance(self._folds - folds, self._note())

    def _lead(self, name: str, baseline: str | None, score: float) -> None:
        is_baseline = baseline is not None
        if is_baseline not in self._best or score > self._best[is_baseline][0]:
            self._best[is_baseline] = (score, name)

    def _note(self) -> str:
        parts = [f"{len(self._running)} running"]
        for is_baseline, label in ((False, "best"), (True, "baseline")):
            if is_baseline in self._best:
                score, name = self._best[is_baseline]
                parts.append(f"{label} {self._metric.shown(score)} ({name})")
        return " · ".join(parts)


def show_verdict(
    display: Display, verdict: Verdict, entries: list[Entry], budget: float | None = None
) -> None:
    """The table of baselines and finalists, and the verdict.

    ``budget``: seconds; the command that goes on must name it.
    """
    by_number = {entry.number: entry for entry in entries}
    metric = verdict.metric
    unit = metric.suffix
    table = Table(
        title=f"Confirmed on fresh folds and images the search had not scored: {metric.label}",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("policy")
    for column in (f"search{unit}", f"confirmed{unit}", "folds", "log-loss", "ECE"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in verdict.confirmed:
        entry = by_number[row.number]
        chosen = row.number == verdict.recommended
        what = "" if entry.baseline else f": {describe(entry.candidate)}"
        table.add_row(
            "→" if chosen else "",
            escape(f"{row.name}{what}"),
            _in_search(entry, metric),
            f"{metric.shown(row.mean, unit=False)} ± {metric.shown_spread(row.sd)}",
            str(len(row.scores)),
            f"{row.log_loss:.3f}",
            f"{row.ece:.3f}",
            style="bold" if chosen else None,
        )
    display.table(table)
    display.result(verdict.sentence)
    parts = parts_in_words(metric, verdict.parts)
    for line in (parts, *verdict.notes, verdict.budget):
        if line is not None:
            display.result(line)

    def lead(difference: Difference) -> str:
        return metric.shown_difference(difference.mean, difference.low, difference.high)

    if verdict.more_seeds is not None:
        folds = max(len(row.scores) for row in verdict.confirmed) + verdict.more_seeds
        within = f"--budget {duration_flag(budget)} " if budget is not None else ""
        display.result(f"The same command with {within}--confirm-folds {folds} goes on from here.")
    if verdict.gain is not None:
        better = called(verdict.gain.better, begins=True)
        display.result(f"{better} over no augmentation: {lead(verdict.gain)}.")
    if (beside := verdict.unlabeled_gain) is not None:
        display.result(f"With unlabeled images over the labels alone ({beside.worse}): {lead(beside)}.")


def _in_search(entry: Entry, metric: Metric) -> str:
    """What it scored in the search, unless on other folds than those that ran all."""
    if not entry.results:
        return "–"
    return "stopped" if entry.state is TrialState.PRUNED else metric.shown(entry.score, unit=False)
