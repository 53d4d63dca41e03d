"""A sheet of the labels that a model gave to images, for a person to check.

What is shown is chosen by functions of their own, so that it can be checked without the picture.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from augsearch.policies.bands import seen
from augsearch.policies.pictures import image_of
from augsearch.search.figures.common import CLASSES_SHOWN, Images, save_figure, short, show_image
from augsearch.search.figures.figure import Figure
from augsearch.trainers.semi.labeler import rightly_labeled

Rows = NDArray[np.int64]

PICTURES = 12
"""How many images of a class are shown at most."""
_LEARNED, _WRONG, _QUIET, _RULE = "#2563eb", "#b91c1c", "#64748b", "#cbd5e1"
_FADED = 0.5

# Inches.
_MARGIN, _NAMES, _SIDE, _GAP, _LINE = 0.15, 2.5, 0.78, 0.12, 0.135
_NARROWEST = 9
"""Pictures that a row has room for at least, so that the words above them have it too."""


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """The labels that a model gave to N images, in K classes."""

    labels: Rows
    """(N,), each in 0..K-1, or -1 where the image could not be read."""
    confidence: NDArray[np.float32]
    """(N,), the probability of the label, 0 to 1."""
    chosen: Rows
    """(M,), the images that are learned from."""
    classes: Sequence[str]
    """The names of the K classes."""
    truth: Rows | None = None
    """(N,), the true labels, -1 where they are not known."""

    @property
    def learned(self) -> NDArray[np.bool_]:
        """(N,): which images are learned from."""
        learned = np.zeros(len(self.labels), bool)
        learned[self.chosen] = True
        return learned


@dataclass(frozen=True, slots=True)
class Summary:
    """How many images were labeled, and how well."""

    labeled: int
    learned_from: int
    right: float | None
    """The share of the labeled whose label is true, 0 to 1; None: no true label is known."""
    right_learned: float | None
    """The same of those learned from."""


def summary(labels: Rows, chosen: Rows, truth: Rows | None = None, label: int | None = None) -> Summary:
    """Count all labeled images, or those that were given ``label``.

    Args:
        labels: (N,), each in 0..K-1, or -1 where the image could not be read.
        chosen: (M,), the images that are learned from.
        truth: (N,), the true labels, -1 where they are not known.
        label: in 0..K-1.
    """
    meant = labels >= 0 if label is None else labels == label
    rows, learned = np.flatnonzero(meant), chosen[meant[chosen]]
    return Summary(
        len(rows),
        len(learned),
        rightly_labeled(labels[rows], truth, rows),
        rightly_labeled(labels[learned], truth, learned),
    )


def ranked(labels: Rows, confidence: NDArray[np.float32], label: int, count: int = PICTURES) -> Rows:
    """Up to ``count`` of the images that were given ``label``, the surest first, the least sure last.

    Their ranks among all images of the class are evenly spaced, so that the row is a fair sample of it; of
    equally sure ones the first image comes first.
    """
    rows = np.flatnonzero(labels == label)
    # Stable: as ``select`` orders them, so that a cap of the class cuts this row once.
    rows = rows[np.argsort(-confidence[rows], kind="stable")]
    places = min(count, len(rows))
    return rows[np.arange(places) * (len(rows) - 1) // max(places - 1, 1)]


def most_labeled(counts: Rows, count: int = CLASSES_SHOWN) -> Rows:
    """The classes to show: all in order, if they are ``count`` at most; else those with most images first.

    Args:
        counts: (K,), the images of each class.
        count: at least 1.
    """
    if len(counts) <= count:
        return np.arange(len(counts))
    return np.argsort(-counts, kind="stable")[:count]


def pseudo_labels(
    images: Images, pseudo: PseudoLabels, path: Path, *, threshold: float | None = None, title: str = ""
) -> None:
    """Draw the images that each class was given, from the surest to the least sure.

    Those that are learned from are framed, the others faded; with more than ``CLASSES_SHOWN`` classes only
    those with the most images are shown.

    Args:
        images: the N images, see ``Images``.
        pseudo: their labels.
        path: the image file to write.
        threshold: the confidence from which an image is learned from, 0 to 1, to be said.
        title: of the figure.
    """
    rows = _rows(pseudo)
    columns = max(_NARROWEST, *(len(row.pictures) for row in rows))
    width = 2 * _MARGIN + _NAMES + columns * (_SIDE + _GAP)
    head = [(title or "What the unlabeled images were taken for", 14)]
    head += [(line, 10) for line in said(pseudo, threshold)]
    head = [(line, size) for text, size in head for line in _folded(text, width - 2 * _MARGIN, size)]
    heading = _MARGIN + sum(_line(size) for _, size in head) + 0.55
    height = heading + sum(row.height for row in rows) + _MARGIN

    # One pair of axes, in inches from the upper left corner: two hundred of them would take a minute.
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    top = _MARGIN
    for number, (line, size) in enumerate(head):
        weight = "normal" if number else "bold"
        axes.text(_MARGIN, top, line, size=size, weight=weight, va="top")
        top += _line(size)
    if any(row.pictures for row in rows):
        order = "In each row from the surest to the least sure, evenly spread over all images of the class"
        axes.text(_MARGIN, top, order, size=9, color=_QUIET, va="top")
        _legend(axes, top + 0.24, marks=any(picture.mark for row in rows for picture in row.pictures))
    top = heading
    for row in rows:
        _draw(axes, row, top, width, images)
        top += row.height
    save_figure(figure, path)


def said(pseudo: PseudoLabels, threshold: float | None = None) -> Iterator[str]:
    """Lines on all images together; ``threshold``: see ``pseudo_labels``."""
    labels, classes, truth = pseudo.labels, pseudo.classes, pseudo.truth
    total, unreadable = summary(labels, pseudo.chosen, truth), int((labels < 0).sum())
    plural = "" if total.labeled == 1 else "s"
    line = f"{total.labeled:,} image{plural} labeled, {total.learned_from:,} learned from"
    if threshold is not None:
        line += f" (threshold {100 * threshold:g} %)"
    if unreadable:
        line += f"; {unreadable:,} could not be read"
    yield line
    if total.right is not None and truth is not None:
        line = f"Right: {_percent(total.right)} of all"
        if total.right_learned is not None:
            line += f", {_percent(total.right_learned)} of those learned from"
        known = int((truth[labels >= 0] >= 0).sum())
        if known < total.labeled:
            line += f" (where the true class is known: of {known:,} images)"
        yield line
    if len(classes) > CLASSES_SHOWN:
        empty = len(classes) - len(np.unique(labels[labels >= 0]))
        line = f"The {CLASSES_SHOWN} of {len(classes):,} classes with the most images"
        yield f"{line}; {empty:,} have none" if empty else line


@dataclass(frozen=True, slots=True)
class _Picture:
    index: int
    confidence: float
    learned: bool
    mark: str
    """Whether the label is right; empty where that is not known."""
    correction: list[str]
    """The true class, where the label is wrong: lines as wide as a picture."""


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    summary: Summary
    pictures: list[_Picture]

    @property
    def height(self) -> float:
        """In inches, with the rule above and the space below."""
        if not self.pictures:
            return 0.55
        lines = 1 + max(len(picture.correction) for picture in self.pictures)
        return 0.1 + _SIDE + 0.08 + lines * _LINE + 0.1

    def said(self) -> list[str]:
        """What stands below the name."""
        of = self.summary
        if not of.labeled:
            return ["none"]
        lines = [f"{of.labeled:,} labeled, {of.learned_from:,} learned from"]
        if of.right_learned is not None:
            lines.append(f"{_percent(of.right_learned)} right of those")
        if of.right is not None and of.labeled > of.learned_from:
            lines.append(f"{_percent(of.right)} right of all")
        return lines


def _rows(pseudo: PseudoLabels) -> list[_Row]:
    labels, confidence, classes, truth = pseudo.labels, pseudo.confidence, pseudo.classes, pseudo.truth
    learned = pseudo.learned

    def picture(index: int) -> _Picture:
        true = -1 if truth is None else int(truth[index])
        right = true == labels[index]
        mark = "" if true < 0 else "✓" if right else "✗"
        correction = _corrected(classes[true]) if mark == "✗" else []
        return _Picture(index, float(confidence[index]), bool(learned[index]), mark, correction)

    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    return [
        _Row(
            classes[label],
            summary(labels, pseudo.chosen, truth, label),
            [picture(index) for index in ranked(labels, confidence, label).tolist()],
        )
        for label in most_labeled(counts).tolist()
    ]


def _draw(axes: Axes, row: _Row, top: float, width: float, images: Images) -> None:
    """One class, from ``top`` down."""
    axes.plot([_MARGIN, width - _MARGIN], [top, top], color=_RULE, linewidth=0.8)
    top += 0.1
    axes.text(_MARGIN, top, short(row.name, 22), size=11, weight="bold", va="top")
    axes.text(_MARGIN, top + 0.21, "\n".join(row.said()), size=8, va="top", linespacing=1.35)
    below = top + _SIDE + 0.08
    for place, picture in enumerate(row.pictures):
        left = _MARGIN + _NAMES + place * (_SIDE + _GAP)
        middle = left + _SIDE / 2
        _draw_picture(axes, picture, left, top, images)
        sure = _percent(picture.confidence) + (" ✓" if picture.mark == "✓" else "")
        ink = "black" if picture.learned else _QUIET
        axes.text(middle, below, sure, size=7.5, color=ink, ha="center", va="top")
        for number, line in enumerate(picture.correction, 1):
            y = below + number * _LINE
            axes.text(middle, y, line, size=7, color=_WRONG, weight="bold", ha="center", va="top")


def _draw_picture(axes: Axes, picture: _Picture, x: float, y: float, images: Images) -> None:
    """In a square of ``_SIDE`` at (x, y), as wide or as high as that."""
    pixels = seen(show_image(images, picture.index))
    drawn = image_of(pixels)
    # Of two hundred large photos Matplotlib would hold every pixel, as floats.
    drawn.thumbnail((200, 200))
    height, width = (_SIDE * side / max(pixels.shape[:2]) for side in pixels.shape[:2])
    x, y = x + (_SIDE - width) / 2, y + (_SIDE - height) / 2
    axes.imshow(
        np.asarray(drawn),
        cmap="gray",
        vmin=0,
        vmax=255,
        alpha=None if picture.learned else _FADED,
        extent=(x, x + width, y + height, y),
        aspect="auto",
    )
    if picture.learned:
        # Apart from the picture, which may have the frame's colour at its edge.
        corner, sides = (x - 0.035, y - 0.035), (width + 0.07, height + 0.07)
        axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=_LEARNED, linewidth=1.6))


def _legend(axes: Axes, top: float, *, marks: bool) -> None:
    handles: list[Patch | Line2D] = [
        Patch(facecolor="#475569", edgecolor=_LEARNED, linewidth=1.6, label="framed: learned from"),
        Patch(facecolor=_RULE, label="faded, without a frame: not learned from"),
    ]
    if marks:
        for sign, colour, meaning in (("✓", _QUIET, "right"), ("✗", _WRONG, "wrong, and what it is")):
            cross = Line2D([], [], color=colour, marker=f"${sign}$", markersize=7, linestyle="none")
            cross.set_label(meaning)
            handles.append(cross)
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(_MARGIN, top),
        bbox_transform=axes.transData,
        ncols=len(handles),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.2,
        handleheight=1.1,
        fontsize=9,
    )


def _percent(share: float) -> str:
    """Rounded down: what is just below a threshold, or below 100 %, looks so."""
    # float32(0.95) is a little less than 0.95.
    tenths = math.floor(1000 * share + 1e-3)
    return "100 %" if tenths >= 1000 else f"{tenths / 10:.1f} %"


def _corrected(name: str) -> list[str]:
    """A mark and ``name``, in one or two lines as wide as a picture."""
    lines = textwrap.wrap(name, 11) or [""]
    if len(lines) > 2:
        lines = [lines[0], " ".join(lines[1:])]
    return [short(line, 13) for line in (f"✗ {lines[0]}", *lines[1:])]


def _line(size: float) -> float:
    """Inches from a line of text to the next."""
    return size / 72 * 1.4


def _folded(text: str, inches: float, size: float) -> list[str]:
    # A letter is on average 0.6 as wide as high.
    return textwrap.wrap(text, int(inches / (0.6 * size / 72))) or [""]
