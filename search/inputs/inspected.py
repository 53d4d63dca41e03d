"""What ``augsearch inspect`` says of a data set: plain values, what to heed, and the command to type."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median_low
from typing import Any

import numpy as np

from augsearch.policies import UserError
from augsearch.search.budget.plan import Sizes, Speed, Task, confirmation_seconds, search_seconds
from augsearch.search.inputs.picked import pick
from augsearch.search.inputs.summary import (
    LEAK,
    PARTS,
    UNEQUAL,
    conflict_in_words,
    conflicts_told,
    imbalance_in_words,
    in_train,
    near_in_words,
    overlap_in_words,
    repeats_told,
)
from augsearch.search.settings.data import DataSettings
from augsearch.search.settings.sections import SMALL_NETWORK, ConfirmationSettings, SearchSettings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.trainers.data.cache import numbered
from augsearch.trainers.data.dataset import Indices, Split
from augsearch.trainers.data.duplicates import contradictions, repeats
from augsearch.trainers.data.group_names import GroupGuess, guess_groups
from augsearch.trainers.data.groups import COPIES, NEAR, by_path, together, without_leaks
from augsearch.trainers.data.inspection import Inspected
from augsearch.trainers.data.near_duplicates import groups_alike
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.data.splits import split
from augsearch.trainers.system.names import printable
from augsearch.trainers.training.recipe import default_epochs
from augsearch.trainers.workspace.folds import default_fold_size

MOST_EXAMPLES = 20
MOST_SIZES = 10
MOST_SHOWN = 8
"""Groups of near-duplicates, or of contradictions, on a sheet."""
IN_A_ROW = 8
"""Images of each."""
LONG = 4 / 3
"""Sides of an image in proportion: beyond it the centre square leaves out a quarter or more."""
OFTEN = 0.25
"""The share of long images from which on it is said."""
SEED = 0
"""A run's own, where it is given none."""

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """An image on a sheet."""

    row: int
    """Its number."""
    file: str
    label: str
    """Its class; empty: it has none."""
    part: str


Sheet = list[list[Shown]]
"""A group in a row."""


def facts_of(found: Inspected, settings: DataSettings) -> tuple[Facts, dict[str, Sheet]]:
    """All that is said of a data set, and which of its images are shown: ``near`` and ``conflicts``.

    Raises:
        UserError: ``--group-by`` finds nothing in any path.
    """
    near = together(found.copies, groups_alike(found.looks, found.labels))
    groups = _groups(found, settings.group_by, near)
    parts, problem = _parts(found, groups, settings.group_by)
    guess = guess_groups(found.files, found.labels, near) if groups is None else None
    torn = contradictions(found.copies, found.labels)
    labeled = {part: rows for part, rows in parts.items() if part != "unlabeled"}
    near_repeats = repeats(near, labeled)
    facts: Facts = {
        "source": settings.source or "the embedded images",
        "name": found.name,
        "images": len(found.files),
        "bad": {
            "count": len(found.bad),
            "examples": [f"{printable(file)}: {reason}" for file, reason in found.bad[:MOST_EXAMPLES]],
        },
        "classes": list(found.classes),
        "unlabeled": int((found.labels < 0).sum()),
        "unlabeled_folder": _unlabeled_folder(settings),
        "given": _given(found),
        "counts": {
            part: dict(
                zip(
                    found.classes,
                    np.bincount(found.labels[rows], minlength=len(found.classes)).tolist(),
                    strict=True,
                )
            )
            for part, rows in labeled.items()
        },
        "problem": problem,
        "groups": None if groups is None else len(np.unique(groups)),
        **_shapes(found.sizes),
        "modes": dict(found.modes.most_common()),
        "side": found.side,
        "fit": settings.fit,
        "duplicates": repeats_told(repeats(found.copies, labeled), found.files),
        "near": repeats_told(near_repeats, found.files),
        "conflicts": conflicts_told(torn, found),
        "group_guess": None if guess is None else _guessed(guess),
        "notes": [*found.notes],
    }
    facts["network"] = _network(settings)
    facts["passes"] = _passes(facts)
    facts["advice"] = advice(facts)
    facts["command"] = command(facts, settings)
    rows = {"near": _near_groups(near, found, near_repeats), "conflicts": torn[:MOST_SHOWN]}
    return facts, {name: _sheet(found, groups, parts) for name, groups in rows.items()}


def most_and_least(totals: dict[str, int], most: int) -> list[str]:
    """All names if they are few; else those with the largest and the smallest totals, half each."""
    if len(totals) <= most:
        return list(totals)
    ranked = sorted(totals, key=lambda name: -totals[name])
    return [*ranked[: most // 2], *ranked[-(most // 2) :]]


def _groups(found: Inspected, by: str | None, near: Indices) -> Indices | None:
    """Which images the data, or ``--group-by``, says to belong together; None: neither says any."""
    if by is None and found.groups is None:
        return None
    groups = found.copies
    if by == NEAR:
        groups = together(groups, near)
    elif by is not None and by != COPIES:
        groups = together(groups, by_path(found.files, by))
    return groups if found.groups is None else together(groups, numbered(found.groups))


def _parts(found: Inspected, groups: Indices | None, by: str | None) -> tuple[dict[str, Indices], str | None]:
    """The images by part, as a run would divide them; where it can't, as they are given, and why not."""
    given = found.given
    if groups is not None and by in (COPIES, NEAR):
        given = without_leaks(given, groups)
    try:
        made = split(found.labels, given, classes=found.classes, seed=SEED, groups=groups)
        return {part: getattr(made, part) for part in PARTS}, None
    except UserError as error:
        names = {Split.VALIDATION: "validation", Split.TEST: "test"}
        labeled = found.labels >= 0
        parts = {"train": np.flatnonzero(labeled & ~np.isin(found.given, list(names)))}
        parts |= {name: np.flatnonzero(labeled & (found.given == code)) for code, name in names.items()}
        return {part: rows for part, rows in parts.items() if len(rows)}, str(error)


def _given(found: Inspected) -> dict[str, int]:
    """How many images the data itself says to be for what."""
    counts = Counter(Split(code).name.lower() for code in found.given.tolist())
    return {("not said" if name == "any" else name): count for name, count in counts.most_common()}


def _shapes(sizes: Counter[tuple[int, int]]) -> Facts:
    """``sizes``: the most frequent, ``[width, height, count]``. ``sides``: the least, median and largest
    shorter and longer side. ``long``: how many are longer than 4:3; of all images whose sizes are known."""
    if not sizes:
        return {"sizes": [], "sides": None, "long": 0}
    sides: dict[str, list[int]] = {}
    for name, side in (("shorter", min), ("longer", max)):
        every = sorted(
            Counter(value for size, count in sizes.items() for value in [side(size)] * count).elements()
        )
        sides[name] = [every[0], median_low(every), every[-1]]
    long = sum(count for size, count in sizes.items() if max(size) > LONG * min(size))
    return {
        "sizes": [[*size, count] for size, count in sizes.most_common(MOST_SIZES)],
        "sides": sides,
        "long": long,
    }


def _guessed(guess: GroupGuess) -> Facts:
    return {**asdict(guess), "example": [printable(file) for file in guess.example]}


def _near_groups(near: Indices, found: Inspected, repeated: dict[tuple[str, ...], Indices]) -> list[Indices]:
    """Groups to look at: first those in several parts, then the others; of each the first of every copy."""
    across = [near[rows] for parts, rows in repeated.items() if len(parts) > 1]
    within = [near[rows] for parts, rows in repeated.items() if len(parts) == 1]
    numbers = dict.fromkeys(np.concatenate([np.zeros(0, np.int64), *across, *within]).tolist())
    groups = []
    for number in list(numbers)[:MOST_SHOWN]:
        rows = np.flatnonzero(near == number)
        different = rows[np.unique(found.copies[rows], return_index=True)[1]]
        groups.append(np.sort(different if len(different) > 1 else rows))
    return groups


def _sheet(found: Inspected, groups: list[Indices], parts: dict[str, Indices]) -> Sheet:
    def shown(row: int) -> Shown:
        label = int(found.labels[row])
        part = next((part for part, rows in parts.items() if row in rows), "")
        return Shown(row, printable(found.files[row]), found.classes[label] if label >= 0 else "", part)

    return [[shown(int(row)) for row in own[:IN_A_ROW]] for own in groups]


def _unlabeled_folder(settings: DataSettings) -> str | None:
    folder = find_source(settings.source, settings.form).unlabeled_folder()
    return None if folder is None else printable(str(folder))


def _network(settings: DataSettings) -> str:
    """The line on the final network that ``run`` says first."""
    if settings.source is None:
        return f"final network: {SMALL_NETWORK}, because the embedded images are small"
    return pick(settings.source, "auto", SMALL_NETWORK, settings.form).why


def _passes(facts: Facts) -> int | None:
    """Image passes of a search and confirmation of the usual size; None: it can't be divided."""
    if facts["problem"] is not None:
        return None
    search, confirmation = SearchSettings(), ConfirmationSettings()
    fold = default_fold_size(sum(facts["counts"]["train"].values()), len(facts["classes"]))
    usual = Sizes(search.trials, search.folds, fold, default_epochs(fold), confirmation.folds, 0)
    task = Task(usual, len(BASELINE_POLICIES), confirmation.finalists, 0, teacher=True)
    one = fold * usual.epochs
    return round(search_seconds(task, usual, Speed(1, 1.0)) + confirmation_seconds(task, usual, one, 1))


def advice(facts: Facts) -> list[str]:
    """What a person should know before hours go by, a line each, the gravest first."""
    lines = [facts["problem"], conflict_in_words(facts), overlap_in_words(facts), near_in_words(facts)]
    bad = facts["bad"]["count"]
    if bad:
        images = "1 image" if bad == 1 else f"{bad:,} images"
        lines.append(
            f"{images} can't be read ({facts['bad']['examples'][0]}): repair or remove, or --skip-bad-images"
        )
    guess = facts["group_guess"]
    if guess is not None:
        lines.append(
            f"the names may say which images belong together, {guess['groups']:,} groups of up to "
            f"{guess['largest']:,} ({guess['example'][0]} and {guess['example'][1]}, say): if they do, "
            f"--group-by {shlex.quote(guess['expression'])} keeps each in one part"
        )
    lines.append(imbalance_in_words(facts, "accuracy", "none"))
    if facts["fit"] == "crop" and facts["long"] > OFTEN * facts["images"]:
        lines.append(
            f"{facts['long']:,} images are longer than 4:3, and only the square in their centre is used: "
            "--fit squash or --fit pad takes all of each"
        )
    if facts["unlabeled"] or facts["unlabeled_folder"]:
        where = facts["unlabeled_folder"] or f"{facts['unlabeled']:,} images"
        lines.append(f"images without labels ({where}): --semi search finds out whether they help")
    return [line for line in lines if line]


def command(facts: Facts, settings: DataSettings) -> str:
    """The command to type, with the flags that this data set needs."""
    given = settings.model_dump(exclude_defaults=True, exclude={"source"})
    flags = {f"--{name.replace('_', '-')}": str(value) for name, value in given.items() if value is not True}
    words = ["augsearch", "run", *([settings.source] if settings.source is not None else [])]
    for flag, value in (flags | _wanted(facts, flags)).items():
        words += [flag, value] if value else [flag]
    return shlex.join(words)


def _wanted(facts: Facts, given: Iterable[str]) -> dict[str, str]:
    """Flags that nobody has to think about."""
    wanted = {}
    if facts["bad"]["count"]:
        wanted["--skip-bad-images"] = ""
    least = re.search(r"--min-per-class (\d+)", facts["problem"] or "")
    if least:
        wanted["--min-per-class"] = least[1]
    if "--group-by" not in given and facts["groups"] is None and leaked(facts) > LEAK:
        wanted["--group-by"] = NEAR
    counts = [number for number in facts["counts"].get("train", {}).values() if number]
    if counts and max(counts) > UNEQUAL * min(counts):
        wanted["--metric"] = "balanced-accuracy"
    return wanted


def leaked(facts: Facts) -> float:
    """The share of held-out images that have near-duplicates to learn from."""
    found = in_train(facts["near"])
    shares = [one["count"] / sum(facts["counts"][part].values()) for part, one in found.items()]
    return max(shares, default=0.0)
