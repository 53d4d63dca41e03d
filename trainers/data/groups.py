"""Which images belong together: by a column, by their paths, or because they are copies of one another."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.atomic import whole_file
from augsearch.trainers.data.cache import copied_weights, linked, numbered, written_whole
from augsearch.trainers.data.dataset import CACHE_FORMAT, ImageData, Indices, Split, in_cache, load_cache
from augsearch.trainers.data.duplicates import groups_of_copies
from augsearch.trainers.data.near_duplicates import connected, groups_alike, looks_of
from augsearch.trainers.system.hashing import cache_key, hex_hash
from augsearch.trainers.system.names import printable

COPIES = "copies"
"""What is given instead of a regular expression to keep exact copies together, and nothing else."""
NEAR = "near-duplicates"
"""What is given to keep images together that look alike."""


def with_groups(data: ImageData, by: str | None) -> ImageData:
    """``data``, which may have groups of its own, with those that ``by`` finds, and copies in one group.

    The decoded pixels are shared.

    Args:
        data: the data set.
        by: a regular expression that finds the group in an image's path: what its brackets hold, or all of
            it; ``copies``; ``near-duplicates``; None: only the groups that it has.

    Raises:
        UserError: the expression finds nothing in any path.
    """
    if by is None and data.groups is None:
        return data
    groups = data.groups if data.groups is not None else np.arange(len(data.labels))
    if by == NEAR:
        groups = together(groups, near_duplicates(data))
    elif by is not None and by != COPIES:
        groups = together(groups, by_path(data.files, by))
    groups = together(groups, groups_of_copies(data.images, np.arange(len(data.labels))))
    given = without_leaks(data.given, groups) if by in (COPIES, NEAR) else data.given
    content = hex_hash(groups.astype("<i8").tobytes(), given.tobytes())
    folder = data.cache.with_name(cache_key([CACHE_FORMAT, "groups", data.cache.name, content], size=12))
    held = in_cache(folder, load_cache)
    if held is None:
        with written_whole(folder, load_cache) as partial:
            for name in ("images.npy", "labels.npy"):
                linked(data.cache / name, partial / name)
            np.save(partial / "given.npy", given)
            np.save(partial / "groups.npy", groups)
            copied_weights(data, partial)
            index = json.loads((data.cache / "index.json").read_text("utf-8"))
            (partial / "index.json").write_text(json.dumps(index), "utf-8")
        held = load_cache(folder)
    return held


def without_leaks(given: NDArray[np.int8], groups: Indices) -> NDArray[np.int8]:
    """``given``, (N,), codes of ``Split``, where the data's own parts share what looks alike.

    What it gives for testing stays; images for validation, and then those to train on, that are of one group
    with those that were given before are for nothing (``Split.LEFT_OUT``).
    """
    kept = given.copy()
    for held, others in (
        (Split.TEST, (Split.VALIDATION, Split.TRAIN, Split.ANY)),
        (Split.VALIDATION, (Split.TRAIN, Split.ANY)),
    ):
        leaks = np.isin(kept, others) & np.isin(groups, groups[kept == held])
        kept[leaks] = Split.LEFT_OUT
    return kept


def near_duplicates(data: ImageData) -> Indices:
    """(N,): a number for each image of ``data``, one for exact copies and those that look alike.

    What was found out is kept with the decoded images.
    """
    kept = data.cache / f"{NEAR}.npy"
    if kept.exists():
        known: Indices = np.load(kept, allow_pickle=False)
        return known
    every = np.arange(len(data.labels))
    alike = groups_alike(looks_of(data.images, every), data.labels)
    groups = together(alike, groups_of_copies(data.images, every))
    with whole_file(kept) as temporary:
        np.save(temporary, groups)
    return groups


def by_path(files: Sequence[str], expression: str) -> Indices:
    """(N,): a number for each group that the expression finds; what it does not find stands alone.

    Raises:
        UserError: it finds nothing.
    """
    groups = named_in(files, expression)
    if groups is None:
        raise UserError(
            f"--group-by {expression} finds nothing in any path, in {printable(files[0])} say: give an "
            r"expression such as '(\w+)_\d+\.jpg', whose brackets hold what names the group"
        )
    return groups


def named_in(files: Sequence[str], expression: str) -> Indices | None:
    """As ``by_path``; None where it finds nothing."""
    pattern = re.compile(expression)
    found = [pattern.search(file) for file in files]
    if not any(found):
        return None
    return numbered(["\0".join(map(str, one.groups() or [one[0]])) if one else "" for one in found])


def groups_in_words(data: ImageData) -> str:
    """One line: how many groups there are."""
    assert data.groups is not None
    sizes = np.bincount(data.groups)
    line = (
        f"of {len(data.groups):,} images {int((sizes == 1).sum()):,} stand alone, the others are in "
        f"{int((sizes > 1).sum()):,} groups of at most {int(sizes.max()):,}; no group is in two parts"
    )
    left_out = int((data.given == Split.LEFT_OUT).sum())
    if left_out:
        line += f", and {left_out:,} are left out that look like some which the data holds out"
    return line


def together(first: Indices, second: Indices) -> Indices:
    """(N,): one number for images that are together in either."""
    offset = int(first.max(initial=0)) + 1
    nodes = offset + int(second.max(initial=0)) + 1
    parts = connected(nodes, first, second + offset)
    joined: Indices = np.unique(parts[first], return_inverse=True)[1].astype(np.int64)
    return joined
