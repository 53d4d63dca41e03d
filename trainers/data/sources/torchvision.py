"""Data sets that torchvision knows by name."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.decode import BadImageError, fit
from augsearch.trainers.data.form import AS_USUAL, PLAIN, Form, Reading
from augsearch.trainers.data.header import header_of
from augsearch.trainers.data.sources.base import Sample, SourceKind, automatic_side, refuse_layout, spread
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.threads import in_order

PREFIX = "torchvision:"

NAMES_OF_SPLITS = (
    (Split.TRAIN, ("train", "trainval")),
    (Split.VALIDATION, ("val", "valid")),
    (Split.TEST, ("test",)),
    (Split.UNLABELED, ("unlabeled",)),
)
"""What torchvision's data sets call the splits; the first name that a data set knows is taken."""

BROKEN = (BadImageError, OSError, SyntaxError, ValueError)
"""What reading a broken image file raises."""


@dataclass(frozen=True)
class TorchvisionSource:
    """A data set of ``torchvision.datasets``, below ``./data`` or the folder that AUGSEARCH_DATA names."""

    name: str
    folder: None = None
    """Its images are read through torchvision, wherever they lie."""
    form: Form = PLAIN

    def formed(self, form: Form) -> TorchvisionSource:
        """The same data set in another form.

        Raises:
            UserError: that is one of folders or tables.
        """
        refuse_layout(f"{PREFIX}{self.name}", form.layout, "a data set of torchvision")
        return replace(self, form=form)

    @property
    def root(self) -> Path:
        """Where the files lie, or will lie after a download."""
        return Path(os.environ.get("AUGSEARCH_DATA") or "data").expanduser().absolute()

    def signature(self) -> str:
        """Hash of the name and of all files below the root, for which of them are its own nobody says."""
        stamps = []
        for folder, folders, files in os.walk(self.root):
            if {"index.json", "images.npy"} <= set(files):
                continue  # A decoded cache of our own: written after this, and so always changed.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            stamps += [(f"{folder}/{name}", *stamp(f"{folder}/{name}")) for name in sorted(files)]
        version = importlib.metadata.version("torchvision")
        return cache_key(["torchvision", self.name, version, str(self.root), stamps])

    def open(self) -> OpenedTorchvision:
        """Open what is on disk, or download it.

        Raises:
            UserError: there is no such data set, it is not for classification, or it could not be downloaded.
        """
        splits = _splits(self.name, self.root)
        first = _target(splits[0][1])
        if isinstance(first, bool) or not hasattr(first, "__index__"):
            raise UserError(
                f"torchvision:{self.name} is not for classification: its targets are not class numbers"
            )
        names = getattr(splits[0][1], "classes", None) or ()
        classes = tuple(name if isinstance(name, str) else ", ".join(name) for name in names)
        return OpenedTorchvision(classes, splits, self.form.reading)

    def size(self) -> None:
        """To know it, the data set would have to be opened."""

    def unlabeled_folder(self) -> None:
        """Images without labels are among the samples."""

    def unlabeled_truth(self, files: Sequence[str]) -> None:
        """It is not known."""


@dataclass(frozen=True)
class OpenedTorchvision:
    """The splits of a torchvision data set, one after the other."""

    classes: tuple[str, ...]
    splits: tuple[tuple[Split, Any], ...]
    reading: Reading = AS_USUAL

    @property
    def total(self) -> int:
        """How many images there are."""
        return sum(len(dataset) for _, dataset in self.splits)

    def side(self, largest: int) -> int:
        """Choose the side from at most 200 images of the first split."""
        _, dataset = self.splits[0]
        sides = []
        for index in spread(len(dataset)):
            with suppress(*BROKEN):
                sides.append(min(dataset[int(index)][0].size))
        return automatic_side(sides, largest)

    def samples(self, size: int) -> Iterator[Sample]:
        """Decode every image."""

        def sample(place: tuple[Split, Any, int]) -> Sample:
            split, dataset, index = place
            file = f"index {index}" if split is Split.ANY else f"{split.name.lower()} index {index}"
            try:
                image, target = dataset[index]
                header = header_of(image)
                pixels = fit(image, size, reading=self.reading)
            except BROKEN as error:
                return Sample(file, None, -1, split, str(error))
            if split is Split.UNLABELED or target < 0:
                return Sample(file, pixels, -1, Split.UNLABELED, header=header)
            return Sample(file, pixels, int(target), split, header=header)

        places = ((split, dataset, index) for split, dataset in self.splits for index in range(len(dataset)))
        return in_order(sample, places)


def _target(dataset: Any) -> Any:
    """The target of the first image that can be read."""
    for index in range(len(dataset)):
        with suppress(*BROKEN):
            return dataset[index][1]
    return None


def _splits(name: str, root: Path) -> tuple[tuple[Split, Any], ...]:
    """Open every split that the data set has."""
    import torchvision

    dataset = getattr(torchvision.datasets, name, None)
    if not (inspect.isclass(dataset) and issubclass(dataset, torchvision.datasets.VisionDataset)):
        raise UserError(
            f"torchvision has no data set {name}: write its class's name, as in torchvision:CIFAR10"
        )
    parameters = inspect.signature(dataset).parameters
    needed = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if needed != ["root"]:
        raise UserError(
            f"torchvision:{name} does not open by name alone, it takes {', '.join(needed) or 'no root'}: "
            "save it as an .npz file or as class folders"
        )
    if "train" in parameters:
        return tuple(
            (split, _open(name, dataset, root, train=split is Split.TRAIN))
            for split in (Split.TRAIN, Split.TEST)
        )
    if "split" not in parameters:
        return ((Split.ANY, _open(name, dataset, root)),)
    found = [(split, _first_split(name, dataset, root, names)) for split, names in NAMES_OF_SPLITS]
    splits = tuple((split, opened) for split, opened in found if opened is not None)
    if not splits or splits[0][0] is not Split.TRAIN:
        raise UserError(
            f"torchvision:{name} has no split named train: save it as an .npz file or as class folders"
        )
    return splits


def _first_split(name: str, dataset: Any, root: Path, names: tuple[str, ...]) -> Any:
    """Open the split by the first of these names that the data set knows, or return None."""
    for split in names:
        try:
            return _open(name, dataset, root, split=split)
        except _UnknownSplitError:
            continue
    return None


def _open(name: str, dataset: Any, root: Path, **which: Any) -> Any:
    """Open one split from disk, and only if it is not there, download it."""
    can_download = "download" in inspect.signature(dataset).parameters
    try:
        return dataset(root=str(root), **({"download": False} if can_download else {}), **which)
    except ValueError as error:
        if "Valid values are" in str(error):
            raise _UnknownSplitError from error
        raise UserError(f"torchvision:{name} in {root} cannot be read: {error}") from error
    except ImportError as error:
        raise UserError(f"torchvision:{name} needs a package that is not installed: {error}") from error
    except (OSError, RuntimeError) as error:
        absent = error
    try:
        if not can_download:
            raise absent
        return dataset(root=str(root), download=True, **which)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"torchvision:{name} is not in {root} and could not be downloaded ({reason}): put its files "
            "there, or set AUGSEARCH_DATA to the folder that has them"
        ) from error


class _UnknownSplitError(Exception):
    """The data set has no split of this name."""


def find(source: str | None) -> TorchvisionSource | None:
    """``torchvision:NAME``; whether torchvision has it shows when it is opened."""
    if source is None or not source.startswith(PREFIX):
        return None
    return TorchvisionSource(source.removeprefix(PREFIX))


KIND = SourceKind(order=10, given_as="torchvision:NAME", find=find)
