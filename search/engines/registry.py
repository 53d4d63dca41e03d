"""Engines by name: each is a file of this room with a function ``start``, named as the file is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.registry import modules_of

_ROOM = "augsearch.search.engines"
_NO_ENGINES = {"engine", "failures", "ray_transfer", "registry", "runner", "tasks", "travel", "worker"}
"""The files of this room that are none."""


def engine_names() -> list[str]:
    """The names that ``--engine`` takes; importing none of them."""
    return [name for name in modules_of(_ROOM) if name not in _NO_ENGINES]


def start_engine(settings: EngineSettings) -> Engine:
    """The engine that ``settings`` name.

    Raises:
        UserError: there is none of that name, or it can't do what they ask.
    """
    if settings.name not in engine_names():
        raise UserError(f"unknown engine {settings.name!r}; known are {', '.join(engine_names())}")
    engine: Engine = import_module(f"{_ROOM}.{settings.name}").start(settings)
    return engine


@contextmanager
def opened(settings: EngineSettings) -> Iterator[Engine]:
    """The engine that ``settings`` name, closed at the end. It takes hold of nothing until its first task."""
    engine = start_engine(settings)
    try:
        yield engine
    finally:
        engine.close()
