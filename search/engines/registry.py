"""Engines by name: each is a file of this room with a function ``start``, named as the file is.

One whose trainings run where the command does has ``ON_THIS_MACHINE``, which is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine, FinalTrainer
from augsearch.search.engines.waiting import said_what_it_waits_for
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.system.gpus import is_gpu
from augsearch.trainers.system.registry import modules_of

_ROOM = "augsearch.search.engines"
_NO_ENGINES = {"engine", "failures", "registry", "runner", "tasks", "travel", "waiting", "worker"}
"""The files of this room that are none, beside parts of one, whose names begin with its own: ``ray_…``."""


def engine_names() -> list[str]:
    """The names that ``--engine`` takes; importing none of them."""
    names = [name for name in modules_of(_ROOM) if name not in _NO_ENGINES]
    return [name for name in names if not any(name.startswith(f"{other}_") for other in names)]


def start_engine(settings: EngineSettings) -> Engine:
    """The engine that ``settings`` name.

    Raises:
        UserError: there is none of that name, or it can't do what they ask.
    """
    engine: Engine = _module(settings).start(settings)
    return engine


def check_device(settings: EngineSettings, *, trains_final: bool, processes: int = 1) -> None:
    """Check that a GPU that is named is there, where trainings run on this machine, and one for each process.

    ``trains_final``: whether a final training comes after the search, which not every engine runs elsewhere.
    ``processes``: how many it is to have.

    Raises:
        UserError: it isn't.
    """
    folds_here = getattr(_module(settings), "ON_THIS_MACHINE", False)
    final_here = trains_final and final_trainer(settings) is None
    several_here = final_here and processes > 1
    if not several_here and not (is_gpu(settings.device) and (folds_here or final_here)):
        return
    from augsearch.trainers.system.devices import check_room_for, resolve_device

    try:
        device = resolve_device(settings.device)
        if several_here:
            check_room_for(processes, device)
    except UserError as error:
        if folds_here:
            raise
        raise UserError(
            f"the final training runs on this machine, and {error}; --no-final leaves it to another one"
        ) from None


def _module(settings: EngineSettings) -> ModuleType:
    if settings.name not in engine_names():
        raise UserError(f"unknown engine {settings.name!r}; known are {', '.join(engine_names())}")
    return import_module(f"{_ROOM}.{settings.name}")


def final_trainer(settings: EngineSettings) -> FinalTrainer | None:
    """What trains final models elsewhere, by the engine that ``settings`` name; None: they are trained here.

    Raises:
        UserError: there is no engine of that name.
    """
    made: FinalTrainer | None = getattr(_module(settings), "final_trainer", lambda _: None)(settings)
    return made


@contextmanager
def opened(settings: EngineSettings, say: Callable[[str], None]) -> Iterator[Engine]:
    """The engine that ``settings`` name, closed at the end. It takes hold of nothing until its first task.

    ``say``: is given what a person is to know, in a line.
    """
    engine = start_engine(settings)
    try:
        with said_what_it_waits_for(engine, say):
            yield engine
    finally:
        engine.close()
