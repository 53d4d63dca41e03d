"""``augsearch inspect``: what a data set is like, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from augsearch.policies.atomic import write_text
from augsearch.policies.errors import writing
from augsearch.search.console import Display, page_written, print_json
from augsearch.search.inputs.inspected import Facts, facts_of, most_and_least
from augsearch.search.report.inspection import page_of, summed_up
from augsearch.search.settings.data import DataSettings
from augsearch.trainers.data.inspection import inspect

MOST_CLASSES = 20
"""Classes that the table in a terminal has a line for: the largest and the smallest."""
PICTURE = 96
"""Pixels of an image on a sheet."""


def inspect_data(settings: DataSettings, output: Path | None, *, as_json: bool, display: Display) -> None:
    """Look at all images of ``settings``' source; print what was found, or write it as a page.

    Raises:
        UserError: the source is bad, or the page can't be written.
    """
    with display.bar("looking at images", total=1) as bar:
        found = inspect(settings.source, settings.form, bar.reach)
    facts, sheets = facts_of(found, settings)
    if output is not None:
        wanted = sorted({one.row for sheet in sheets.values() for group in sheet for one in group})
        page = page_of(facts, sheets, found.shown(wanted, PICTURE) if wanted else {})
        with writing(output):
            write_text(output, page)
    if as_json:
        print_json(facts)
        return
    _print(facts, display)
    if output is not None:
        display.result(page_written(output))


def _print(facts: Facts, display: Display) -> None:
    """The facts as tables, then what to heed, then the command."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in summed_up(facts):
        table.add_row(name, escape(words))
    display.table(table)
    display.table(_classes(facts))
    for line in (*facts["notes"], *facts["advice"]):
        display.result(f"- {line}")
    display.result(f"next:\n  {facts['command']}")


def _classes(facts: Facts) -> Table:
    parts = list(facts["counts"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold")
    for part in (*parts, "all"):
        table.add_column(part, justify="right")
    totals = {name: sum(facts["counts"][part][name] for part in parts) for name in facts["classes"]}
    for number, name in enumerate(most_and_least(totals, MOST_CLASSES)):
        counts = [*(facts["counts"][part][name] for part in parts), totals[name]]
        if len(totals) > MOST_CLASSES and number == MOST_CLASSES // 2:
            table.add_row(f"… {len(totals) - MOST_CLASSES:,} more", *("" for _ in counts))
        table.add_row(escape(name), *(f"{count:,}" for count in counts))
    return table
