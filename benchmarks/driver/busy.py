"""How busy does a driver keep many workers? Theirs are folds that take their time and no processor."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Stage
from benchmarks.driver.instant import SearchIsOverError, result_of

SPREAD = 0.1
"""By how much of its time a fold is shorter or longer than others, at most."""


class Timed:
    """As many workers as you like; a fold's result comes after its time."""

    def __init__(self, slots: int, seconds: float) -> None:
        self.slots, self._seconds = slots, seconds
        self._chance, self._numbers = random.Random(0), itertools.count()
        self._due: list[tuple[float, int, Future[Any], Any]] = []
        self._changed, self._closed = threading.Condition(), False
        self.ran: list[tuple[float, float]] = []
        """When each fold began and ended."""
        self.trials: set[Candidate] = set()
        threading.Thread(target=self._answer, daemon=True).start()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """A fold, which begins now."""
        _, candidate, fold = args
        if fold.stage is not Stage.SEARCH:
            raise SearchIsOverError
        began, future = time.monotonic(), Future[Any]()
        ends = began + self._seconds * self._chance.uniform(1 - SPREAD, 1 + SPREAD)
        self.ran.append((began, ends))
        self.trials.add(candidate)
        with self._changed:
            heapq.heappush(self._due, (ends, next(self._numbers), future, result_of(candidate, fold)))
            self._changed.notify()
        return future

    def _answer(self) -> None:
        while not self._closed:
            with self._changed:
                pause = self._due[0][0] - time.monotonic() if self._due else None
                if pause is None or pause > 0:
                    self._changed.wait(pause)
                    continue
                _, _, future, result = heapq.heappop(self._due)
            future.set_result(result)

    def close(self) -> None:
        """Nobody answers any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def busy(self, since: float, until: float) -> float:
        """The share of the workers' time between two moments in which a fold ran."""
        ran = sum(max(0.0, min(ended, until) - max(began, since)) for began, ended in self.ran)
        return ran / (self.slots * (until - since))
