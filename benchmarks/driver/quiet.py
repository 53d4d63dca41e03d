"""A display on which nothing is shown."""

from __future__ import annotations

from augsearch.search.console import Display


class Quiet(Display):
    """Says nothing."""

    def line(self, text: str) -> None:
        """Nothing."""
