"""``augsearch run --open``: the live page of a run, served by a process beside it that ends with it.

A process of its own, and one that gives way: drawing the page takes no time of the driver's threads, and what
happens to it happens to nothing else.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

from augsearch.search.console import Display
from augsearch.search.pipelines.loopback import has_screen
from augsearch.search.settings.addresses import STORAGE_VARIABLE

ENDING = 20.0
"""Seconds that the server has to end by itself, the last page's drawing included."""


def followed(
    study: str, storage: str, again: str, display: Display, opens: bool | None
) -> AbstractContextManager[None]:
    """Serve the report about ``study`` while the block runs; ``opens`` False: say what does; None: nothing.

    ``again`` is the command that serves it.
    """
    if opens:
        return _served(study, storage, again, display)
    if opens is not None:
        display.line(f"to see it alive in a browser: {again}")
    return nullcontext()


@contextmanager
def _served(study: str, storage: str, again: str, display: Display) -> Iterator[None]:
    """Serve it, and open a browser there if there is a screen. Nothing that fails here fails the block."""
    try:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "augsearch.search.pipelines.watch", study, again],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            # Not as an argument, which every user of the machine can read.
            env={**os.environ, STORAGE_VARIABLE: storage},
        )
    except OSError as error:
        display.line(f"the live page can't be served ({error.strerror or error}); {again} does it later")
        yield
        return
    assert server.stdin is not None
    assert server.stdout is not None
    teller = threading.Thread(target=_tell, args=(server.stdout, again, display), daemon=True)
    teller.start()
    try:
        yield
    except BaseException:  # Ctrl-C among others: who stops a run waits for nothing
        server.kill()
        raise
    finally:
        with contextlib.suppress(OSError):  # it has ended
            server.stdin.close()
        try:
            server.wait(ENDING)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        teller.join()
        server.stdout.close()


def _tell(lines: IO[str], again: str, display: Display) -> None:
    """Say where the page is once it is there, and open a browser."""
    address = lines.readline().strip()
    if not address:
        display.line(f"the live page can't be served; {again} does it")
        return
    display.line(f"the report, alive while this runs: {address}")
    if has_screen():
        webbrowser.open(address)
