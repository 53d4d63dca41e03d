"""Writing a decoded data set so that it is there whole, or not at all."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.atomic import sync
from augsearch.policies.bands import COLOURS, may_become
from augsearch.policies.errors import OWN_PLACE, lacks_right
from augsearch.trainers.data.dataset import (
    CACHE_FORMAT,
    WEIGHTS,
    ImageData,
    Indices,
    Progress,
    Weights,
    load_cache,
)
from augsearch.trainers.data.decode import BadImageError, pillow_without_warnings
from augsearch.trainers.data.form import PLAIN, Form
from augsearch.trainers.data.no_data import Gaps
from augsearch.trainers.data.sources.base import OpenedSource, Sample, check_classes
from augsearch.trainers.system.hashing import growing_hash, hex_hash
from augsearch.trainers.system.names import printable

PARTIAL = ".partial-"
ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a write after which a partial folder is taken for that of a process that was killed."""

PROGRESS_EVERY = 64
"""Images after which it is said how many are done."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a data set is decoded."""

    name: str
    """What people call it."""
    size: int
    """Side of the decoded images in pixels."""
    skip_bad_images: bool
    """Go on without those that can't be read, instead of giving up."""
    progress: Progress | None
    form: Form = PLAIN
    notes: tuple[str, ...] = ()


def write_cache(opened: OpenedSource, target: Path, how: Decoding) -> None:
    """Decode a data set into the folder ``target``, for ``load_cache`` to map.

    Raises:
        UserError: images cannot be read, or the cache cannot be written.
    """
    with written_whole(target, load_cache) as partial, pillow_without_warnings():
        _decode(opened, partial, how)


@contextmanager
def written_whole(target: Path, load: Callable[[Path], object]) -> Iterator[Path]:
    """Give a hidden folder to write into, which becomes ``target`` when all of it is written.

    A process that is killed leaves only that hidden folder, which a later call removes. Of two processes that
    write the same target, the first to finish wins and the other's work is dropped.

    Args:
        target: made if the block ends well, and not at all otherwise.
        load: raises UserError if what another process meanwhile wrote as ``target`` is damaged.

    Raises:
        UserError: it cannot be written.
    """
    partial = target.with_name(f"{PARTIAL}{target.name}-{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True)
        _remove_abandoned(target.parent)
        yield partial
        for path in partial.iterdir():
            sync(path)
        _take_the_name(partial, target, load)
    except OSError as error:
        raise UserError(
            f"cannot write the cache of decoded images in {target.parent}: {error.strerror or error}; "
            f"{OWN_PLACE if lacks_right(error) else 'free some space there, or work in another folder'}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _decode(opened: OpenedSource, folder: Path, how: Decoding) -> None:
    """Write everything that makes a cache."""
    kept: list[Sample] = []
    bad: list[Sample] = []
    gaps = Gaps()
    with PixelFile(folder / "images.npy", how.size) as pixels:
        for done, sample in enumerate(opened.samples(how.size), 1):
            if sample.pixels is None:
                bad.append(sample)
            # After a first bad image the rest are decoded only to count the bad ones among them.
            elif how.skip_bad_images or not bad:
                added = _appended(sample, pixels)
                (bad if added.reason else kept).append(added)
                gaps.add(0.0 if added.reason or sample.header is None else sample.header.missing)
            if how.progress is not None and (done % PROGRESS_EVERY == 0 or done == opened.total):
                how.progress(done, opened.total)
    if bad and not how.skip_bad_images:
        raise UserError(_complaint(how.name, bad, opened.total))

    labels = np.array([sample.label for sample in kept], np.int64)
    given = np.array([sample.split for sample in kept], np.int8)
    numbers = range(int(labels.max(initial=-1)) + 1)
    named = len(opened.classes) >= len(numbers)
    classes = opened.classes if named else tuple(str(number) for number in numbers)
    check_classes(how.name, classes, labels)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "given.npy", given)
    if any(sample.group for sample in kept):
        np.save(folder / "groups.npy", numbered([sample.group for sample in kept]))
    weights = _weights(kept)
    if weights is not None:
        np.save(folder / WEIGHTS, weights)
    index = {
        "format": CACHE_FORMAT,
        "name": how.name,
        "classes": classes,
        "fingerprint": _fingerprint(pixels.digest, labels, given, classes, weights),
        "files": [sample.file for sample in kept],
        "skipped": [f"{printable(sample.file)}: {sample.reason}" for sample in bad],
        "form": how.form.model_dump(mode="json"),
        "notes": (*how.notes, *gaps.in_words(how.form.reading)),
    }
    (folder / "index.json").write_text(json.dumps(index), "utf-8")


def _appended(sample: Sample, pixels: PixelFile) -> Sample:
    """``sample`` after its pixels were written, or with the reason why they can't stand beside the others."""
    try:
        pixels.append(np.asarray(sample.pixels))
    except BadImageError as error:
        return replace(sample, pixels=None, reason=str(error))
    return replace(sample, pixels=None, header=None)


def copied_weights(data: ImageData, folder: Path) -> None:
    """Write the weights of ``data``, if it has some, into the cache of another that has its images."""
    if data.weights is not None:
        np.save(folder / WEIGHTS, data.weights)


def linked(source: Path, target: Path) -> None:
    """The same file in another folder, or a copy where a disk has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def numbered(groups: Sequence[str]) -> Indices:
    """(N,): a number for each name of a group, and one of its own for each image that has none."""
    numbers: dict[str | int, int] = {}
    return np.array(
        [numbers.setdefault(name or place, len(numbers)) for place, name in enumerate(groups)], np.int64
    )


class PixelFile:
    """An ``.npy`` file of ``size`` × ``size`` images that grows by one image at a time.

    It has ``channels``, 1 or 3, but three as soon as a coloured image comes; and if its first image has
    another number of them, bands, as many as that.

    It is appended to, not memory-mapped: a full disk is then an error and not the death of the process.
    """

    def __init__(self, path: Path, size: int, channels: int = 1) -> None:
        self._path = path
        self._shape = (0, size, size, channels)
        self._hash = growing_hash(f"{size}".encode())
        self._file = path.open("wb")
        self._file.write(self._header())

    def __enter__(self) -> PixelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    @property
    def digest(self) -> bytes:
        """The hash of the pixels so far, 64 bytes."""
        return self._hash.digest()

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """Add an image, uint8 (S, S, 1) or (S, S, 3), or of as many bands as the first.

        Raises:
            BadImageError: it has another number of bands.
        """
        channels, own = pixels.shape[-1], self._shape[-1]
        if channels not in COLOURS and not self._shape[0]:
            self._shape = (*self._shape[:-1], channels)
        elif not may_become(channels, own):
            raise BadImageError(f"has {channels} channels instead of {own}, which the first has")
        self._hash.update(bytes([channels]))
        self._hash.update(np.ascontiguousarray(pixels).data)
        if channels > self._shape[-1]:
            self._widen()
        self._write(pixels)
        self._shape = (self._shape[0] + 1, *self._shape[1:])

    def _write(self, pixels: NDArray[np.uint8]) -> None:
        row = np.broadcast_to(pixels, self._shape[1:])
        self._file.write(np.ascontiguousarray(row).data)

    def _widen(self) -> None:
        """Write the grey images so far again, with three channels."""
        self.__exit__()
        grey = self._path.with_name("grey.npy")
        self._path.rename(grey)
        self._shape = (*self._shape[:-1], 3)
        self._file = self._path.open("wb")
        self._file.write(self._header())
        for image in np.load(grey, mmap_mode="r") if self._shape[0] else ():
            self._write(image)
        grey.unlink()

    def _header(self) -> bytes:
        """The header, which NumPy pads so that its length does not depend on the number of images."""
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        )
        return buffer.getvalue()


def _complaint(name: str, bad: list[Sample], total: int) -> str:
    """Say in one line which images cannot be read and what to do."""
    first = f"{printable(bad[0].file)} ({bad[0].reason})"
    if len(bad) == 1:
        return f"{name}: cannot read {first}: repair or remove it, or go on without it with --skip-bad-images"
    return (
        f"{name}: cannot read {len(bad)} of {total} images, the first is {first}: "
        "repair or remove them, or go on without them with --skip-bad-images"
    )


def _weights(kept: Sequence[Sample]) -> Weights | None:
    """(N,): those of a data set that has some; None: it has none."""
    if all(sample.weight is None for sample in kept):
        return None
    return np.array([1.0 if sample.weight is None else sample.weight for sample in kept])


def _fingerprint(
    pixels: bytes,
    labels: Indices,
    given: NDArray[np.int8],
    classes: tuple[str, ...],
    weights: Weights | None,
) -> str:
    """The hash of a data set's content: pixels, labels, splits, class names, weights if it has some."""
    parts = [pixels, labels.astype("<i8").tobytes(), given.tobytes(), json.dumps(classes).encode()]
    return hex_hash(*parts, *([] if weights is None else [weights.astype("<f8").tobytes()]))


def _take_the_name(partial: Path, target: Path, load: Callable[[Path], object]) -> None:
    """Move a complete cache into place."""
    try:
        partial.rename(target)
    except OSError:
        with suppress(UserError):
            load(target)
            return
        # What is there is damaged, or it would have been a hit.
        damaged = target.with_name(f"{partial.name}-damaged")
        target.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        partial.rename(target)


def _remove_abandoned(cache: Path) -> None:
    """Remove the partial folders of processes that were killed."""
    for folder in abandoned(cache):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(cache: Path) -> Iterator[Path]:
    """The partial folders in ``cache`` that nobody has written to for a day."""
    for folder in cache.glob(f"{PARTIAL}*"):
        # It may be moved into place or removed by its owner while it is looked at.
        with suppress(OSError):
            touched = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - touched > ABANDONED_AFTER:
                yield folder
