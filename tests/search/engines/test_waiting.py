"""What an engine waits for is said once, as long as nothing changes; a broken engine ends nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from augsearch.search.engines import waiting
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.waiting import said_what_it_waits_for

LONG = 60


class Waiting(InlineEngine):
    """Asked what it waits for it gives one answer after another, and tells when there are no more."""

    def __init__(self, answers: Iterator[str | None]) -> None:
        self._answers = answers
        self.done = threading.Event()

    def waits_for(self) -> str | None:
        answer = next(self._answers, None)
        if answer is None:
            self.done.set()
        return answer


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOKS", 0.001)
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)


def test_it_is_said_once() -> None:
    said: list[str] = []
    engine = Waiting(iter(["no node"] * 3))
    with said_what_it_waits_for(engine, said.append):
        assert engine.done.wait(LONG)
    assert said == ["no node"]


def test_it_is_said_again_after_something_could_go_on() -> None:
    said: list[str] = []
    answers = iter(["no node", None, "no node"])
    again = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            again.set()

    with said_what_it_waits_for(Waiting(answers), say):
        assert again.wait(LONG)
    assert said == ["no node"] * 2


def test_who_waits_for_a_moment_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 1e9)
    said: list[str] = []
    engine = Waiting(iter(["no node"] * 3))
    with said_what_it_waits_for(engine, said.append):
        assert engine.done.wait(LONG)
    assert not said


def test_an_engine_that_breaks_ends_the_looking_alone() -> None:
    class Broken(Waiting):
        def waits_for(self) -> str | None:
            self.done.set()
            raise RuntimeError("the cluster is gone")

    said: list[str] = []
    engine: Any = Broken(iter(()))
    with said_what_it_waits_for(engine, said.append):
        assert engine.done.wait(LONG)
        assert engine.submit(abs, -5).result() == 5
    assert not said
