"""What people call the parts of a data set: folders, and values of a column."""

from __future__ import annotations

import re

from augsearch.trainers.data.dataset import Split

PLAIN_NAMES = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
    "unlabeled": Split.UNLABELED,
    "unlabelled": Split.UNLABELED,
}
"""Names, in small letters, that mean a part wherever they stand."""

_OTHER_WORDS = {
    "dev": Split.VALIDATION,
    "development": Split.VALIDATION,
    "eval": Split.VALIDATION,
    "evaluation": Split.VALIDATION,
    "holdout": Split.TEST,
}
"""Words that mean a part beside one to train on; alone they may be anything."""

_FILLERS = frozenset(
    {"set", "sets", "data", "dataset", "split", "part", "subset", "folder", "samples"}
    | {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"}
)
"""Words that say nothing: ``training_set``, ``images-train``."""


def plain_part(name: str) -> Split | None:
    """The part that this name means wherever it stands; None: perhaps none."""
    return PLAIN_NAMES.get(name.lower())


def part_named(name: str) -> Split | None:
    """The part that this name means where there is one to train on: ``Test_Set``, ``dev``, ``val2017``."""
    words = [word for word in re.split(r"[\W\d_]+", name.lower()) if word]
    meant = [word for word in words if word not in _FILLERS]
    if len(meant) != 1:
        return None
    (word,) = meant
    known = PLAIN_NAMES | _OTHER_WORDS
    return known.get(word) or known.get(re.sub(r"(set|data)$", "", word))
