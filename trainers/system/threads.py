"""Threads: how many this process may use, and work in order ahead of its consumer."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 16


def available_cores() -> int:
    """Cores of the processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_threads() -> int:
    """Threads for reading and decoding: one a core, but at most 16."""
    return min(available_cores(), MOST_THREADS)


@cache
def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_threads(), thread_name_prefix="hand")


def at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``function(item)`` for each item in order, on threads that the whole process shares.

    ``function`` must not call this itself: it would wait for threads that wait for it.
    """
    return list(_hands().map(function, items))


class Begun(Iterator[Result]):
    """``function(item)`` for each item in order, on threads that are at work from the beginning.

    They run only a little ahead, and stop after ``close``. With a ``pool`` of as many they are that one's,
    which is its own from now on.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        threads: int,
        pool: Executor | None = None,
    ) -> None:
        self._pool = pool = pool or ThreadPoolExecutor(threads)
        self._calls = (pool.submit(function, item) for item in items)
        self._pending = deque(islice(self._calls, 4 * threads))

    def __next__(self) -> Result:
        if not self._pending:
            self.close()
            raise StopIteration
        first = self._pending.popleft()
        self._pending.extend(islice(self._calls, 1))
        return first.result()

    def close(self) -> None:
        """Stop, and forget what was not asked for."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()
        self._pool.shutdown()


def portions(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """``items`` in tuples of ``size``, the last one of what is left."""
    rest = iter(items)
    while portion := tuple(islice(rest, size)):
        yield portion


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item in order, from threads that run only a little ahead."""
    begun = Begun(function, items, threads or available_threads())
    try:
        yield from begun
    finally:
        begun.close()
