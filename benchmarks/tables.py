"""A table that can be printed and written to Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rich.table


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the first ``words`` columns are words, the others numbers."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1
    notes: str = ""

    def markdown(self) -> str:
        """A heading, the table and its notes."""
        rule = ["---"] * self.words + ["---:"] * (len(self.headings) - self.words)
        lines = ["| " + " | ".join(row) + " |" for row in (self.headings, tuple(rule), *self.rows)]
        return "\n".join((f"## {self.title}", "", *lines, *(("", self.notes) if self.notes else ())))

    def printable(self) -> rich.table.Table:
        """The same for a terminal."""
        table = rich.table.Table(title=self.title, caption=self.notes.replace("**", ""), title_justify="left")
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if index < self.words else "right")
        for row in self.rows:
            table.add_row(*(cell.replace("**", "") for cell in row))
        return table


def rounded(rate: float) -> str:
    """A rate with three digits that mean something: ``12,300``."""
    digits = max(0, len(str(int(rate))) - 3)
    return f"{round(rate, -digits):,.0f}" if rate >= 100 else f"{rate:.3g}"
