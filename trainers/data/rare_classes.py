"""Classes that have too few images: left out of a data set, or merged into one, where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.errors import some
from augsearch.trainers.data.cache import copied_weights, linked, written_whole
from augsearch.trainers.data.dataset import CACHE_FORMAT, ImageData, Indices, Split, in_cache, load_cache
from augsearch.trainers.system.hashing import cache_key, hex_hash

OTHER = "other"
"""The class into which rare ones are merged; the data may have one of that name."""


def without_rare_classes(data: ImageData, least: int, *, merge: bool) -> tuple[ImageData, list[str]]:
    """``data`` without the classes that have fewer than ``least`` images to train on, and what those are.

    Images that the data gives for validation or for testing don't count. The rows stay the same: an image of
    a class that is left out has no label and is for nothing (``Split.LEFT_OUT``). With ``merge`` such classes
    become one, ``OTHER``.

    Returns:
        The data, decoded pixels shared with the whole; and ``fox (2 images)`` for each rare class.

    Raises:
        UserError: fewer than two classes would be left, or what is merged is rare too.
    """
    counts = _to_train_on(data)
    rare = np.flatnonzero(counts < least)
    named = [f"{data.classes[label]} ({_images(int(counts[label]))})" for label in rare]
    if not len(rare):
        return data, []
    kept = [name for label, name in enumerate(data.classes) if counts[label] >= least]
    classes = [*kept, *([OTHER] if merge and OTHER not in kept else [])]
    if merge and counts[rare].sum() < least and OTHER not in kept:
        raise UserError(
            f"--min-per-class {least} --rare-classes merge: all rare classes of {data.name} together have "
            f"{_images(int(counts[rare].sum()))} to train on ({some(named, 5)}); leave them out with "
            "--rare-classes drop, or give a smaller number"
        )
    if len(classes) < 2:
        raise UserError(
            f"--min-per-class {least} leaves {some(classes, 1) or 'no class'} of {data.name}: "
            "a classifier needs at least 2 classes; give a smaller number"
        )
    numbers = np.array([_number(name, classes, merge) for name in data.classes], np.int64)
    labels = np.where(data.labels < 0, -1, numbers[data.labels])
    given = np.where((labels < 0) & (data.labels >= 0), Split.LEFT_OUT, data.given).astype(np.int8)
    return _kept(data, labels, given, classes), named


def _to_train_on(data: ImageData) -> Indices:
    """(K,): how many images of each class are to train on, or may be."""
    labels = data.labels[(data.labels >= 0) & np.isin(data.given, [Split.ANY, Split.TRAIN])]
    return np.bincount(labels, minlength=len(data.classes))


def _number(name: str, classes: Sequence[str], merge: bool) -> int:
    if name in classes:
        return classes.index(name)
    return classes.index(OTHER) if merge else -1


def _kept(data: ImageData, labels: Indices, given: NDArray[np.int8], classes: Sequence[str]) -> ImageData:
    """``data`` with these labels and classes, in a cache of its own that shares the pixels."""
    content = hex_hash(
        data.fingerprint.encode(),
        labels.astype("<i8").tobytes(),
        given.tobytes(),
        json.dumps(classes).encode(),
    )
    folder = data.cache.with_name(cache_key([CACHE_FORMAT, data.cache.name, content], size=12))
    held = in_cache(folder, load_cache)
    if held is not None:
        return held
    with written_whole(folder, load_cache) as partial:
        linked(data.cache / "images.npy", partial / "images.npy")
        np.save(partial / "labels.npy", labels)
        np.save(partial / "given.npy", given)
        if data.groups is not None:
            np.save(partial / "groups.npy", data.groups)
        copied_weights(data, partial)
        index = json.loads((data.cache / "index.json").read_text("utf-8"))
        index |= {"classes": list(classes), "fingerprint": content}
        (partial / "index.json").write_text(json.dumps(index), "utf-8")
    return load_cache(folder)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
