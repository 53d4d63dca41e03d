"""What a search says while it runs, in a script and in a notebook."""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any

from rich.console import Console

from augsearch.search.console import Bar, Display

# In a notebook without widgets Optuna's tqdm asks for them when it is imported; nothing here shows its bars.
warnings.filterwarnings("ignore", message="IProgress not found")

PAUSE = 0.3
"""Seconds between two changes of a notebook's bar."""
_WIDTH = 110


def display_of(progress: bool | Display) -> Display:
    """Lines and a bar, where the program runs; with False nothing is said."""
    if isinstance(progress, Display):
        return progress
    if not progress:
        return Display(Console(file=io.StringIO(), highlight=False))
    return NotebookDisplay() if in_notebook() else Display()


def in_notebook() -> bool:
    """Whether there is a notebook that shows what a cell displays, and no terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookDisplay(Display):
    """Plain lines, and one bar that changes in its place: no widgets, so that no extension is needed."""

    def __init__(self) -> None:
        super().__init__()
        # As rich sees it, a notebook is no file: it would make each line an output of HTML.
        self.console = Console(highlight=False, force_jupyter=False, force_terminal=False, width=_WIDTH)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        """A bar in the cell's output, gone when it is done."""
        bar = _NotebookBar(what, total, done)
        try:
            yield bar
        finally:
            bar.end()


class _NotebookBar(Bar):
    def __init__(self, what: str, total: int, done: int) -> None:
        ipython: Any = import_module("IPython.display")
        self._html = ipython.HTML
        self._what, self._done, self._total, self._said = what, done, total, ""
        self._began, self._at_start, self._shown = time.monotonic(), done, time.monotonic()
        self._handle: Any = ipython.display(self._picture(), display_id=True)

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Move on, and say something beside the bar."""
        self._done += steps
        self._said = self._said if note is None else note
        self._show()

    def reach(self, done: int, total: int) -> None:
        """Set how much is done, of how much."""
        self._done, self._total = done, total
        self._show()

    def end(self) -> None:
        """Leave nothing of it."""
        self._handle.update(self._html(""))

    def _show(self) -> None:
        if time.monotonic() - self._shown >= PAUSE:
            self._shown = time.monotonic()
            self._handle.update(self._picture())

    def _picture(self) -> Any:
        moved, gone = self._done - self._at_start, time.monotonic() - self._began
        left = f" · about {gone / moved * (self._total - self._done):.0f} s left" if moved > 0 else ""
        said = f" · {escape(self._said)}" if self._said else ""
        return self._html(
            f"{escape(self._what)} <progress value='{self._done}' max='{self._total}'></progress> "
            f"{self._done}/{self._total}{left}{said}"
        )
