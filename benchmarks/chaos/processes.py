"""Processes that a search, or a Ray cluster, has started: found by their parents, never by name alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process, and when it began: its number may be another's later."""

    number: int
    parent: int
    title: str
    """Its command line, or what it has put in its place."""
    born: str

    def send(self, what: signal.Signals) -> bool:
        """Send it a signal; returns whether it was still there."""
        if _born(self.number) != self.born:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.number, what)
            return True
        return False


def now() -> int:
    """As the system counts when processes are born: the ticks since it was started."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def below(process: int) -> Iterator[Process]:
    """The descendants of ``process`` that live."""
    for child in _children(process):
        born = _born(child)
        if born is not None:
            yield Process(child, process, _title(child), born)
            yield from below(child)


def _children(process: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in list(Path(f"/proc/{process}/task").iterdir()):
            with suppress(OSError):
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return found


def _born(process: int) -> str | None:
    """When a process began, as the system counts; None: it has ended, though its parent may not know yet."""
    try:
        # The name, in brackets, may have spaces and brackets of its own.
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _title(process: int) -> str:
    try:
        content = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return ""
    return content.replace(b"\0", b" ").decode(errors="replace").strip()


def workers_of(driver: int) -> list[Process]:
    """The workers of a driver that runs its folds in processes of this machine, idle ones too."""
    return [one for one in below(driver) if one.parent == driver and _is_worker(one)]


def ray_workers(process: int) -> list[Process]:
    """The processes in which the Ray nodes that ``process`` has started run tasks, idle ones too."""
    return [one for one in below(process) if one.title.startswith("ray::")]


def kept_beside(process: int) -> list[Process]:
    """The processes that those keep, in which folds are trained."""
    of_ray = {one.number for one in ray_workers(process)}
    return [one for one in below(process) if one.parent in of_ray and _is_worker(one)]


def _is_worker(process: Process) -> bool:
    return "spawn_main" in process.title
