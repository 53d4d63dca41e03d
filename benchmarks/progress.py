"""How far a benchmark is, for a person who waits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console

Progress = Callable[[str], None]
"""Takes a line that says how far it is."""


@contextlib.contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """A line that changes on a terminal, lines below each other elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
    else:
        yield lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)
