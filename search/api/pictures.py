"""How a result looks where HTML is shown: its verdict, and the table behind it."""

from __future__ import annotations

from html import escape

from augsearch.search.report.facts import Facts, Row
from augsearch.search.report.sentences import headline, lead_in_words, score_in_words
from augsearch.search.space.describe import describe

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
    titles = ("", "policy", f"confirmed {facts.metric.label}", "over the best baseline", "what it does")
    head = "".join(f"<th style='{_CELL}'>{escape(title)}</th>" for title in titles)
    rows = "".join(_row(facts, row) for row in facts.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(facts: Facts, row: Row) -> str:
    cells = (
        "▶" if row.recommended else "",
        row.entry.name,
        score_in_words(facts.metric, row.mean, row.sd),
        "–" if row.lead is None else lead_in_words(facts.metric, row.lead),
        describe(row.entry.candidate),
    )
    return "<tr>" + "".join(f"<td style='{_CELL}'>{escape(cell)}</td>" for cell in cells) + "</tr>"
