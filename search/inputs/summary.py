"""What a run's data is made of: a dictionary for the report, and a warning where parts share images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray

from augsearch.policies.errors import each
from augsearch.search.inputs.run_data import Data
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.decode import BadImageError, pillow_without_warnings, size_of
from augsearch.trainers.data.duplicates import contradictions, groups_of_copies, repeats
from augsearch.trainers.data.groups import near_duplicates
from augsearch.trainers.data.images import image_paths
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.system.names import printable
from augsearch.trainers.system.threads import in_order

ATTRIBUTE = "data summary"
"""The attribute of a study that holds the summary."""

PARTS = ("train", "validation", "confirmation", "test")

MOST_SIZES = 10
MOST_MEASURED = 10_000
"""Files whose headers are read to see how large the images are; of 60,000 that would take seconds."""

EXAMPLES = 3

LEAK = 0.01
"""The share of held-out images with near-duplicates to learn from, from which on figures may flatter."""
MOST_LOOKED_AT = 200_000
"""Images among which a run looks for near-duplicates by itself; of more it would take minutes."""

UNEQUAL = 3
"""How many times as large as the smallest the largest class may be before it is said."""
FAIR_TO_RARE = ("balanced-accuracy", "macro-f1")
"""The metrics that count all classes alike."""


def keep_summary(study: optuna.Study, source: str | None, data: Data) -> dict[str, Any]:
    """The summary of ``data``, which was opened from ``source``; made where ``study`` has none yet."""
    known: dict[str, Any] | None = study.user_attrs.get(ATTRIBUTE)
    if known is None:
        known = summary_of(source, data)
        study.set_user_attr(ATTRIBUTE, known)
    return known


def summary_of(source: str | None, data: Data) -> dict[str, Any]:
    """Plain values.

    ``counts``: images by part and class, those of a target's halves too. ``sizes``: the most frequent ones,
    ``[width, height, count]``, as the images lie on disk, of at most 10,000 files spread evenly over all;
    None where they are not known. ``duplicates``: images with exactly the same pixels, once decoded.
    ``near``: those, and images that look alike. ``conflicts``: how many of the first have another label than
    a copy of theirs, and examples.
    """
    images, target = data.images, data.target
    labeled = np.flatnonzero(images.labels >= 0)
    copies = np.full(len(images.labels), -1)
    copies[labeled] = groups_of_copies(images.images, labeled)
    _, side, _, channels = images.images.shape
    counts = {part: _counts(images.labels[getattr(data.splits, part)], images.classes) for part in PARTS}
    if target is not None:
        for half in ("validation", "confirmation"):
            labels = target.labels(getattr(target, half))
            counts[f"target {half}"] = _counts(labels, images.classes)
    return {
        "name": images.name,
        "side": int(side),
        "channels": int(channels),
        "classes": list(images.classes),
        "counts": counts,
        "sizes": _sizes(source, images),
        "duplicates": _duplicates(data, copies),
        "near": _duplicates(data, near_duplicates(images)) if len(images.labels) <= MOST_LOOKED_AT else [],
        "conflicts": _conflicts(images, copies),
        "unlabeled": data.unlabeled.found if data.unlabeled else len(data.splits.unlabeled),
        "target": target.source if target else None,
    }


def warnings_of(summary: dict[str, Any]) -> list[str]:
    """What a person should know of the images before hours go by, a line each."""
    found = (conflict_in_words(summary), overlap_in_words(summary), near_in_words(summary))
    return [line for line in found if line is not None]


def overlap_in_words(summary: dict[str, Any]) -> str | None:
    """One line on held-out images that are trained on too; None: there are none."""
    found = in_train(summary["duplicates"])
    if not found:
        return None
    counted = each([f"{one['count']:,} {part}" for part, one in found.items()])
    images = "image is" if sum(one["count"] for one in found.values()) == 1 else "images are"
    example = next(iter(found.values()))["examples"][0]
    return (
        f"{counted} {images} also in train ({example}, say): figures on them flatter; remove the copies, or "
        "keep them together with --group-by copies"
    )


def near_in_words(summary: dict[str, Any]) -> str | None:
    """One line on held-out images that look like some that are trained on; None: there are none."""
    copies, near = (in_train(summary.get(name) or []) for name in ("duplicates", "near"))
    alike = {
        part: one for part, one in near.items() if one["count"] > copies.get(part, {"count": 0})["count"]
    }
    if not alike:
        return None
    counts = []
    shares = []
    for part, one in alike.items():
        held = sum(summary["counts"][part].values())
        counts.append(f"{one['count']:,} of {held:,} {part}")
        shares.append(one["count"] / held)
    example = next(iter(alike.values()))["examples"][0]
    line = f"{each(counts)} images have near-duplicates in train ({example}, say)"
    if max(shares) <= LEAK:
        return line
    return (
        f"{line}: figures on them may flatter by up to {100 * max(shares):.1f} points; --group-by "
        "near-duplicates keeps those together, --group-by REGEX and --group-column what you know to belong "
        "together"
    )


def in_train(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By part what it shares with the one trained on."""
    return {one["parts"][1]: one for one in found if len(one["parts"]) > 1 and one["parts"][0] == "train"}


def imbalance_in_words(summary: dict[str, Any], metric: str, balance: str) -> str | None:
    """One line where the largest class trained on has over three times the images of the smallest; else None.

    ``metric`` and ``balance`` are what the run compares by, and does for rare classes.
    """
    counts = {name: number for name, number in summary["counts"]["train"].items() if number}
    if not counts:
        return None
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratio = counts[most] / counts[least]
    if ratio <= UNEQUAL:
        return None
    said = (
        f"{most} has {ratio:.0f} times as many training images as {least} "
        f"({counts[most]:,}, {counts[least]:,})"
    )
    advice = []
    if metric not in FAIR_TO_RARE:
        advice.append(f"{metric} says little of rare classes, --metric {FAIR_TO_RARE[0]} does")
    if balance == "none":
        advice.append("--class-balance search tries what helps them")
    return f"{said}{': ' if advice else ''}{'; '.join(advice)}"


def conflict_in_words(summary: dict[str, Any]) -> str | None:
    """One line on images that are there under several labels; None: there are none."""
    found = summary.get("conflicts")
    if not found or not found["count"]:
        return None
    return (
        f"{found['count']:,} images contradict each other: the same picture has several labels "
        f"({found['examples'][0]}, say); give each one label, or remove what is doubtful"
    )


def _counts(labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    numbers = np.bincount(labels, minlength=len(classes))
    return {name: int(number) for name, number in zip(classes, numbers, strict=True)}


def _sizes(source: str | None, images: ImageData) -> list[list[int]] | None:
    paths = image_paths(source, images)
    if paths is None:
        size = find_source(source, images.form).size()
        return None if size is None else [[*size, len(images.files) + len(images.skipped)]]

    def measured(path: Path) -> tuple[int, int] | None:
        with suppress(BadImageError):
            return size_of(path, images.form.reading)
        return None

    some = np.unique(np.linspace(0, len(paths) - 1, MOST_MEASURED).astype(int))
    with pillow_without_warnings():
        sizes = Counter(size for size in in_order(measured, [paths[index] for index in some]) if size)
    return [[*size, count] for size, count in sizes.most_common(MOST_SIZES)]


def _conflicts(images: ImageData, copies: NDArray[np.int64]) -> dict[str, Any]:
    """``count``: images of which a copy has another label. ``examples``: two such each.

    ``copies``, (N,): a number for each image with a label, one for the same pixels; -1 for the others.
    """
    return conflicts_told(contradictions(copies, images.labels), images)


def _duplicates(data: Data, groups: NDArray[np.int64]) -> list[dict[str, Any]]:
    """``parts``: two of them and how many images of the second are in the first; or one, and how many of its
    images repeat others of it. ``examples``: some of those counted, as a person finds them. ``groups``, (N,):
    one number for images that are alike."""
    parts = {part: getattr(data.splits, part) for part in PARTS}
    return repeats_told(repeats(groups, parts), data.images.files)


def repeats_told(
    found: dict[tuple[str, ...], NDArray[np.int64]], files: Sequence[str]
) -> list[dict[str, Any]]:
    """What ``duplicates.repeats`` found as plain values: ``parts``, ``count``, ``examples`` of ``files``."""
    return [
        {
            "parts": list(parts),
            "count": len(rows),
            "examples": [printable(files[row]) for row in rows[:EXAMPLES]],
        }
        for parts, rows in found.items()
    ]


class Labeled(Protocol):
    """Images with names and labels."""

    @property
    def files(self) -> Sequence[str]:
        """(N,): their paths inside the data set."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,), -1 where there is none."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""


def conflicts_told(torn: Sequence[NDArray[np.int64]], images: Labeled) -> dict[str, Any]:
    """What ``duplicates.contradictions`` found as plain values: ``count``, and examples of two such each."""
    examples = []
    for own in torn[:EXAMPLES]:
        first, other = own[0], own[images.labels[own] != images.labels[own[0]]][0]
        named = [
            f"{printable(images.files[row])} ({images.classes[images.labels[row]]})" for row in (first, other)
        ]
        examples.append(" and ".join(named))
    return {"count": sum(map(len, torn)), "examples": examples}
