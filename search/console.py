"""What a person sees while a search runs: a live bar in a terminal, plain lines in a pipe or a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

from augsearch.search.space.describe import describe
from augsearch.search.statistics.paired import Difference
from augsearch.search.statistics.verdict import Verdict, called
from augsearch.search.studies.study import Entry

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
                metric.shown(entry.score, unit=False),
                f"{metric.shown(row.mean, unit=False)} ± {metric.shown_spread(row.sd)}",
                str(len(row.scores)),
                f"{row.log_loss:.3f}",
                f"{row.ece:.3f}",
                style="bold" if chosen else None,
            )
        self.console.print(table)
        self.line(verdict.sentence)

        def lead(difference: Difference) -> str:
            return metric.shown_difference(difference.mean, difference.low, difference.high)

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
