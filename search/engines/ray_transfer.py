"""Files of workspaces on their way through Ray's store of objects, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.search.engines.travel import Errand, Lacking
from augsearch.trainers.workspace.manifest import NOTHING, Content, Packed, pack, pack_files, pack_left

PIECE = 64 * 2**20
"""Bytes of a piece: as much as a node holds in memory at a time of a file that it fetches."""


class Piece(NamedTuple):
    """Some bytes of an object in Ray's store; small files share one."""

    reference: Any
    start: int
    stop: int


class Pieces(list[Piece]):
    """The pieces of a file; Ray lets go of the objects when nobody has any."""


Sent = Mapping[str, Pieces]
"""By the key of a file."""


class Sender:
    """The driver's end: packs workspaces and sends what nodes lack.

    A file that is on its way to one node is not sent again for another. In one thread of its own, because
    reading and hashing take their time.
    """

    def __init__(self) -> None:
        self._packed: dict[tuple[Path, str], Packed] = {}
        self._needed: dict[str, Packed] = {}
        self._on_the_way: WeakValueDictionary[str, Pieces] = WeakValueDictionary()
        self._thread = ThreadPoolExecutor(1, "augsearch sender")
        self._closed = Event()

    def with_manifest(self, task: Errand) -> Errand:
        """``task`` with the manifest of its workspace, where some node has asked for it."""
        packed = None if task.folder is None else self._packed.get((task.folder, task.known_by))
        needed = NOTHING if task.needs is None else self._needed.get(task.needs.key)
        if packed is None or needed is None or task.folder is None:
            return task
        beside = (*pack_left(task.folder, task.beside).manifest.beside, *needed.manifest.beside)
        return replace(task, manifest=replace(packed.manifest, beside=beside))

    def send(
        self, task: Errand, sent: Sent, lacking: Lacking, then: Callable[[Sent | BaseException], None]
    ) -> None:
        """Send what is lacking; ``then`` is called with all that was sent, or with what went wrong."""

        def work() -> None:
            try:
                more: Sent | BaseException = self.sent(task, sent, lacking)
            except Exception as error:
                more = error
            if not self._closed.is_set():
                then(more)

        with suppress(RuntimeError):  # the engine was closed
            self._thread.submit(work)

    def sent(self, task: Errand, sent: Sent, lacking: Lacking) -> Sent:
        """The same at once: all that was sent, with what is lacking."""
        return {**sent, **self._sent(task, lacking)}

    def close(self) -> None:
        """Send nothing any more; what is on its way ends with its piece, as Ray may be left after this."""
        self._closed.set()
        self._thread.shutdown(cancel_futures=True)

    def _sent(self, task: Errand, lacking: Lacking) -> dict[str, Pieces]:
        assert task.folder is not None
        if task.needs is not None and task.needs.too_much is not None:
            raise UserError(task.needs.too_much)
        place = (task.folder, task.known_by)
        if place not in self._packed:
            self._packed[place] = pack(task.folder)
        contents = {**self._packed[place].contents, **pack_left(task.folder, task.beside).contents}
        if (needs := task.needs) is not None:
            if needs.key not in self._needed:
                self._needed[needs.key] = pack_files({name: Path(path) for name, path, _ in needs.files})
            contents |= self._needed[needs.key].contents
        # What a task had left, and somebody has removed meanwhile, is not in the next manifest either.
        known = {key: self._on_the_way.get(key) for key in lacking.keys or () if key in contents}
        put = _put({key: contents[key] for key, pieces in known.items() if pieces is None}, self._closed)
        self._on_the_way.update(put)
        return {key: put[key] if pieces is None else pieces for key, pieces in known.items()}


def _put(contents: Mapping[str, Content], closed: Event) -> dict[str, Pieces]:
    """Put files into Ray's store, in objects of no more than a piece; of small ones several into each.

    Raises:
        CancelledError: it was ``closed`` meanwhile.
    """
    import ray

    found = {key: Pieces() for key in contents}
    waiting: list[tuple[Pieces, NDArray[np.uint8]]] = []

    def put() -> None:
        parts = [part for _, part in waiting]
        reference, start = ray.put(parts[0] if len(parts) == 1 else np.concatenate(parts)), 0
        for pieces, part in waiting:
            pieces.append(Piece(reference, start, start := start + len(part)))
        waiting.clear()

    size = 0
    for key, content in contents.items():
        for part in _cut(content):
            if closed.is_set():
                raise CancelledError
            if waiting and size + len(part) > PIECE:
                put()
                size = 0
            waiting.append((found[key], part))
            size += len(part)
    if waiting:
        put()
    return found


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
        yield ray.get(piece.reference).data[piece.start : piece.stop]
