"""Labeled images from where the model will be used, which candidates are then scored on."""

from __future__ import annotations

from dataclasses import dataclass
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
        numbers = np.array([self.classes.index(name) for name in self.data.classes], np.int64)
        return numbers[self.data.labels[rows]]

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes of the data set of which there is no image."""
        return tuple(name for name in self.classes if name not in self.data.classes)

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


def open_target(
    source: str,
    data: ImageData,
    splits: Splits,
    *,
    cache: Path,
    seed: int,
    skip_bad_images: bool = False,
    group_by: str | None = None,
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
        skip_bad_images: go on without the images that cannot be read.
        group_by: as for ``with_groups``: a group is in one half only, and in none if it is in ``splits``.
        progress: called while decoding.

    Raises:
        UserError: the source is bad, a class is not one of ``data``'s, or has too few images.
    """
    found = _opened(source, data, cache, skip_bad_images, progress)
    channels = int(data.images.shape[-1])
    labeled = np.flatnonzero((found.labels >= 0) & (found.given != Split.TEST))
    # As the data's pixels are, or a grey image would not be known among coloured ones.
    pixels = Target(source, found, channels, data.classes, labeled, labeled).images(labeled)
    every = np.arange(len(labeled))
    known = np.concatenate([splits.train, splits.validation, splits.test])
    copies = copies_among(pixels, every, data.images, known)
    first = np.zeros(len(labeled), bool)
    first[np.unique(groups_of_copies(pixels, every), return_index=True)[1]] = True
    # Here and not above, because a worker that only maps a target need not wait for what finds groups.
    from augsearch.trainers.data.target_groups import halves_of_groups, target_groups

    groups, leaks = target_groups(found, labeled, pixels, data, known, group_by)
    rows = labeled[first & ~copies & ~leaks]
    _check_counts(source, data, found, rows, int((copies | leaks).sum()))
    if groups is None:
        validation, confirmation = halves(rows, found.labels, seed=seed)
    else:
        validation, confirmation = halves_of_groups(source, found, rows, groups, seed)
    target = Target(source, found, channels, data.classes, validation, confirmation)
    repeats = int((~first & ~copies & ~leaks).sum())
    return target, LeftOut(int(copies.sum()), repeats, int((leaks & ~copies).sum()))


def _opened(
    source: str, data: ImageData, cache: Path, skip_bad_images: bool, progress: Progress | None
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
            skip_bad_images=skip_bad_images,
            form=form_like(source, data.form),
            progress=progress,
        )
    except UserError as error:
        raise UserError(f"validation images: {error}") from None
    strangers = [name for name in found.classes if name not in data.classes]
    if strangers:
        raise UserError(
            f"validation images: {source} has classes that {data.name} does not have ({some(strangers, 3)}; "
            f"it has {some(data.classes, 10)}): give the same names to the same classes, and remove others"
        )
    return found


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
    data: ImageData, validation: Indices, confirmation: Indices, *, source: str, cache: Path
) -> Target:
    """Map a target that was opened for ``data`` into this process; ``cache`` is its ``data.cache``."""
    channels = int(data.images.shape[-1])
    return Target(source, load_cache(cache), channels, data.classes, validation, confirmation)
