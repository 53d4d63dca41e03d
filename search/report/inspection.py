"""The page about a data set, before anything is trained on it; it looks as the report does."""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from augsearch.policies.bands import seen
from augsearch.policies.pictures import image_of
from augsearch.search.figures.figure import Figure
from augsearch.search.inputs.inspected import Facts, Sheet, most_and_least
from augsearch.search.report.charts import Names
from augsearch.search.report.page import environment_of_pages, in_utf8, style
from augsearch.search.report.svg import CANDIDATE, Chart, draw

MOST_BARS = 40
"""Classes that the chart has a bar for: the largest and the smallest."""


def page_of(facts: Facts, sheets: dict[str, Sheet], pixels: dict[int, NDArray[np.uint8]]) -> str:
    """The page.

    Args:
        facts: what was found, see ``inputs.inspected``.
        sheets: images to show, by what for.
        pixels: those images, (S, S, 1 or 3), by their number.
    """
    here = resources.files("augsearch.search.report")
    environment = environment_of_pages()
    environment.filters["picture"] = lambda row: _picture(pixels[row])
    template = environment.from_string((here / "inspection.html.jinja").read_text(encoding="utf-8"))
    page = template.render(
        facts=facts,
        sheets=sheets,
        has_picture=pixels.__contains__,
        summary=summed_up(facts),
        chart=_chart(facts),
        style=style(),
    )
    return in_utf8(page)


def summed_up(facts: Facts) -> list[tuple[str, str]]:
    """What was found, a name and words each."""
    counts = {part: sum(classes.values()) for part, classes in facts["counts"].items()}
    parts = ", ".join(f"{count:,} {part}" for part, count in counts.items() if count)
    rows = [
        ("images", f"{facts['images']:,} in {len(facts['classes']):,} classes"),
        ("parts", f"{parts}, {_given_in_words(facts)}"),
        ("sizes", _sizes_in_words(facts)),
        ("pixels", ", ".join(f"{mode} ({count:,})" for mode, count in facts["modes"].items()) or "not known"),
        ("unreadable", f"{facts['bad']['count']:,}" if facts["bad"]["count"] else "none"),
        ("copies", _repeats_in_words(facts["duplicates"])),
        ("near-duplicates", _repeats_in_words(facts["near"])),
        (
            "contradictions",
            f"{facts['conflicts']['count']:,} images" if facts["conflicts"]["count"] else "none",
        ),
        ("groups", _groups_in_words(facts)),
        (
            "image size",
            f"{facts['side']} px in the search; {facts['network'].removeprefix('final network: ')}",
        ),
    ]
    if facts["passes"]:
        rows.append(
            (
                "time",
                f"a search of the usual size is some {facts['passes'] / 1e6:,.1f} million image passes at "
                f"{facts['side']} px, whose time a run tells after its first folds; --budget 10m, or any "
                "other, fits it into the time that there is",
            )
        )
    return rows


def _given_in_words(facts: Facts) -> str:
    given = [name for name in facts["given"] if name not in ("not said", "unlabeled")]
    if facts["problem"] is not None:
        return "and a run can't divide them yet"
    return f"as a run would divide them{'; given are ' + ', '.join(given) if given else ''}"


def _sizes_in_words(facts: Facts) -> str:
    if facts["sides"] is None:
        return "not known"
    sizes = ", ".join(f"{width} × {height} ({count:,})" for width, height, count in facts["sizes"][:4])
    least, median, most = facts["sides"]["shorter"]
    if len(facts["sizes"]) == 1:
        return sizes
    return f"{sizes}; the shorter side is {least} to {most} px, as a median {median}"


def _repeats_in_words(found: list[dict[str, Any]]) -> str:
    """Those that are also in the part to train on, one by one; the others together."""
    across = {tuple(one["parts"]): one["count"] for one in found if len(one["parts"]) > 1}
    words = [f"{count:,} of {other} in {part}" for (part, other), count in across.items() if part == "train"]
    held = sum(count for (part, _), count in across.items() if part != "train")
    within = sum(one["count"] for one in found if len(one["parts"]) == 1)
    words += [f"{held:,} in two other parts"] if held else []
    words += [f"{within:,} within a part"] if within else []
    return ", ".join(words) or "none"


def _groups_in_words(facts: Facts) -> str:
    if facts["groups"] is not None:
        return f"{facts['groups']:,}, none of them in two parts"
    guess = facts["group_guess"]
    return (
        "none are given"
        if guess is None
        else f"none are given; {guess['expression']} finds {guess['groups']:,}"
    )


def _chart(facts: Facts) -> Chart | None:
    """Images by class; None where there is one class."""
    totals = {name: sum(part[name] for part in facts["counts"].values()) for name in facts["classes"]}
    names = most_and_least(totals, MOST_BARS)
    rows = Names(names)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(range(len(names)), [totals[name] for name in names], height=0.6, color=CANDIDATE)
        rows.write(axes)
        axes.set(ylim=(len(names) - 0.5, -0.5))
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", linewidth=0.8)

    words = "; ".join(f"{name} {totals[name]:,}" for name in names)
    return draw("classes", "Images by class", f"Images by class: {words}.", 40 + rows.height, paint)


def _picture(pixels: NDArray[np.uint8]) -> Markup:
    buffer = io.BytesIO()
    image_of(seen(pixels)).save(buffer, "JPEG", quality=88)
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}")
