"""Opening images that nobody labeled: where they lie, which of them may be learned from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.cache import PROGRESS_EVERY, written_whole
from augsearch.trainers.data.dataset import SMALL_SIDE, ImageData, Indices, Progress, in_cache
from augsearch.trainers.data.duplicates import copies_among
from augsearch.trainers.data.form import Reading
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.data.sources.folders import Listing, list_images
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.data.unlabeled.cache import DecodedFiles, ListedFiles, decode_files
from augsearch.trainers.data.unlabeled.files import Names, PathsBelow
from augsearch.trainers.data.unlabeled.held_out import HeldOut
from augsearch.trainers.data.views import Decoded, OnDisk, Pixels
from augsearch.trainers.system.hashing import cache_key, content_key, hashed_files, hex_hash
from augsearch.trainers.system.names import printable

MOST_DECODED = 50_000
"""Images up to which all are decoded at once, if they are small; of 64 pixels that is 600 MB."""

FORMAT = 3
"""Version of what is kept in the cache; 1 left transparency out, 2 took what means no data for values."""

SAMPLING = 2
"""Goes into the seed of the sample, so that it shares its random numbers with no shuffle of ``splits``."""


@dataclass(frozen=True, eq=False)
class Unlabeled:
    """Images that nobody labeled, ready to learn from."""

    name: str
    """What people call them."""
    pixels: Pixels
    """All of them and perhaps others, at one side, with as many channels as the labeled ones."""
    chosen: Indices
    """Sorted indices into ``pixels``: those that may be learned from."""
    truth: Indices
    """(number in ``pixels``,), labels where they are known, else -1; for reports alone."""
    refused: int
    """How many were left out because they are also in validation, confirmation or test."""
    found: int
    """How many there are, before sampling and refusing."""
    fingerprint: str
    """Hex; another one when the images to learn from change."""
    _places: Sequence[str] = field(repr=False)
    """How a person finds each image: its path in ``_root``, or its index."""
    _root: Path | None = field(repr=False)
    _keys: NDArray[np.uint8] | None = field(repr=False)
    """(number in ``pixels``, 16): the files' keys, where they are known."""
    _left_out: tuple[str, ...] = field(default=(), repr=False)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """``path: reason`` of those left out because they can't be read, as far as this process knows."""
        later = sorted(self.pixels.unreadable.items()) if isinstance(self.pixels, OnDisk) else ()
        return self._left_out + tuple(f"{printable(self._places[row])}: {why}" for row, why in later)

    def without_names(self) -> Unlabeled:
        """The same on a machine that knows no names of them: each is called by its number."""
        names = [f"image {row}" for row in range(len(self.truth))]
        return replace(self, _places=names, _root=None)

    def files(self, index: int) -> str:
        """How a person finds image ``index`` of ``pixels``: its path, or its place in the source."""
        place = self._places[index]
        return printable(place if self._root is None else str(self._root / place))

    def keys(self, indices: Indices) -> list[bytes]:
        """What tells images by content, 16 bytes each: BLAKE2b of the file's bytes, or of shape and pixels.

        Empty for a file that can't be opened.
        """
        if self._keys is not None:
            return [row.tobytes() for row in self._keys[indices]]
        if isinstance(self.pixels, OnDisk):
            return self.pixels.keys(indices)
        shape = str(self._images.shape[1:]).encode()
        return [content_key(shape + self._images[index].tobytes()) for index in indices]

    def has_some_of(self, data: ImageData, rows: Indices) -> bool:
        """Whether some that may be learned from are copies of images of ``rows`` of ``data``, or of one group
        with one of them.

        They must be decoded. At another side than that of ``data`` no copies are known.
        """
        is_part = self._root is None and len(self.truth) == len(data.labels)
        if is_part and data.groups is not None and np.isin(data.groups[self.chosen], data.groups[rows]).any():
            return True
        return bool(copies_among(self._images, self.chosen, data.images, rows).any())

    def readable(self, groups: Iterable[Indices]) -> Iterator[tuple[Indices, NDArray[np.uint8]]]:
        """For each of ``groups`` of indices, those that can be read, and their images, uint8 (B, S, S, C).

        Where files are read, that is done in threads that run a little ahead.
        """
        if isinstance(self.pixels, OnDisk):
            yield from self.pixels.readable(groups)
        else:
            for indices in groups:
                yield indices, self._images[indices]

    @property
    def _images(self) -> NDArray[np.uint8]:
        assert isinstance(self.pixels, Decoded)
        return self.pixels.images


@dataclass(frozen=True, slots=True)
class HowOpened:
    """How many of the images without labels are opened, and how."""

    side: int | None = None
    """In pixels; None: that of the labeled images."""
    most: int | None = None
    """Take a sample of at most this many, and decode it; None: all of them, which are decoded only if they
    are no more than 50,000 and no larger than 64 pixels, and else read when they are wanted."""
    seed: int = 0
    """Decides which are in the sample."""

    def sample(self, rows: Indices) -> Indices:
        """At most ``most`` of ``rows``, in their order; the same each time."""
        if self.most is None or len(rows) <= self.most:
            return rows
        rng = np.random.default_rng([self.seed, SAMPLING])
        return np.sort(rng.choice(rows, self.most, replace=False))


ALL_OF_THEM = HowOpened()
"""All images, at the side of the labeled ones."""


def open_unlabeled(
    source: str | None,
    data: ImageData,
    splits: Splits,
    *,
    folder: Path | None,
    cache: Path,
    how: HowOpened = ALL_OF_THEM,
    target: Target | None = None,
    progress: Progress | None = None,
) -> Unlabeled | None:
    """Find the unlabeled images that belong to a data set, and open them; None where there are none.

    They are those anywhere below ``folder``; without one, the rows of ``data`` that have no label; without
    those, what the source keeps beside its samples, as a folder does in ``unlabeled/``. Images whose content
    is that of a validation, confirmation or test image, or of one of the target's, are left out: files are
    compared by their bytes, and what is decoded at the labeled images' side by its pixels too. Copies of
    training images stay.

    Args:
        source: what ``data`` was opened from.
        data: the labeled images.
        splits: how they are divided.
        folder: where to look instead.
        cache: the folder that holds the decoded caches; made if need be.
        how: of which size, and how many.
        target: what is scored on instead of the validation and confirmation images, if there is one.
        progress: called while decoding, and not at all on a cache hit.

    Raises:
        UserError: a folder is missing or has no images, none can be read, or the cache cannot be written.
    """
    side = how.side or int(data.images.shape[1])
    if folder is not None:
        folder = folder.expanduser()
        _check_folder(folder)
    elif len(splits.unlabeled):
        return _of_rows(source, data, splits.unlabeled, HeldOut.of(None, data, splits, target), cache, how)
    else:
        folder = find_source(source, data.form).unlabeled_folder()
    if folder is None:
        return None
    listing = list_images(folder)
    if not len(listing):
        raise UserError(f"{folder} has no images: add some, or remove it")
    held_out = HeldOut.of(image_paths(source, data), data, splits, target)
    files = _Files(folder, listing, data, held_out, cache, side)
    if how.most is not None or (len(listing) <= MOST_DECODED and side <= SMALL_SIDE):
        return files.decoded(how.sample(np.arange(len(listing))), progress)
    return files.on_disk(progress)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        wrong = "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"the folder of unlabeled images {folder} {wrong}: give one that has images")


def _of_rows(
    source: str | None,
    data: ImageData,
    rows: Indices,
    held_out: HeldOut,
    cache: Path,
    how: HowOpened,
) -> Unlabeled:
    """The rows of a data set that have no label."""
    copies = held_out.same_pixels(data.images, rows)
    chosen = how.sample(rows[~copies])
    held = data
    if how.side is not None and how.side != data.images.shape[1]:
        held = open_images(
            source,
            image_size=how.side,
            cache=cache,
            skip_bad_images=bool(data.skipped),
            form=data.form,
        )
    return Unlabeled(
        name=f"the unlabeled part of {data.name}",
        pixels=Decoded(held.images),
        chosen=chosen,
        truth=_truth_of_rows(source, data),
        refused=int(copies.sum()),
        found=len(rows),
        fingerprint=_fingerprint(held.fingerprint, chosen),
        _places=data.files,
        _root=None,
        _keys=None,
    )


def _truth_of_rows(source: str | None, data: ImageData) -> Indices:
    """What the source says of the images that it gives no label."""
    found = find_source(source, data.form)
    truth = found.unlabeled_truth(data.files)
    if truth is None:
        return np.full(len(data.labels), -1, np.int64)
    # Classes that are too rare may have been left out of the data; then their images' is not known.
    numbers = [data.classes.index(name) if name in data.classes else -1 for name in found.open().classes]
    return np.where(truth < 0, -1, np.array(numbers, np.int64)[truth])


def _fingerprint(content: str, chosen: Indices) -> str:
    return hex_hash(content.encode(), chosen.astype("<i8").tobytes())


@dataclass(frozen=True, eq=False)
class _Files:
    """Unlabeled image files, and what they are to be opened for."""

    folder: Path
    listing: Listing
    data: ImageData
    held_out: HeldOut
    cache: Path
    side: int

    def decoded(self, rows: Indices, progress: Progress | None) -> Unlabeled:
        """The files of ``rows``, decoded."""
        listing = self.listing if len(rows) == len(self.listing) else self.listing.take(rows)
        read = self._reading.model_dump(mode="json")
        key = cache_key(["unlabeled", FORMAT, listing.signature(), self.side, self._channels, read])[:24]
        target = self.cache.absolute() / key
        held = in_cache(target, DecodedFiles)
        if held is None:
            with written_whole(target, DecodedFiles) as partial:
                decode_files(listing, (self.side, self._channels), self._reading, partial, progress)
            held = DecodedFiles(target)
        every = np.arange(len(held.files))
        refused = self.held_out.same_pixels(held.images, every) | self._same_bytes(listing, held)
        return Unlabeled(
            name=str(self.folder),
            pixels=Decoded(held.images),
            chosen=every[~refused],
            truth=self._truth(held.files),
            refused=int(refused.sum()),
            found=len(self.listing),
            fingerprint=_fingerprint(held.fingerprint, every[~refused]),
            _places=held.files,
            _root=listing.root,
            _keys=held.keys,
            _left_out=held.unreadable,
        )

    def on_disk(self, progress: Progress | None) -> Unlabeled:
        """All of them, to be read when they are wanted."""
        held_out = [*map(str, self.held_out.paths), self.held_out.stamps.tolist()]
        signature = self.listing.signature()
        target = self.cache.absolute() / cache_key(["unlabeled files", FORMAT, signature, held_out])[:24]
        held = in_cache(target, ListedFiles)
        if held is None:
            with written_whole(target, ListedFiles) as partial:
                Names.write(self.listing.files, partial)
                np.save(partial / "refused.npy", self._copies(progress))
            held = ListedFiles(target)
        chosen = np.delete(np.arange(len(self.listing)), held.refused)
        return Unlabeled(
            name=str(self.folder),
            pixels=OnDisk(
                PathsBelow(self.listing.root, held.names),
                self.side,
                self._channels,
                True,
                reading=self._reading,
            ),
            chosen=chosen,
            truth=self._truth(self.listing.files),
            refused=len(held.refused),
            found=len(self.listing),
            fingerprint=_fingerprint(signature, chosen),
            _places=held.names,
            _root=self.listing.root,
            _keys=None,
        )

    @property
    def _channels(self) -> int:
        return int(self.data.images.shape[-1])

    @property
    def _reading(self) -> Reading:
        return self.data.form.reading

    def _same_bytes(self, listing: Listing, held: DecodedFiles) -> NDArray[np.bool_]:
        """Which of the decoded files are copies of held-out ones."""
        keys = self.held_out.keys(listing.sizes)
        return np.array([row.tobytes() in keys for row in held.keys], bool)

    def _copies(self, progress: Progress | None) -> Indices:
        """Rows of all files that are copies of held-out ones; only those of the same size are read."""
        alike = self.held_out.same_size(self.listing)
        keys = self.held_out.keys(self.listing.sizes[alike])
        copies: list[int] = []
        for start in range(0, len(alike), PROGRESS_EVERY):
            rows = alike[start : start + PROGRESS_EVERY]
            found = hashed_files([self.listing.root / self.listing.files[row] for row in rows])
            copies += [int(row) for row, key in zip(rows, found, strict=True) if key in keys]
            if progress is not None:
                progress(min(start + PROGRESS_EVERY, len(alike)), len(alike))
        return np.array(copies, np.int64)

    def _truth(self, files: Sequence[str]) -> Indices:
        """The class of each file whose first folder has the name of one."""
        numbers = {name: number for number, name in enumerate(self.data.classes)}
        return np.array([numbers.get(file.partition("/")[0], -1) for file in files], np.int64)
