"""A training of the user's own that scores candidates: how it is named, and known again."""

from __future__ import annotations

import inspect
import marshal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict

from augsearch.policies import UserError
from augsearch.trainers.system.hashing import hex_hash

TrainFold = Callable[..., Any]
"""``f(train, policy, seed)`` → what predicts; see ``trainers.tasks.own_fold``."""

_GIVEN: dict[str, TrainFold] = {}
"""The functions that were given in this process, by name: those of a notebook can't be imported."""


class OwnTraining(BaseModel):
    """A function that trains on a fold in the place of the one loop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str
    """``module:function``."""
    code: str
    """A hash of its source: another one is another study. What it calls is not looked at."""

    def __str__(self) -> str:
        return f"{self.function} {self.code}"


def own_training(function: TrainFold) -> OwnTraining:
    """How ``function`` is known; from now on it can be called in this process.

    Raises:
        UserError: it is no function.
    """
    if not callable(function):
        raise UserError(f"train_fold must be a function of (train, policy, seed), got {function!r}")
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{named.__module__}:{named.__qualname__}"
    _GIVEN[name] = function
    return OwnTraining(function=name, code=_hash_of(function))


def is_importable(own: OwnTraining) -> bool:
    """Whether another process would find the very function that was given in this one."""
    return "<" not in own.function and _imported(own.function) is _GIVEN.get(own.function) is not None


def function_of(own: OwnTraining) -> TrainFold:
    """The function: as it was given in this process, or imported.

    Raises:
        UserError: it is neither.
    """
    found = _GIVEN.get(own.function) or _imported(own.function)
    if found is None:
        raise UserError(f"train_fold {own.function} can't be imported here; put it into a module of its own")
    function: TrainFold = found
    return function


def _imported(name: str) -> Any:
    module, _, path = name.partition(":")
    if module == "__main__":  # another one in every process
        return None
    try:
        found = sys.modules.get(module) or import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _hash_of(function: TrainFold) -> str:
    """By its source; of what was typed into a prompt that keeps none, by its code."""
    code = getattr(function, "__code__", None)
    try:
        source = inspect.getsource(type(function) if code is None else function).encode()
    except (OSError, TypeError):
        source = repr(function).encode() if code is None else marshal.dumps(code)
    if code is not None and code.co_name == "<lambda>":  # its source is all of its line
        source += code.co_code + repr(code.co_names).encode()
    return hex_hash(source, size=6)
