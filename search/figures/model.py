"""Figures of what a model has learned and where it errs, drawn with Matplotlib.

What each of them shows is chosen by a function of its own, so that it can be checked without the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from numpy.typing import NDArray

from augsearch.search.figures.common import (
    CLASSES_SHOWN,
    Images,
    compact,
    save_figure,
    short,
    show_grid,
    show_image,
)
from augsearch.search.figures.figure import Figure
from augsearch.trainers.evaluation.metrics import Logits, calibration_bins, log_probabilities

_ACCURACY, _CONFIDENCE, _LINE = "#2563eb", "#d97706", "#64748b"
_COLUMNS = 6
_SOFTENED, _LIKELIEST = 6, 6


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str], path: Path
) -> None:
    """The confusion matrix: for each class, what its images were taken for.

    With more than ``CLASSES_SHOWN`` classes only the most confused are shown, and a column for all others.

    Args:
        labels: (N,), each in 0..K-1.
        predicted: (N,), each in 0..K-1.
        classes: the names of the K classes.
        path: the image file to write.
    """
    shown = most_confused(labels, predicted, len(classes))
    counts = confusion_counts(labels, predicted, shown)
    whole = len(shown) == len(classes)
    if whole:
        counts = counts[:, :-1]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [short(classes[index], 22) for index in shown]

    figure = Figure(figsize=(8, 3.2 + 0.26 * len(shown)), layout="constrained")
    axes = figure.subplots()
    # A root, because in proportion one image in twenty would look like none.
    shade = PowerNorm(0.5, vmin=0, vmax=1)
    picture = axes.imshow(shares, cmap="Blues", norm=shade, aspect="auto")
    size = 8 if len(shown) > 10 else 10
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shade(shares[row, column]) > 0.6 else "black" if count else "#94a3b8"
        axes.text(column, row, compact(int(count)), color=ink, size=size - 1, ha="center", va="center")
    axes.set_xticks(
        range(counts.shape[1]),
        names if whole else [*names, "any other"],
        size=size,
        rotation=0 if max(map(len, names)) * len(names) < 60 else 90,
    )
    axes.set_yticks(range(len(names)), names, size=size)
    axes.set(xlabel="what the model said", ylabel="what it is")
    wrong = int((labels != predicted).sum())
    which = "" if whole else f"\nThe {len(shown)} most confused of {len(classes):,} classes"
    if not whole and not wrong:
        which = f"\nThe first {len(shown)} of {len(classes):,} classes; none was confused"
    axes.set_title(f"What was taken for what: {wrong:,} of {len(labels):,} images wrong{which}")
    bar = figure.colorbar(
        picture,
        ax=axes,
        aspect=35,
        pad=0.02,
        ticks=[0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1],
        format=lambda share, _: f"{100 * share:.0f} %",
    )
    bar.set_label("share of the row's class")
    save_figure(figure, path)


def most_confused(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, count: int = CLASSES_SHOWN
) -> NDArray[np.int64]:
    """The classes to show in a confusion matrix: all in order, if they are ``count`` at most.

    Else up to ``count`` of those that were confused, pair by pair, the pair with the most mistakes (either
    way) first; and the first ``count`` classes where no mistake was made.
    """
    if classes <= count:
        return np.arange(classes)
    wrong = labels != predicted
    low, high = np.minimum(labels, predicted)[wrong], np.maximum(labels, predicted)[wrong]
    pairs, mistakes = np.unique(low * classes + high, return_counts=True)
    shown: dict[int, None] = {}
    for pair in pairs[np.argsort(-mistakes, kind="stable")].tolist():
        both = dict.fromkeys(divmod(pair, classes))
        # Half a pair would show nothing.
        if len(shown | both) <= count:
            shown |= both
    return np.array(list(shown) or range(count))


def confusion_counts(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], shown: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(S, S + 1): images of class ``shown[i]`` taken for ``shown[j]``; in the last column, for any other."""
    size = len(shown)
    place = np.full(max(labels.max(initial=0), predicted.max(initial=0), shown.max()) + 1, size)
    place[shown] = np.arange(size)
    row, column = place[labels], place[predicted]
    return np.bincount(row * (size + 1) + column, minlength=(size + 1) ** 2).reshape(size + 1, -1)[:size]


def reliability(logits: Logits, labels: NDArray[np.int64], path: Path) -> None:
    """The reliability diagram: how often the model is right, for how sure it is, in 15 bins.

    Args:
        logits: (N, K), N at least 1.
        labels: (N,), each in 0..K-1.
        path: the image file to write.

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    bins = calibration_bins(logits, labels)
    shares = bins.counts / bins.counts.sum()
    confidence, accuracy = (float(np.nansum(shares * mean)) for mean in (bins.confidence, bins.accuracy))
    edges = np.linspace(0, 100, len(shares) + 1)
    middles, width = (edges[1:] + edges[:-1]) / 2, 0.92 * edges[1]

    figure = Figure(figsize=(8, 7.2), layout="constrained")
    figure.suptitle("How sure the model is, and how often it is right")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    right = upper.bar(middles, 100 * bins.accuracy, width, color=_ACCURACY, label="how often it was right")
    sureness = 100 * bins.confidence
    upper.vlines(sureness, 100 * bins.accuracy, sureness, color=_CONFIDENCE, linewidth=3)
    (sure,) = upper.plot(
        sureness,
        sureness,
        "D",
        color=_CONFIDENCE,
        markeredgecolor="white",
        markersize=8,
        label="how sure it was on average, and the gap",
        clip_on=False,
        zorder=3,
    )
    (ideal,) = upper.plot([0, 100], [0, 100], "--", color=_LINE, label="as sure as right: no gap")
    upper.set(xlim=(0, 100), ylim=(0, 103), ylabel="accuracy, %")
    upper.set_title(
        f"mean confidence {100 * confidence:.1f} %, accuracy {100 * accuracy:.1f} %: "
        f"{_verdict(confidence - accuracy)}; calibration error (ECE) {bins.ece:.3f}",
        size=10,
    )
    upper.legend(handles=[right, sure, ideal], loc="upper left")
    upper.grid(alpha=0.3)
    upper.set_axisbelow(True)
    bars = lower.bar(middles, bins.counts, width, color=_LINE)
    lower.bar_label(bars, [compact(count) if count else "" for count in bins.counts.tolist()], size=8)
    lower.set(
        ylim=(0, 1.25 * bins.counts.max()), xlabel="confidence: probability of the answer, %", ylabel="images"
    )
    save_figure(figure, path)


def _verdict(gap: float) -> str:
    points = f"{100 * abs(gap):.1f}"
    if points == "0.0":
        return "on the whole as sure as right"
    return f"too {'sure' if gap > 0 else 'timid'} by {points} points"


def worst_mistakes(
    images: Images,
    labels: NDArray[np.int64],
    logits: Logits,
    classes: Sequence[str],
    path: Path,
    count: int = 24,
) -> None:
    """The wrongly classified images of which the model was surest: what it said, and what they are.

    Args:
        images: the N images, see ``Images``.
        labels: (N,), each in 0..K-1.
        logits: (N, K).
        classes: the names of the K classes.
        path: the image file to write.
        count: mistakes to show, if there are so many.

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    chosen = surest_mistakes(logits, labels, count)
    wrong, total = int((logits.argmax(axis=1) != labels).sum()), len(labels)
    if not wrong:
        figure = Figure(figsize=(8, 2))
        figure.text(0.5, 0.5, f"No mistakes on {total:,} images", size=16, ha="center", va="center")
        save_figure(figure, path)
        return
    rows = -(-len(chosen) // _COLUMNS)
    figure = Figure(figsize=(8, 0.6 + 1.8 * rows), layout="constrained")
    if wrong > len(chosen):
        which = f"The {len(chosen)} surest of {wrong:,} mistakes"
    else:
        which = f"All {wrong} mistakes" if wrong > 1 else "The only mistake"
    figure.suptitle(f"{which} on {total:,} images")
    confidence = np.exp(log_probabilities(logits[chosen]).max(axis=1))
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, index, sure in zip(grid, chosen.tolist(), confidence, strict=False):
        said, true = (short(classes[label], 15) for label in (logits[index].argmax(), labels[index]))
        show_grid(axes, show_image(images, index))
        axes.set_xlabel(f"said {said}\nis {true}\n{100 * sure:.0f} % sure", size=8)
    save_figure(figure, path)


def surest_mistakes(logits: Logits, labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of up to ``count`` wrongly classified images, the one of highest confidence first."""
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    confidence = log_probabilities(logits).max(axis=1)[wrong]
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


def softened(
    images: Images,
    labels: NDArray[np.int64],
    logits: Logits,
    classes: Sequence[str],
    temperatures: Sequence[float],
    path: Path,
) -> None:
    """Draw what a student learns from its teacher: softmax(logits / T) of six images at each temperature T.

    Args:
        images: the N images, see ``Images``.
        labels: (N,), each in 0..K-1, or -1 where the class is not known.
        logits: the teacher's, (N, K), N at least 1.
        classes: the names of the K classes.
        temperatures: one or more, each > 0.
        path: the image file to write.

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    chosen = spread_by_confidence(logits, _SOFTENED)
    rows = -(-len(chosen) // 2)
    figure = Figure(figsize=(8, 1.3 + 2.1 * rows), layout="constrained")
    figure.suptitle("What the teacher knows")
    grid = figure.subplots(rows, 4, squeeze=False, width_ratios=(1, 1.25) * 2).reshape(-1, 2)
    for axes in grid[len(chosen) :].flat:
        axes.axis("off")
    for (picture, bars), index in zip(grid, chosen.tolist(), strict=False):
        true = int(labels[index])
        show_grid(picture, show_image(images, index))
        picture.set_xlabel(f"is {short(classes[true], 16)}" if true >= 0 else "class not known", size=8)
        _softened_bars(bars, logits[index], true, classes, temperatures)
    for _, bars in grid[: len(chosen)][-2:]:
        bars.set_xlabel("probability, %", size=8)
    figure.legend(
        *grid[0, 1].get_legend_handles_labels(),
        title="its probabilities, softened by the temperature T; the true class in bold",
        loc="outside lower center",
        ncols=len(temperatures),
    )
    save_figure(figure, path)


def _softened_bars(
    axes: Axes, logits: Logits, true: int, classes: Sequence[str], temperatures: Sequence[float]
) -> None:
    """One image's likeliest classes, a bar for each temperature; ``logits`` (K,)."""
    top = np.argsort(-logits, kind="stable")[:_LIKELIEST]
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(temperatures)))
    thickness = 0.8 / len(temperatures)
    for number, (temperature, colour) in enumerate(zip(temperatures, colours, strict=True)):
        probabilities = np.exp(log_probabilities(logits[None], temperature))[0]
        offset = (number - (len(temperatures) - 1) / 2) * thickness
        axes.barh(
            np.arange(len(top)) + offset,
            100 * probabilities[top],
            thickness,
            color=colour,
            label=f"T = {temperature:g}",
        )
    axes.set_yticks(range(len(top)), [short(classes[index], 15) for index in top], size=8)
    for name, index in zip(axes.get_yticklabels(), top, strict=True):
        name.set_fontweight("bold" if index == true else "normal")
    axes.set(xlim=(0, 100), ylim=(len(top) - 0.5, -0.5))
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def spread_by_confidence(logits: Logits, count: int) -> NDArray[np.int64]:
    """Indices of up to ``count`` images, evenly spread from the surest to the least sure.

    Spread by confidence, not by rank: of a good teacher's images nearly all are sure, and look the same.
    """
    confidence = np.exp(log_probabilities(logits).max(axis=1))
    chosen: list[int] = []
    free = np.ones(len(confidence), bool)
    for aim in np.linspace(confidence.max(), confidence.min(), min(count, len(confidence))):
        nearest = int(np.where(free, np.abs(confidence - aim), np.inf).argmin())
        free[nearest] = False
        chosen.append(nearest)
    return np.array(chosen)
