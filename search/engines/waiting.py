"""What all tasks of an engine wait for, said to the person who waits with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from augsearch.search.engines.engine import Engine

LOOKS, PATIENCE = 5.0, 30.0
"""Seconds between two looks; those after which it is said what is waited for."""
WaitsFor = Callable[[], str | None]


@contextmanager
def said_what_it_waits_for(engine: Engine, say: Callable[[str], None]) -> Iterator[None]:
    """Within the block ``say`` is given a line, from a thread, when nothing of the engine's can go on.

    It is said once, and again only after something could. Of engines that never wait nothing is said.
    """
    waits_for: WaitsFor | None = getattr(engine, "waits_for", None)
    if waits_for is None:
        yield
        return
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(waits_for, say, ended), daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join(LOOKS)  # a cluster that does not answer is not waited for


def _watch(waits_for: WaitsFor, say: Callable[[str], None], ended: threading.Event) -> None:
    since: float | None = None
    said = False
    while not ended.wait(LOOKS):
        try:
            reason = waits_for()
        except Exception:  # whoever asks the engine for something is told what is wrong with it
            return
        if reason is None:
            since, said = None, False
            continue
        since = time.monotonic() if since is None else since
        if not said and time.monotonic() - since >= PATIENCE:
            say(reason)
            said = True
