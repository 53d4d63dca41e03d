"""Matplotlib's figures as SVG that is part of a page: its colours, its font, words for those who can't see.

A chart is as wide as a phone, and grows somewhat on a wider screen, so that its text stays readable on both.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup

from augsearch.policies import UserError
from augsearch.policies.atomic import write_text
from augsearch.search.figures.figure import Figure

WIDTH = 380
"""The width of a chart, in units that are CSS pixels on a small phone."""
_POINTS = 72
"""Units to an inch, as Matplotlib writes SVG."""

INK, MUTED, GRID, SURFACE = "#a10001", "#a10002", "#a10003", "#a10004"
CANDIDATE, BASELINE, GOOD = "#a10005", "#a10006", "#a10007"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    SURFACE: "surface",
    CANDIDATE: "candidate",
    BASELINE: "baseline",
    GOOD: "good",
}
"""The stylesheet's variables, by the colours that stand for them while Matplotlib draws."""

_LIGHT = {
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d5dbe1",
    "surface": "#ffffff",
    "candidate": "#1a5fcc",
    "baseline": "#a84a00",
    "good": "#187534",
}
"""What the stylesheet gives those variables on a light page."""
_ALONE = 640
"""The most pixels that a chart takes which stands by itself."""

_REFERENCE = re.compile(r'(url\(#|href="#)([\w.]+)')

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with dollar signs is a name
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # to measure by; wider than what a browser is likely to take
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "grid.color": GRID,
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn figure."""

    title: str
    words: str
    """What it shows, with the figures, in sentences."""
    svg: Markup
    note: str = ""
    """What a reader must know who sees it."""

    @property
    def alone(self) -> str:
        """The SVG as a file of its own, or in a notebook: in the report's light colours, on white."""
        drawn = str(self.svg)
        for variable, colour in _LIGHT.items():
            drawn = drawn.replace(f"var(--{variable})", colour)
        style = f"background:{_LIGHT['surface']};max-width:{_ALONE}px;font-family:system-ui,sans-serif"
        return drawn.replace('<svg class="chart"', f'<svg class="chart" style="{style}"', 1)

    def save(self, path: str | Path) -> Path:
        """Write it as an ``.svg`` file; returns the path.

        Raises:
            UserError: it can't be written there.
        """
        where = Path(path)
        if where.suffix.lower() != ".svg":
            raise UserError(f"{path}: a chart is written as .svg; give such a name")
        try:
            write_text(where, self.alone)
        except OSError as error:
            raise UserError(f"{path}: can't be written ({error.strerror}); give another path") from None
        return where

    def __repr__(self) -> str:
        return f"<{self.title}: {self.words}>"

    def _repr_html_(self) -> str:
        note = f"<p><small>{self.note}</small></p>" if self.note else ""
        return f"<div><b>{self.title}</b></div>{self.alone}{note}"


def draw(
    key: str, title: str, words: str, height: float, paint: Callable[[Figure], None], note: str = ""
) -> Chart:
    """A chart of ``height`` units that ``paint`` draws; ``key`` tells it from the page's other charts."""
    style: Any = {**_STYLE, "svg.hashsalt": key}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH / _POINTS, height / _POINTS), layout="constrained")
        paint(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    head = Markup(
        '<svg class="chart" viewBox="0 0 {width} {height:g}" role="img"'
        ' aria-labelledby="{key}-title {key}-words"'
        ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        '<title id="{key}-title">{title}</title><desc id="{key}-words">{words}</desc>'
    ).format(width=WIDTH, height=height, key=key, title=title, words=words)
    return Chart(title, words, head + Markup(_body(buffer.getvalue(), key)), note)


def _body(svg: str, key: str) -> str:
    """What is inside Matplotlib's ``<svg>``, and its end, made to live in a page with others like it."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    # Older and newer releases of Matplotlib write fonts differently.
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    # Every figure has a figure_1; what nothing refers to needs no name. Matplotlib before 3.10 makes some of
    # places in memory: the same chart drawn again would be another.
    used = {name for _, name in _REFERENCE.findall(body)}
    names: dict[str, str] = {}

    def renamed(found: re.Match[str]) -> str:
        if found[1] not in used:
            return ""
        return f' id="{names.setdefault(found[1], f"{key}-{len(names)}")}"'

    body = re.sub(r' id="([\w.]+)"', renamed, body)
    body = _REFERENCE.sub(lambda found: f"{found[1]}{names.get(found[2], found[2])}", body)
    return re.sub(r"\s*\n\s*", " ", body)
