"""What a task reads beside its workspace, such as original photos: told apart from its arguments.

So a machine that sees none of these files can be sent them, and run the task on the files that came.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.data.views import Decoded, OnDisk, Pixels
from augsearch.trainers.workspace.manifest import with_card

_KEPT = "kept"
"""The folder, among the files that came, of photos that are kept scaled down."""


@runtime_checkable
class ReadsPixels(Protocol):
    """An argument of a task that has images of its own."""

    def pixels_read(self) -> Iterable[tuple[Pixels, Indices]]:
        """Its images, and which of them it reads: no others travel."""


@runtime_checkable
class Moves(ReadsPixels, Protocol):
    """The first argument of a task that reads more than its workspace."""

    @property
    def workspace(self) -> Path:
        """Its folder."""

    def files_read(self) -> Mapping[str, Path]:
        """Files of models and weights that were given, by field."""

    def moved(self, workspace: Path, files: Mapping[str, Path]) -> Self:
        """The same on a machine that has the workspace, and the files of each field, elsewhere."""


@dataclass(frozen=True, slots=True)
class _WithoutFiles:
    """Pixels that lie in files, without these."""

    name: str
    """Where the files lie among those of the task: a folder of files that are named by their row, or one
    array."""
    count: int
    files: OnDisk | None
    """How they are read; None: they are decoded."""

    def at(self, folder: Path) -> Pixels:
        """The pixels on a machine where the task's files lie in ``folder``."""
        if self.files is None:
            return Decoded.mapped(folder / self.name)
        paths = [folder / self.name / str(row) for row in range(self.count)]
        return replace(self.files, paths=paths, kept_in=self.files.kept_in and folder / _KEPT)


@dataclass(frozen=True, slots=True)
class Apart:
    """The arguments of a task, without the files that they name."""

    pickled: bytes
    pixels: tuple[_WithoutFiles, ...]
    given: dict[str, str]
    """The names of models and weights, by field."""

    def arguments(self, workspace: Path, folder: Path) -> tuple[Any, ...]:
        """The arguments on a machine that has the ``workspace`` there, and the task's files in ``folder``."""
        stores = [one.at(folder) for one in self.pixels]
        first, *others = _Unpickler(self.pickled, stores).load()
        given = {field: folder / name for field, name in self.given.items()}
        return first.moved(workspace, given), *others


def told_apart(arguments: tuple[Any, ...]) -> tuple[Apart, dict[str, Path]]:
    """The arguments of a task, the first of which ``Moves``, and its files by the names they will have."""
    stores: list[Pixels] = []
    apart: list[_WithoutFiles] = []
    files: dict[str, Path] = {}
    for pixels, rows in _read_by(arguments):
        number = len(stores)
        if isinstance(pixels, OnDisk):
            files |= {f"{number}/{row}": pixels.paths[row] for row in rows.tolist()}
            bare = replace(pixels, paths=(), kept_in=pixels.kept_in and Path(_KEPT))
            apart.append(_WithoutFiles(str(number), len(pixels.paths), bare))
        elif isinstance(pixels, Decoded) and pixels.file is not None:
            files[f"{number}.npy"] = pixels.file
            apart.append(_WithoutFiles(f"{number}.npy", len(pixels.images), None))
        else:
            continue  # what lies in memory goes with the arguments
        stores.append(pixels)
    given: dict[str, Path] = arguments[0].files_read()
    # Fields that name one file go on naming one: it is asked whether they do.
    names = {file: f"given/{number}/{file.name}" for number, file in enumerate(dict.fromkeys(given.values()))}
    for file, name in names.items():
        files |= dict(with_card(name, file))
    packing = _Pickler(stores)
    packing.dump(arguments)
    without = Apart(packing.pickled, tuple(apart), {field: names[file] for field, file in given.items()})
    return without, {name: file.absolute() for name, file in files.items()}


def _read_by(arguments: tuple[Any, ...]) -> list[tuple[Pixels, Indices]]:
    """All images that are read, each once, and which of them."""
    found: dict[int, tuple[Pixels, list[Indices]]] = {}
    for one in arguments:
        if isinstance(one, ReadsPixels):
            for pixels, rows in one.pixels_read():
                found.setdefault(id(pixels), (pixels, []))[1].append(rows)
    return [(pixels, np.unique(np.concatenate(rows))) for pixels, rows in found.values()]


class _Pickler(pickle.Pickler):
    """Has numbers for pixels that lie in files."""

    def __init__(self, stores: Sequence[Pixels]) -> None:
        self._buffer = io.BytesIO()
        super().__init__(self._buffer)
        self._numbers = {id(store): number for number, store in enumerate(stores)}

    def persistent_id(self, found: Any) -> int | None:
        return self._numbers.get(id(found))

    @property
    def pickled(self) -> bytes:
        return self._buffer.getvalue()


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, stores: Sequence[Pixels]) -> None:
        super().__init__(io.BytesIO(content))
        self._stores = stores

    def persistent_load(self, number: int) -> Pixels:
        return self._stores[number]
