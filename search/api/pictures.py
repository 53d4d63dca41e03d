"""How a result looks where HTML is shown: its verdict, and the table behind it."""

from __future__ import annotations

from html import escape

from augsearch.search.report.facts import Facts
from augsearch.search.report.sentences import compared, headline

_CELL = "text-align:left;padding:2px 12px 2px 0"


def result_in_html(facts: Facts) -> str:
    """The verdict, how much and how sure, and a line for each policy that was compared."""
    said = headline(facts)
    lines = "".join(f"<p>{escape(line)}</p>" for line in (*said.how_much, *said.how_sure))
    return (
        f"<div><p><b>{escape(said.badge)}</b> <small>study {escape(facts.study)}</small></p>"
        f"<p><b>{escape(said.sentence)}</b></p>{lines}{_table(facts)}</div>"
    )


def _table(facts: Facts) -> str:
    if not facts.rows:
        return ""
    columns, rows = compared(facts, "▶")
    head = "".join(f"<th style='{_CELL}'>{escape(title)}</th>" for title in columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='{_CELL}'>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
