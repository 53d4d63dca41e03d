"""Labeled images from where the model will be used, which candidates are then scored on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.errors import some
from augsearch.trainers.data.dataset import ImageData, Indices, Progress, Split, load_cache
from augsearch.trainers.data.duplicates import copies_among, groups_of_copies
from augsearch.trainers.data.form import Form, Layout, is_manifest
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.splits import Splits, halves
from augsearch.trainers.system.hashing import hex_hash


@dataclass(frozen=True, eq=False)
class Target:
    """Images from where the model will be used."""

    source: str
    """What they were opened from."""
    data: ImageData
    """All of them, at the side of the data set that they belong to, with classes of their own."""
    channels: int
    """How many that data set has."""
    classes: tuple[str, ...]
    """The classes of that data set."""
    validation: Indices
    """Sorted: what the search scores on."""
    confirmation: Indices
    """Sorted: what the finalists are compared on, and the final model's epochs."""
    groups: Indices | None = None
    """(N,): images of one number belong together, and are in one half; None: each stands alone."""

    @property
    def fingerprint(self) -> str:
        """Hex; another one when the images change, or what they are used for."""
        halves = (self.validation, self.confirmation)
        used = [len(half).to_bytes(8) + half.astype("<i8").tobytes() for half in halves]
        return hex_hash(self.data.fingerprint.encode(), *used)

    @property
    def used(self) -> Indices:
        """Both halves."""
        return np.sort(np.concatenate([self.validation, self.confirmation]))

    def images(self, rows: Indices) -> NDArray[np.uint8]:
        """(len(rows), S, S, C): those images with as many channels as the data set's."""
        images = self.data.images[rows]
        if images.shape[-1] == self.channels:
            return images
        # Here and not above, because a worker that needs no Pillow need not wait for it.
        from augsearch.trainers.data.decode import with_channels

        shape = (*images.shape[:-1], self.channels)
        return np.array([with_channels(image, self.channels) for image in images], np.uint8).reshape(shape)

    def labels(self, rows: Indices) -> NDArray[np.int64]:
        """(len(rows),): their numbers among the classes of the data set."""
        numbers = np.array([self._number(name) for name in self.data.classes], np.int64)
        return numbers[self.data.labels[rows]]

    def _number(self, name: str) -> int:
        """The number of a class of the target in the data set, where it may be merged; -1: it is left out."""
        if name in self.classes:
            return self.classes.index(name)
        # Here and not above, because a worker that only maps a target need not wait for Pillow.
        from augsearch.trainers.data.rare_classes import OTHER

        return self.classes.index(OTHER) if OTHER in self.classes else -1

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes of the data set of which there is no image."""
        present = set(self.labels(self.used).tolist())
        return tuple(name for label, name in enumerate(self.classes) if label not in present)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of ``used``; none if they are no files."""
        every = image_paths(self.source, self.data)
        return () if every is None else tuple(every[row] for row in self.used)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many images of a target are not used."""

    copies: int
    """Also in the data set's train, validation or test split: known to the model, or sealed."""
    repeats: int
    """Also among the target's images before them."""
    grouped: int = 0
    """Of one group with images of the data set's train, validation or test split."""
    rare: int = 0
    """Of classes that are left out of the data set too."""


@dataclass(frozen=True, slots=True)
class Handling:
    """How a data set was opened, which is how its target is."""

    skip_bad_images: bool = False
    """Go on without the images that cannot be read."""
    group_by: str | None = None
    """As for ``with_groups``: a group is in one half only, and in none if the data set's splits have it."""
    rare: Collection[str] = ()
    """Classes that were too rare: its images of these are no strangers."""
    merged: bool = False
    """Whether those have become one, ``OTHER``, and were not left out."""


AS_IT_IS = Handling()
"""Nothing was asked for."""


def open_target(
    source: str,
    data: ImageData,
    splits: Splits,
    *,
    cache: Path,
    seed: int,
    handling: Handling = AS_IT_IS,
    progress: Progress | None = None,
) -> tuple[Target, LeftOut]:
    """Open a target for ``data``: decoded to its side, and divided into two halves, stratified by class.

    A test split that the source brings stays sealed.

    Args:
        source: as for ``open_images``; its classes have the names of those of ``data``, some may lack.
        data: what is trained on.
        splits: how it is divided; the final training learns from its validation split too.
        cache: the folder that holds the decoded caches; made if need be.
        seed: decides which image goes into which half.
        handling: what else is done with it as it was with ``data``.
        progress: called while decoding.

    Raises:
        UserError: the source is bad, a class is not one of ``data``'s, or has too few images.
    """
    found = _opened(source, data, cache, handling, progress)
    told, channels = _as_in(data, found, handling), int(data.images.shape[-1])
    sealed = found.given == Split.TEST
    labeled = np.flatnonzero((told.labels >= 0) & ~sealed)
    # As the data's pixels are, or a grey image would not be known among coloured ones.
    pixels = Target(source, found, channels, data.classes, labeled, labeled).images(labeled)
    every = np.arange(len(labeled))
    known = np.concatenate([splits.train, splits.validation, splits.test])
    copies = copies_among(pixels, every, data.images, known)
    first = np.zeros(len(labeled), bool)
    first[np.unique(groups_of_copies(pixels, every), return_index=True)[1]] = True
    # Here and not above, because a worker that only maps a target need not wait for what finds groups.
    from augsearch.trainers.data.target_groups import halves_of_groups, target_groups

    groups, leaks = target_groups(told, labeled, pixels, data, known, handling.group_by)
    rows = labeled[first & ~copies & ~leaks]
    _check_counts(source, data, told, rows, int((copies | leaks).sum()))
    if groups is None:
        validation, confirmation = halves(rows, told.labels, seed=seed)
    else:
        validation, confirmation = halves_of_groups(source, told, rows, groups, seed)
    target = Target(source, found, channels, data.classes, validation, confirmation, groups)
    repeats = int((~first & ~copies & ~leaks).sum())
    rare = int(((found.labels >= 0) & (told.labels < 0) & ~sealed).sum())
    return target, LeftOut(int(copies.sum()), repeats, int((leaks & ~copies).sum()), rare)


def _opened(
    source: str, data: ImageData, cache: Path, handling: Handling, progress: Progress | None
) -> ImageData:
    """The images of a target, at the side of ``data``.

    Raises:
        UserError: the source is bad, or a class is not one of ``data``'s.
    """
    side = int(data.images.shape[1])
    try:
        found = open_images(
            source,
            image_size=side,
            cache=cache,
            skip_bad_images=handling.skip_bad_images,
            form=form_like(source, data.form),
            progress=progress,
        )
    except UserError as error:
        raise UserError(f"validation images: {error}") from None
    strangers = [name for name in found.classes if name not in (*data.classes, *handling.rare)]
    if strangers:
        raise UserError(
            f"validation images: {source} has classes that {data.name} does not have ({some(strangers, 3)}; "
            f"it has {some(data.classes, 10)}): give the same names to the same classes, and remove others"
        )
    return found


def _as_in(data: ImageData, found: ImageData, handling: Handling) -> ImageData:
    """``found`` with the classes of ``data``, as far as it has them: rare ones left out or merged."""
    if all(name in data.classes for name in found.classes):
        return found
    from augsearch.trainers.data.rare_classes import OTHER

    names = [name if name in data.classes else OTHER for name in found.classes]
    kept = [known == name or handling.merged for known, name in zip(names, found.classes, strict=True)]
    classes = list(dict.fromkeys(name for name, is_kept in zip(names, kept, strict=True) if is_kept))
    numbers = [classes.index(name) if is_kept else -1 for name, is_kept in zip(names, kept, strict=True)]
    labels = np.where(found.labels < 0, -1, np.array(numbers, np.int64)[found.labels])
    return replace(found, labels=labels, classes=tuple(classes))


def form_like(source: str, form: Form) -> Form:
    """The form in which ``source`` is opened beside a data set of this form: its pixels are read alike."""
    layout = form.layout
    if Path(source).expanduser().is_dir():
        return Form(reading=form.reading, layout=Layout(classes=layout.classes))
    if is_manifest(source):
        columns = dict.fromkeys(("root", "split_column", "group_column", "weight_column"))
        unlike = {"classes": "top", **columns}
        return Form(reading=form.reading, layout=layout.model_copy(update=unlike))
    return Form(reading=form.reading)


def _check_counts(source: str, data: ImageData, found: ImageData, rows: Indices, copies: int) -> None:
    """Check that there is an image of every class for each half."""
    if not found.classes:
        raise UserError(f"validation images: all classes of {source} are too rare in {data.name}: add others")
    counts = np.bincount(found.labels[rows], minlength=len(found.classes))
    if (counts >= 2).all():
        return
    label = int(np.argmin(counts))
    left_out = f" but for copies of images that {data.name} trains or tests on" if copies else ""
    images = "1 image" if counts[label] == 1 else "no image"
    raise UserError(
        f"validation images: class '{found.classes[label]}' of {source} has {images}{left_out}, "
        "it needs at least 2: add some, or remove the class"
    )


def load_target(
    data: ImageData,
    validation: Indices,
    confirmation: Indices,
    groups: Indices | None = None,
    *,
    source: str,
    cache: Path,
) -> Target:
    """Map a target that was opened for ``data`` into this process; ``cache`` is its ``data.cache``."""
    channels = int(data.images.shape[-1])
    return Target(source, load_cache(cache), channels, data.classes, validation, confirmation, groups)
