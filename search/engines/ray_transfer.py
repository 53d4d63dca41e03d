"""Files of workspaces on their way through Ray's store of objects, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from augsearch.search.engines.travel import Errand, Lacking
from augsearch.trainers.workspace.manifest import Content, Packed, pack, pack_beside

PIECE = 64 * 2**20
"""Bytes of a piece: as much as a node holds in memory at a time of a file that it fetches."""


class Pieces(list[Any]):
    """References to the pieces of a file; Ray lets go of them when nobody has any."""


Sent = Mapping[str, Pieces]
"""By the key of a file."""


class Sender:
    """The driver's end: packs workspaces and sends what nodes lack.

    A file that is on its way to one node is not sent again for another. In one thread of its own, because
    reading and hashing take their time.
    """

    def __init__(self) -> None:
        self._packed: dict[tuple[Path, str], Packed] = {}
        self._on_the_way: WeakValueDictionary[str, Pieces] = WeakValueDictionary()
        self._thread = ThreadPoolExecutor(1, "augsearch sender")

    def with_manifest(self, task: Errand) -> Errand:
        """``task`` with the manifest of its workspace, where some node has asked for it."""
        packed = None if task.folder is None else self._packed.get((task.folder, task.known_by))
        if packed is None or task.folder is None:
            return task
        beside = pack_beside(task.folder, task.beside).manifest.beside
        return replace(task, manifest=replace(packed.manifest, beside=beside))

    def send(
        self, task: Errand, sent: Sent, lacking: Lacking, then: Callable[[Sent | BaseException], None]
    ) -> None:
        """Send what is lacking; ``then`` is called with all that was sent, or with what went wrong."""

        def work() -> None:
            try:
                more: Sent | BaseException = {**sent, **self._sent(task, lacking)}
            except Exception as error:
                more = error
            then(more)

        with suppress(RuntimeError):  # the engine was closed
            self._thread.submit(work)

    def close(self) -> None:
        """Send nothing any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _sent(self, task: Errand, lacking: Lacking) -> dict[str, Pieces]:
        assert task.folder is not None
        place = (task.folder, task.known_by)
        if place not in self._packed:
            self._packed[place] = pack(task.folder)
        beside = pack_beside(task.folder, task.beside)
        contents = {**self._packed[place].contents, **beside.contents}
        return {key: self._pieces(key, contents[key]) for key in lacking.keys or ()}

    def _pieces(self, key: str, content: Content) -> Pieces:
        import ray

        pieces = self._on_the_way.get(key)
        if pieces is None:
            pieces = Pieces(ray.put(piece) for piece in _cut(content))
            self._on_the_way[key] = pieces
        return pieces


def _cut(content: Content) -> Iterator[NDArray[np.uint8]]:
    """Arrays, which Ray puts into its store and takes out of it without copying them once more."""
    if isinstance(content, bytes):
        yield np.frombuffer(content, np.uint8)
        return
    with content.open("rb") as file:
        while len(piece := np.fromfile(file, np.uint8, PIECE)):
            yield piece


def brought(pieces: Pieces) -> Iterator[memoryview]:
    """On a node: the content of a file, piece by piece."""
    import ray

    for piece in pieces:
        yield ray.get(piece).data
