"""An ``.npz`` file of images and labels."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.bands import MOST_BANDS
from augsearch.policies.errors import each
from augsearch.trainers.data.bands import are_bands_first, chosen
from augsearch.trainers.data.dataset import Indices, Split
from augsearch.trainers.data.decode import BadImageError, fit_whole
from augsearch.trainers.data.form import AS_USUAL, PLAIN, Form, Reading
from augsearch.trainers.data.looks import Look, look_at_array
from augsearch.trainers.data.sources.base import (
    Sample,
    SourceKind,
    automatic_side,
    check_classes,
    refuse_layout,
    spread,
)
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.threads import in_order

PREFIX = "index "
"""What begins the name of an image: ``index 17``."""

CHUNK_BYTES = 16 * 2**20
"""Bytes of pixels that are read at a time."""

PARTS = {
    int(part): "undecided" if part is Split.ANY else part.name.lower()
    for part in Split
    if part is not Split.LEFT_OUT
}
"""The codes of splits that arrays may have, in words."""


@dataclass(frozen=True)
class ArraySource:
    """An ``.npz`` file that was found but not opened.

    Its arrays are ``images`` (N, H, W[, C]), ``labels``, and perhaps ``classes``, ``parts``, (N,), codes of
    ``Split``, and ``unlabeled_truth``.
    """

    name: str
    where: str
    """What messages call it."""
    sign: Callable[[], str]
    """Its signature."""
    file: Callable[[], IO[bytes]]
    """Opens it for reading."""
    folder: None = None
    """Its images are no files."""
    form: Form = PLAIN

    def formed(self, form: Form) -> ArraySource:
        """The same arrays in another form.

        Raises:
            UserError: that is one of folders or tables.
        """
        refuse_layout(self.where, form.layout, "an array")
        return replace(self, form=form)

    def signature(self) -> str:
        """Hash of the path, size and time of the file, or of the content where it is embedded."""
        return self.sign()

    def open(self) -> OpenedArrays:
        """Read and check everything but the pixels.

        Raises:
            UserError: an array is missing, or they do not fit together.
        """
        with _reading(self.where), self.file() as file, zipfile.ZipFile(file) as archive:
            missing = {"images.npy", "labels.npy"} - set(archive.namelist())
            if missing:
                names = each(sorted(name.removesuffix(".npy") for name in missing))
                raise UserError(f"{self.where} lacks {names}: save it with np.savez(images=..., labels=...)")
            with archive.open("images.npy") as member:
                shape, _, dtype = _header(member)
            _check_images(self.where, shape, dtype)
            looked_at = dtype.kind in "uif" and (dtype.itemsize > 1 or shape[-1] == 4)
            labels, classes = _labels(
                self.where, _array(archive, "labels"), _array(archive, "classes"), shape[0]
            )
            labels, splits = _splits(self.where, labels, _array(archive, "parts"))
        check_classes(self.where, classes, labels)
        return OpenedArrays(self, shape, classes, labels, splits, looked_at, self.form.reading)

    def size(self) -> tuple[int, int]:
        """Width and height of the images, by the shape of their array."""
        _, height, width = self.open().shape[:3]
        return width, height

    def unlabeled_folder(self) -> None:
        """There is none."""

    def unlabeled_truth(self, files: Sequence[str]) -> Indices | None:
        """The array ``unlabeled_truth``, which has a class for each image without a label, in their order."""
        with _reading(self.where), self.file() as file, zipfile.ZipFile(file) as archive:
            truth = _array(archive, "unlabeled_truth")
        if truth is None:
            return None
        opened = self.open()
        unlabeled = np.flatnonzero(opened.labels < 0)
        fits = truth.shape == unlabeled.shape and truth.dtype.kind in "iu"
        if not fits or ((truth < -1) | (truth >= len(opened.classes))).any():
            raise UserError(
                f"unlabeled_truth of {self.where} must be {len(unlabeled)} whole numbers from -1 to "
                f"{len(opened.classes) - 1}, one for each image without a label: correct it, or leave it out"
            )
        every = np.full(opened.total, -1, np.int64)
        every[unlabeled] = truth
        return every[[int(file.removeprefix(PREFIX)) for file in files]]


@dataclass(frozen=True, eq=False)
class OpenedArrays:
    """An ``.npz`` file whose arrays were checked, all but the pixels."""

    source: ArraySource
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    labels: Indices
    splits: NDArray[np.int8]
    """(N,), codes of ``Split``."""
    looked_at: bool = False
    """Whether pixels may be transparent or have more than 8 bits."""
    reading: Reading = AS_USUAL

    def read_as(self, reading: Reading) -> OpenedArrays:
        """The same, read in another way."""
        return replace(self, reading=reading)

    def looks(self) -> Iterator[tuple[str, Look]]:
        """Look at 200 images at most, where there is something to see."""
        if not self.looked_at:
            return
        wanted = set(spread(self.total).tolist())
        for index, values in enumerate(self._rows()):
            if index in wanted:
                yield f"{PREFIX}{index}", look_at_array(chosen(values, self.reading), self.reading)

    @property
    def total(self) -> int:
        """How many images there are."""
        return self.shape[0]

    def side(self, largest: int) -> int:
        """Choose the side from the shape of the array."""
        side = max if self.reading.fit == "pad" else min
        return automatic_side([side(self.shape[1:3])], largest)

    def samples(self, size: int) -> Iterator[Sample]:
        """Decode every image; of an array in C order only a few megabytes are in memory at a time."""

        def sample(numbered: tuple[int, NDArray[Any]]) -> Sample:
            index, values = numbered
            file, label, split = f"{PREFIX}{index}", int(self.labels[index]), Split(self.splits[index])
            try:
                pixels, header = fit_whole(chosen(values, self.reading), size, self.reading)
                return Sample(file, pixels, label, split, header=header)
            except BadImageError as error:
                return Sample(file, None, label, split, str(error))

        return in_order(sample, enumerate(self._rows()))

    def _rows(self) -> Iterator[NDArray[Any]]:
        with (
            _reading(self.source.where),
            self.source.file() as file,
            zipfile.ZipFile(file) as archive,
            archive.open("images.npy") as member,
        ):
            shape, fortran, dtype = _header(member)
            if fortran:
                yield from _array(archive, "images")
                return
            row = dtype.itemsize * int(np.prod(shape[1:]))
            rows = max(1, CHUNK_BYTES // row)
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                # reshape raises ValueError if the file is shorter than its header says.
                values = np.frombuffer(member.read(count * row), dtype)
                yield from values.reshape(count, *shape[1:])


def find(source: str | None) -> ArraySource | None:
    """The ``.npz`` file at the path ``source``, if it is one."""
    if source is None:
        return None
    path = Path(source).expanduser()
    if path.suffix.lower() != ".npz" or path.is_dir() or not path.exists():
        return None
    resolved = path.resolve()
    return ArraySource(
        name=path.stem,
        where=str(path),
        sign=lambda: cache_key(["npz", str(resolved), *stamp(resolved)]),
        file=lambda: resolved.open("rb"),
    )


KIND = SourceKind(order=30, given_as="an .npz file", find=find)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Say of whatever a damaged file raises that the file is damaged."""
    try:
        yield
    except UserError:
        raise
    except zipfile.BadZipFile as error:
        raise UserError(f"{where} is not an .npz file, or is damaged ({error})") from error
    except (OSError, ValueError, EOFError, zlib.error, RuntimeError) as error:
        raise UserError(f"{where} cannot be read: {error}") from error


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether it is in Fortran order, and type from the start of an ``.npy`` stream."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    """Read a whole array, or None if the file has no such array."""
    if f"{name}.npy" not in archive.namelist():
        return None
    with archive.open(f"{name}.npy") as member:
        try:
            return np.lib.format.read_array(member, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"array {name}: {error}") from error


def _check_images(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if (dtype.kind not in "fub" and dtype != np.int16) or (dtype.kind == "u" and dtype.itemsize > 2):
        raise UserError(f"images of {where} must be uint8, uint16, int16, bool or floats, got {dtype}")
    first = len(shape) == 4 and are_bands_first(shape[1:])
    if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] > MOST_BANDS) or first or 0 in shape:
        advice = "; move the channels last with images.transpose(0, 2, 3, 1)" if first else ""
        raise UserError(
            f"images of {where} must have the shape (N, H, W) or (N, H, W, C) with C up to {MOST_BANDS}, "
            f"got {shape}{advice}"
        )


def _labels(
    where: str, labels: NDArray[Any], names: NDArray[Any] | None, total: int
) -> tuple[Indices, tuple[str, ...]]:
    """Turn numbers or names into labels 0..K-1, with -1 for unlabeled, and the names of the classes."""
    if labels.shape not in {(total,), (total, 1)}:
        raise UserError(f"{where} has {total} images, but its labels have the shape {labels.shape}")
    labels = labels.reshape(total)
    classes = None if names is None else tuple(_text(name) for name in names.ravel())
    if classes is not None and len(set(classes)) != len(classes):
        raise UserError(f"classes of {where} must have different names, got {', '.join(classes)}")
    if labels.dtype.kind in "US":
        return _named(where, [_text(label) for label in labels], classes)
    if labels.dtype.kind not in "iub":
        raise UserError(f"labels of {where} must be whole numbers or names, got {labels.dtype}")

    known = np.inf if classes is None else len(classes)
    outside = (labels < -1) | (labels >= known)
    if outside.any():
        index = int(np.argmax(outside))
        raise UserError(
            f"labels out of range: {where} has the label {labels[index]} at index {index}, "
            + ("the least is -1" if classes is None else f"its {len(classes)} classes are 0..{known - 1}")
        )
    numbers = np.unique(labels[labels >= 0])
    if classes is None and len(numbers) and numbers[-1] != len(numbers) - 1:
        gap = int(np.argmax(numbers != np.arange(len(numbers))))
        index = int(np.argmax(labels == numbers[gap]))
        raise UserError(
            f"labels out of range: {where} has the label {numbers[gap]} at index {index} but no label {gap}: "
            "number the classes from 0 without gaps"
        )
    return labels.astype(np.int64), classes or tuple(str(number) for number in numbers)


def _named(where: str, labels: list[str], classes: tuple[str, ...] | None) -> tuple[Indices, tuple[str, ...]]:
    """Number labels that are names of classes."""
    classes = classes or tuple(sorted(set(labels)))
    numbers = {name: number for number, name in enumerate(classes)}
    for index, label in enumerate(labels):
        if label not in numbers:
            raise UserError(
                f"{where} has the label '{label}' at index {index}, which is not among its classes"
            )
    return np.array([numbers[label] for label in labels], np.int64), classes


def _splits(where: str, labels: Indices, codes: NDArray[Any] | None) -> tuple[Indices, NDArray[np.int8]]:
    """The codes of splits and the labels, with -1 for exactly the unlabeled images."""
    if codes is None:
        codes = np.full(len(labels), Split.ANY, np.int8)
    if codes.shape != labels.shape or codes.dtype.kind not in "iu" or not np.isin(codes, list(PARTS)).all():
        told = ", ".join(f"{code} {said}" for code, said in PARTS.items())
        raise UserError(f"parts of {where} must be {len(labels)} numbers in 0..{max(PARTS)}: {told}")
    unlabeled = (labels < 0) | (codes == Split.UNLABELED)
    return np.where(unlabeled, -1, labels), np.where(unlabeled, Split.UNLABELED, codes).astype(np.int8)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
