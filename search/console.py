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

_PLAIN_WIDTH = 110


class Display:
    """Prints to a terminal or a log. The search knows nothing of it; ``run`` tells it what happens."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_PLAIN_WIDTH, file=self.console.file)

    def line(self, text: str) -> None:
        """One line of text."""
        self.console.print(escape(self._printable(text)), soft_wrap=True)

    def table(self, drawn: Table) -> None:
        """A table."""
        with self.console.capture() as captured:
            self.console.print(drawn)
        self.console.out(self._printable(captured.get()), highlight=False, end="")

    def _printable(self, text: str) -> str:
        """``text`` with what the output can't show by its number: printing must never lose work.

        Names of files may be of any bytes, and a log or an old terminal may know few letters.
        """
        encoding = getattr(self.console.file, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

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
