"""What a person sees while a search runs: a live bar in a terminal, plain lines in a pipe or a log.

And what a program reads instead: one JSON document.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.filesize import decimal
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


Amount = Literal["quiet", "usual", "verbose"]
"""How much is said: results alone; what is done and heeded too; every step of it."""


class Display:
    """Prints to a terminal or a log. The search knows nothing of it; ``run`` tells it what happens."""

    def __init__(
        self, console: Console | None = None, amount: Amount = "usual", *, results: bool = True
    ) -> None:
        """``results``: whether tables and other results are shown; not where they are written as JSON."""
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_PLAIN_WIDTH, file=self.console.file)
        self._amount, self._results = amount, results

    def line(self, text: str) -> None:
        """One line of text on what is done, or is to be heeded."""
        if self._amount != "quiet":
            self._print(text)

    def detail(self, text: str) -> None:
        """One line of text for who wants to see every step."""
        if self._amount == "verbose":
            self._print(text)

    def result(self, text: str) -> None:
        """A line, or some, of what was asked for."""
        if self._results:
            self._print(text)

    def table(self, drawn: Table) -> None:
        """A table, which is a result."""
        if not self._results:
            return
        with self.console.capture() as captured:
            self.console.print(drawn)
        self.console.out(self._printable(captured.get()), highlight=False, end="")

    def _print(self, text: str) -> None:
        self.console.print(escape(self._printable(text)), soft_wrap=True)

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
            disable=not self.console.is_terminal or self._amount == "quiet",
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


def how_often(count: int) -> str:
    """``once``, ``3 times``."""
    return "once" if count == 1 else f"{count} times"


def page_written(page: Path) -> str:
    """The line that says where a page is."""
    return f"{page}: {decimal(page.stat().st_size)}, open it in a browser"


def print_json(document: Any) -> None:
    """Write ``document`` to stdout as JSON, in any encoding; a float that is no number is null."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    # Elsewhere what can't be shown would be written in Python's way, which is no JSON.
    plain = not encoding.replace("-", "").startswith("utf")
    print(json.dumps(_finite(document), indent=2, ensure_ascii=plain, allow_nan=False))


def _finite(value: Any) -> Any:
    """``value`` with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(one) for one in value]
    return value
