"""Charts as SVG: the same drawing is the same text, whichever release of Matplotlib draws it."""

from __future__ import annotations

import re

from matplotlib.figure import Figure
from matplotlib.patches import Circle

from augsearch.search.report.svg import draw


def paint(figure: Figure) -> None:
    axes = figure.subplots()
    (line,) = axes.plot([1, 3, 2], marker="o", label="#figure_1")
    # Not a rectangle: releases before 3.10 name it by its place in memory.
    line.set_clip_path(Circle((1, 2), 1, transform=axes.transData))
    axes.legend()


def test_a_chart_drawn_again_is_the_same_text() -> None:
    assert draw("one", "One", "words", 200, paint).svg == draw("one", "One", "words", 200, paint).svg


def test_names_inside_a_chart_follow_from_its_key_and_lead_somewhere() -> None:
    svg = str(draw("one", "One", "words", 200, paint).svg)
    names = re.findall(r' id="([^"]*)"', svg)
    assert set(names) - {"one-title", "one-words"} == {f"one-{n}" for n in range(len(names) - 2)}
    led_to = re.findall(r'(?:url\(#|href="#)([^)"]*)', svg)
    assert set(led_to) == {name for name in names if name[4:].isdigit()}
    assert len(led_to) >= 2
    assert ">#figure_1<" in svg
