"""A training followed to its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Event = TypeVar("Event")
Result = TypeVar("Result")


def finish(training: Generator[Event, None, Result]) -> tuple[list[Event], Result]:
    """All that it yields, and what it returns."""
    events = []
    while True:
        try:
            events.append(next(training))
        except StopIteration as stop:
            result: Result = stop.value
            return events, result
