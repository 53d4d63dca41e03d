"""Photos scaled down once and kept: a training that crops them anew in every epoch decodes none twice."""

from __future__ import annotations

import os
import shutil
import threading
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import DECODING
from augsearch.trainers.data.decode import BadImageError, decode_shrunk, shrunk_size, size_of, with_channels
from augsearch.trainers.data.form import AS_USUAL, Reading
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.system.threads import in_order

LARGER = 1.5
"""How many times the side that is trained at a kept photo's shorter side is at most."""

MOST_BYTES = 8 * 2**30
"""Of pixels that are kept, or half of what is free on the disk; photos beyond it are decoded each time."""

_MARK = np.dtype([("height", "<u4"), ("check", "<u4")])
"""What is noted of a photo when it is kept: its height in pixels, and its checksum; zeros until then."""


class KeptPhotos:
    """The photos of some files, scaled down, in a file of their own that is filled as they are asked for.

    Several threads and processes may fill the same one: each photo is always the same, and counts as kept
    when its checksum is right. What can't be kept, because the disk is full or photos are too many, is
    decoded each time.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[Path],
        side: int,
        channels: int,
        reading: Reading = AS_USUAL,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Open or make it.

        Args:
            folder: where caches lie; made if need be.
            paths: the files; another file, or one that has changed, makes another cache.
            side: what is trained at, in pixels.
            channels: 1 or 3.
            reading: how files become pixels.
            most_bytes: that may be kept.
        """
        self._paths, self._side, self._channels, self._reading = paths, side, channels, reading
        self._lock, self._checked = threading.Lock(), np.zeros(len(paths), bool)
        room = min(most_bytes, _free(folder) // 2)
        self._places = _places(paths, least_side(side), channels, reading, room)
        stamps = [(str(path), *stamp(path)) for path in paths]
        self._folder = (
            folder / f"photos-{cache_key(['photos', DECODING, side, channels, str(reading), stamps])}"
        )
        self._pixels: NDArray[np.uint8] | None = None
        self._marks: NDArray[Any] | None = None
        total = int(self._places[-1])
        with suppress(OSError):  # what can't be kept is decoded each time
            if total:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._pixels = _mapped(self._folder / "pixels.bin", np.dtype(np.uint8), total)
                self._marks = _mapped(self._folder / "marks.bin", _MARK, len(paths))

    def read(self, index: int) -> NDArray[np.uint8]:
        """A photo, upright: uint8 (H, W, C), its shorter side at most 1.5 × what is trained at.

        Raises:
            BadImageError: its file can't be read.
        """
        kept = self._kept(index)
        if kept is not None:
            return kept
        photo = decode_shrunk(self._paths[index], least_side(self._side), self._reading)
        pixels = with_channels(photo, self._channels)
        self._keep(index, np.ascontiguousarray(pixels))
        return pixels

    def _kept(self, index: int) -> NDArray[np.uint8] | None:
        if self._pixels is None or self._marks is None:
            return None
        height, check = (int(value) for value in self._marks[index])
        start, end = self._places[index], self._places[index + 1]
        if not height or (end - start) % (height * self._channels):
            return None
        pixels = self._pixels[start:end]
        if not self._checked[index]:
            if zlib.crc32(pixels.data) != check:
                return None
            self._checked[index] = True
        return pixels.reshape(height, -1, self._channels)

    def _keep(self, index: int, pixels: NDArray[np.uint8]) -> None:
        start, end = int(self._places[index]), int(self._places[index + 1])
        if self._pixels is None or pixels.size != end - start:
            return
        mark = np.array((len(pixels), zlib.crc32(pixels.data)), _MARK)
        try:
            with self._lock:
                # Written, and not through the mapping: a full disk is then an error, and no death.
                _write(self._folder / "pixels.bin", start, pixels.tobytes())
                _write(self._folder / "marks.bin", index * _MARK.itemsize, mark.tobytes())
        except OSError:
            self._pixels = None


def least_side(side: int) -> int:
    """The shorter side, in pixels, of kept photos that are trained at ``side``; smaller ones stay so."""
    return round(LARGER * side)


def _free(folder: Path) -> int:
    """Free bytes on the disk where ``folder`` is or will be."""
    return shutil.disk_usage(next(one for one in (folder, *folder.resolve().parents) if one.exists())).free


def _places(
    paths: Sequence[Path], least: int, channels: int, reading: Reading, room: int
) -> NDArray[np.int64]:
    """(N + 1,): where each photo begins, and the last one ends; photos without a place have no length."""

    def length(path: Path) -> int:
        try:
            width, height = shrunk_size(*size_of(path, reading), least, reading)
        except (BadImageError, OSError):
            return 0
        return width * height * channels

    lengths = np.array(list(in_order(length, paths)), np.int64)
    lengths[np.cumsum(lengths) > room] = 0
    return np.concatenate(([0], np.cumsum(lengths)))


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    with path.open("ab") as file:
        file.truncate(max(os.fstat(file.fileno()).st_size, count * dtype.itemsize))
    return np.memmap(path, dtype, mode="r", shape=(count,))


def _write(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
