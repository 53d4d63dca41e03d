"""Processes beside this one: they end with it, and leave the program alone which started them."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from augsearch.policies import UserError
from augsearch.trainers.system.threads import Begun, available_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

_NAMED = "augsearch "
"""Begins the names of the processes that are started here."""


class _Process(SpawnProcess):
    """A process that leaves the program alone which started it.

    Else Python would run that program's file anew in each, and a script that calls ``run`` without asking
    whether it is the main one would begin the search again there.
    """

    def __init__(self, *arguments: Any, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.name = f"{_NAMED}{self.name}"

    def start(self) -> None:
        """Start it deaf to Ctrl-C, which it is told to ignore only once all that it imports is there."""
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Context(SpawnContext):
    """spawn: a forked child of a process with threads (MLflow's, OpenCV's, torch's) may hang."""

    def __init__(self) -> None:
        super().__init__()
        _leave_main_alone()
        self.made: list[SpawnProcess] = []
        """All its processes; a pool tells nobody of those that have not answered yet."""

    def Process(self, *arguments: Any, **rest: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        """A process, which the pool starts, or who asked for it."""
        self.made.append(_Process(*arguments, **rest))
        return self.made[-1]


def _leave_main_alone() -> None:
    """Have our processes not be told where the main program is; once, for all of them."""
    told = spawn.get_preparation_data
    if getattr(told, "of_augsearch", False):
        return

    @functools.wraps(told)
    def without_main(name: str) -> dict[str, Any]:
        data: dict[str, Any] = told(name)
        if name.startswith(_NAMED):
            data = {key: value for key, value in data.items() if not key.startswith("init_main")}
        return data

    without_main.of_augsearch = True  # type: ignore[attr-defined]
    spawn.get_preparation_data = without_main


def pool_of(
    processes: int, prepare: Callable[..., None], *arguments: Any, context: Context | None = None
) -> ProcessPoolExecutor:
    """So many, of which each calls ``prepare(*arguments)`` first; none is there before the first task."""
    return ProcessPoolExecutor(processes, context or Context(), initializer=prepare, initargs=arguments)


def follow_parent() -> None:
    """In a process that is started here: leave Ctrl-C to whoever started it, and end when that ends.

    Ctrl-C reaches the whole process group, and one that is killed must leave nobody at work for it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def may_start_processes() -> bool:
    """Whether this process may have some: one of a ``DataLoader`` may not."""
    return not multiprocessing.current_process().daemon


def in_order_by_processes(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int | None = None
) -> Iterator[Result]:
    """As ``threads.in_order``, for what holds Python's lock; all must be picklable, and ``function`` by name.

    Raises:
        UserError: a process was killed.
    """
    count = processes or available_threads()
    with pool_of(count, follow_parent) as pool:
        try:
            yield from Begun(function, items, count, pool)
        except BrokenProcessPool:
            raise UserError(
                "a process that was reading images was killed, by the system for want of memory perhaps; "
                "the same command begins anew"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
