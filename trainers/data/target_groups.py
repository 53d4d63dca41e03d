"""Which images of a target belong together, and which belong to images that are trained or tested on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Indices
from augsearch.trainers.data.grouped import TooFewGroupsError, dealt
from augsearch.trainers.data.groups import COPIES, NEAR, named_in, together
from augsearch.trainers.data.near_duplicates import groups_alike, looks_of
from augsearch.trainers.data.splits import HALVING


def target_groups(
    found: ImageData,
    labeled: Indices,
    pixels: NDArray[np.uint8],
    data: ImageData,
    known: Indices,
    by: str | None,
) -> tuple[Indices | None, NDArray[np.bool_]]:
    """(N,): the groups of the target's images, None where there are none; and which of those with a label,
    (L,), are of one group with images that ``data`` knows."""
    none = np.zeros(len(labeled), bool)
    own = found.groups
    if by is None or by == COPIES:
        return own, none
    if by == NEAR:
        both = np.concatenate([data.images[known], pixels])
        names = np.array(data.classes)[data.labels[known]], np.array(found.classes)[found.labels[labeled]]
        labels = np.unique(np.concatenate(names), return_inverse=True)[1]
        joint = groups_alike(looks_of(both, np.arange(len(both))), labels.astype(np.int64))
    else:
        files = [*(data.files[row] for row in known), *(found.files[row] for row in labeled)]
        named = named_in(files, by)
        if named is None:
            return own, none
        joint = named
    mine = joint[len(known) :]
    # Images without a label are in no half: each stands alone.
    groups = int(joint.max(initial=0)) + 1 + np.arange(len(found.labels))
    groups[labeled] = mine
    leaks = np.isin(mine, joint[: len(known)])
    return (groups if own is None else together(groups, own)), leaks


def halves_of_groups(
    source: str, found: ImageData, rows: Indices, groups: Indices, seed: int
) -> tuple[Indices, Indices]:
    """Two halves, whole groups each, stratified by class.

    Raises:
        UserError: a class has one group only.
    """
    try:
        first, second = dealt(rows, found.labels, groups, [0.5, 0.5], seed=[seed, HALVING])
    except TooFewGroupsError as error:
        raise UserError(
            f"validation images: all images of class '{found.classes[error.args[0]]}' of {source} are of one "
            "group, they need to be of 2 at least: add some, or remove the class"
        ) from None
    return first, second
