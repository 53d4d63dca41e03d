"""A figure of what each round of labeling brought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from augsearch.search.figures.common import compact, save_figure, short
from augsearch.search.figures.figure import Figure
from augsearch.search.figures.labels import most_labeled
from augsearch.trainers.semi.labeler import Labeling

_LEARNED, _CHANGED = "#2563eb", "#d97706"


def label_rounds(labelings: Sequence[Labeling], classes: Sequence[str], path: Path) -> bool:
    """Draw what each round of labeling brought: images of each class, changed labels, and right ones.

    With more than ``CLASSES_SHOWN`` classes only those that have the most images in the end are shown.

    Args:
        labelings: all of the same images, in order.
        classes: the names of the K classes.
        path: the image file to write.

    Returns:
        False where fewer than two rounds leave nothing to compare; nothing is written then.
    """
    if len(labelings) < 2:
        return False
    shown = most_labeled(labelings[-1].by_class)
    columns = min(5, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(8, 3.5 + 1.15 * rows), layout="constrained")
    first, last = (len(labelings[end].chosen) for end in (0, -1))
    figure.suptitle(
        f"{len(labelings)} rounds of labels: {first:,} images learned from at first, {last:,} in the end"
    )
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.7, 0.4 + 1.15 * rows))[:, 0]
    _shares(upper.subplots(), labelings)
    most = (
        "" if len(shown) == len(classes) else f"; the {len(shown)} of {len(classes):,} classes with the most"
    )
    lower.suptitle(f"Images learned from, of each class, round by round{most}", size=10)
    grid = lower.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes, label in zip(grid.flat, shown.tolist(), strict=False):
        counts = [int(labeling.by_class[label]) for labeling in labelings]
        bars = axes.bar(range(len(counts)), counts, color=_LEARNED)
        # Of many bars only the last has room for its number.
        unsaid = 0 if len(counts) <= 4 else len(counts) - 1
        axes.bar_label(bars, [*unsaid * [""], *map(compact, counts[unsaid:])], size=7, padding=1)
        axes.set_title(short(classes[label], 20), size=8)
        _number_rounds(axes, labelings, 5)
        axes.tick_params(labelsize=7)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.margins(y=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return True


def _shares(axes: Axes, labelings: Sequence[Labeling]) -> None:
    """Lines of what is right and what changed; where it is not known they have no point."""
    for label, colour, marker, values in (
        ("right, of those learned from", _LEARNED, "o", [of.accuracy for of in labelings]),
        ("given another class than the round before", _CHANGED, "D", [of.changed for of in labelings]),
    ):
        shares = np.array([math.nan if value is None else 100 * value for value in values])
        if np.isnan(shares).all():
            continue
        axes.plot(shares, marker=marker, color=colour, label=label, clip_on=False, zorder=3)
        for place, share in enumerate(shares if len(shares) <= 10 else ()):
            # Towards the middle, where there is room.
            offset = (0, 11 if share < 50 else -11)
            if not math.isnan(share):
                axes.annotate(
                    f"{share:.1f}",
                    (place, share),
                    xytext=offset,
                    textcoords="offset points",
                    size=8,
                    color=colour,
                    ha="center",
                    va="center",
                )
    axes.set(xlim=(-0.5, len(labelings) - 0.5), ylim=(0, 100), xlabel="round", ylabel="images, %")
    _number_rounds(axes, labelings, 10)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=9)


def _number_rounds(axes: Axes, labelings: Sequence[Labeling], most: int) -> None:
    """Ticks for all rounds, or for ``most`` of them."""
    places = range(0, len(labelings), -(-len(labelings) // most))
    axes.set_xticks(places, [str(labelings[place].number) for place in places])
