"""Calls that are made one after another in a thread of their own; a server that is away is waited for.

Whoever searches must not wait for whoever logs. So calls queue up while the server is away, and are made in
their order once it is back; at the end it has one more chance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds between two attempts of a call: each pause is twice the last."""
Call = Callable[[], object]


class Outbox:
    """Takes calls at once and makes them in order, each until it succeeds or has an error of its own."""

    def __init__(self, is_away: Callable[[Exception], bool]) -> None:
        """``is_away``: whether an error says that nobody is there, so that a later attempt may succeed."""
        self._is_away = is_away
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._closing = threading.Event()
        self._gave_up = False
        self.failure: Exception | None = None
        """The first error."""
        self._thread = threading.Thread(target=self._make_all, name="outbox", daemon=True)
        self._thread.start()

    def add(self, call: Call) -> None:
        """Have ``call`` made after those before it. It may be made again after it failed half-way."""
        self._calls.put(call)

    def give_up(self, error: Exception) -> None:
        """Make no more calls, because of ``error``; from within a call."""
        self.failure, self._gave_up = self.failure or error, True

    def close(self) -> Exception | None:
        """Make what is left, as long as somebody is there; returns the first error."""
        self._closing.set()
        self._calls.put(None)
        self._thread.join()
        return self.failure

    def _make_all(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._gave_up:
                self._make(call)

    def _make(self, call: Call) -> None:
        pause, last = FIRST_PAUSE, False
        while True:
            try:
                call()
                return
            except Exception as error:
                if not self._is_away(error):
                    self.failure = self.failure or error
                    return
                if last:
                    self.give_up(error)
                    return
            last = self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
