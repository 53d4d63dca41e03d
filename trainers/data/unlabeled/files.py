"""The paths of many files, in a file that all processes map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class Names(Sequence[str]):
    """Many names in a file that all processes map; pickling them sends the path of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if self._ends[-1] != len(self._text):
            raise ValueError("the names are not all there")

    @cached_property
    def _text(self) -> NDArray[np.uint8]:
        text: NDArray[np.uint8] = np.load(self._folder / "names.npy", mmap_mode="r", allow_pickle=False)
        return text

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        ends: NDArray[np.int64] = np.load(self._folder / "ends.npy", mmap_mode="r", allow_pickle=False)
        return ends

    @classmethod
    def write(cls, names: Iterable[str], folder: Path) -> None:
        """Write ``names``, one at least, into ``folder``, to be read from there."""
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        np.save(folder / "names.npy", np.frombuffer(b"".join(encoded), np.uint8))
        np.save(folder / "ends.npy", np.cumsum([len(name) for name in encoded], dtype=np.int64))

    @classmethod
    def later(cls, folder: Path) -> Names:
        """The names in ``folder``, which nobody looks into before one is asked for."""
        names = cls.__new__(cls)
        names._folder = folder
        return names

    def __reduce__(self) -> tuple[Any, ...]:
        return Names.later, (self._folder,)  # they may be sent to a machine that has no such folder

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        return bytes(self._text[start : int(self._ends[place])]).decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class PathsBelow(Sequence[Path]):
    """The paths of ``names`` in the folder ``root``."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.root / name for name in self.names[index]]
        return self.root / self.names[index]
