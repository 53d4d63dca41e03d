"""What a person sees while a search runs: a live bar in a terminal, plain lines in a pipe or a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.trial import TrialState
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from augsearch.search.metrics import name_of, shown, shown_difference, shown_spread
from augsearch.search.race import Event, FoldDone, TrialDone, TrialStarted
from augsearch.search.statistics import Difference
from augsearch.search.studies import Entry
from augsearch.search.verdict import Verdict, called
from augsearch.search.wording import describe
from augsearch.trainers.folds import Metric

_PLAIN_WIDTH = 110


class Display:
    """Prints to a terminal or a log. The search knows nothing of it; ``run`` tells it what happens."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_PLAIN_WIDTH, file=self.console.file)

    def line(self, text: str) -> None:
        """One line of text."""
        self.console.print(escape(text), soft_wrap=True)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        """A progress bar with the time left, gone when it is done; nothing where no terminal is."""
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            yield Bar(progress, progress.add_task(what, total=total, completed=done, note=""))

    def summary(self, verdict: Verdict, entries: list[Entry]) -> None:
        """The table of baselines and finalists, and the verdict."""
        by_number = {entry.number: entry for entry in entries}
        metric = verdict.metric
        unit = "" if metric == "log-loss" else " %"
        table = Table(
            title=f"Confirmed on fresh folds and images the search had not scored: {name_of(metric)}",
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
                shown(metric, entry.score, unit=False),
                f"{shown(metric, row.mean, unit=False)} ± {shown_spread(metric, row.sd)}",
                str(len(row.scores)),
                f"{row.log_loss:.3f}",
                f"{row.ece:.3f}",
                style="bold" if chosen else None,
            )
        self.console.print(table)
        self.line(verdict.sentence)

        def lead(difference: Difference) -> str:
            return shown_difference(metric, difference.mean, difference.low, difference.high)

        if verdict.more_seeds is not None:
            folds = max(len(row.scores) for row in verdict.confirmed) + verdict.more_seeds
            self.line(f"The same command with --confirm-folds {folds} goes on from here.")
        if verdict.gain is not None:
            better = called(verdict.gain.better, begins=True)
            self.line(f"{better} over no augmentation: {lead(verdict.gain)}.")
        if (beside := verdict.unlabeled_gain) is not None:
            self.line(f"With unlabeled images over the labels alone ({beside.worse}): {lead(beside)}.")


class Bar:
    """A progress bar in use."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Move on, and say something beside the bar."""
        self._progress.advance(self._task, steps)
        if note is not None:
            self._progress.update(self._task, note=escape(note))

    def reach(self, done: int, total: int) -> None:
        """Set how much is done, of how much."""
        self._progress.update(self._task, completed=done, total=total)


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
        elif isinstance(event, TrialDone):
            self._end(event)

    def _end(self, event: TrialDone) -> None:
        what, folds = self._running.pop(event.number), self._done.pop(event.number)
        if event.state is TrialState.COMPLETE and event.score is not None:
            self._lead(event.baseline or f"trial {event.number}", event.baseline, event.score)
        score = "–" if event.score is None else shown(self._metric, event.score)
        ending = {
            TrialState.COMPLETE: "",
            TrialState.PRUNED: f"  stopped after {folds} of {self._folds} folds",
            TrialState.FAIL: f"  failed: {event.reason}",
        }[event.state]
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
                parts.append(f"{label} {shown(self._metric, score)} ({name})")
        return " · ".join(parts)
