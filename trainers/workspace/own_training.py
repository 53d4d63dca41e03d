"""A training of the user's own that scores candidates: how it is named, and known again."""

from __future__ import annotations

import copyreg
import functools
import inspect
import marshal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import PurePath
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from augsearch.policies import UserError
from augsearch.trainers.system.hashing import hex_hash

MOST_HELD = 100_000
"""Values that a function may hold, with those that they are made of, to be known by them."""

TrainFold = Callable[..., Any]
"""``f(train, policy, seed)`` → what predicts; see ``trainers.tasks.own_fold``."""


class OwnTraining(BaseModel):
    """A function that trains on a fold in the place of the one loop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str
    """``module:function``; of a ``functools.partial`` what it is of, which can't be imported by that name."""
    code: str
    """A hash of its source and of what it holds: arguments of a ``partial``, what a function found around it,
    an instance's state. Another one is another study. What it calls is not looked at."""

    def __str__(self) -> str:
        return f"{self.function} {self.code}"


_GIVEN: dict[OwnTraining, TrainFold] = {}
"""The functions that were given in this process: those of a notebook can't be imported."""


def own_training(function: TrainFold) -> OwnTraining:
    """How ``function`` is known; from now on it can be called in this process.

    Raises:
        UserError: it is no function, or can't be told from another.
    """
    if not callable(function):
        raise UserError(f"train_fold must be a function of (train, policy, seed), got {function!r}")
    if isinstance(function, FunctionType):
        # A list in which it notes what it is given, say, is no longer what it was: the function is the same.
        for own, given in _GIVEN.items():
            if given is function:
                return own
    name = _name_of(function)
    try:
        own = OwnTraining(function=name, code=_hash_of(function))
    except _UntoldError as error:
        raise UserError(
            f"train_fold {name} holds {error}, which can't be told from another of its kind: let it hold "
            "plain values (numbers, text, lists, arrays), or put it into a module with all that it needs"
        ) from None
    _GIVEN[own] = function
    return own


def is_importable(own: OwnTraining) -> bool:
    """Whether another process would find the very function that was given in this one."""
    return "<" not in own.function and _imported(own.function) is _GIVEN.get(own) is not None


def function_of(own: OwnTraining) -> TrainFold:
    """The function: as it was given in this process, or imported.

    Raises:
        UserError: it is neither.
    """
    found = _GIVEN.get(own) or _imported(own.function)
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


def _name_of(function: TrainFold) -> str:
    if isinstance(function, functools.partial):
        return f"partial of {_name_of(function.func)}"
    return _named(function if hasattr(function, "__qualname__") else type(function))


def _named(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


class _UntoldError(Exception):
    """A value that is known by nothing but its place in memory; the argument says what it is."""


def _hash_of(function: TrainFold) -> str:
    """By its source, which is all that a function of a module has, and what it holds beside."""
    if isinstance(function, functools.partial):
        return hex_hash(_told(function, {}), size=6)
    # Nothing more for a plain function: studies of older versions know it by its source alone.
    return hex_hash(_source_of(function), *(_told(held, {}) for held in _held_by(function)), size=6)


def _source_of(function: TrainFold) -> bytes:
    """Its source; of what was typed into a prompt that keeps none, its code."""
    code = getattr(function, "__code__", None)
    try:
        source = inspect.getsource(type(function) if code is None else function).encode()
    except (OSError, TypeError):
        said = repr(function)
        # An address is another one in every process.
        source = marshal.dumps(code) if code else (_name_of(function) if " at 0x" in said else said).encode()
    if code is not None and code.co_name == "<lambda>":  # its source is all of its line
        source += code.co_code + repr(code.co_names).encode()
    return source


def _held_by(function: TrainFold) -> Iterator[object]:
    """What a function that was made inside another one got from there, and the state of an instance."""
    if isinstance(function, MethodType | BuiltinMethodType):
        if not isinstance(function.__self__, type | ModuleType | None):
            yield from _state_of(function.__self__)
        function = getattr(function, "__func__", function)
    elif not isinstance(function, FunctionType):
        yield from _state_of(function)
    made: Any = function
    while made is not None:
        if isinstance(made, FunctionType) and "<locals>" in made.__code__.co_qualname:
            cells = [_in_cell(cell) for cell in made.__closure__ or ()]
            held = (made.__defaults__, made.__kwdefaults__, cells)
            if any(held):
                yield held
        made = getattr(made, "__dict__", {}).get("__wrapped__")  # what a decorator made it of


def _in_cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _state_of(instance: object) -> Iterator[object]:
    """What ``instance`` has beside its class: what pickle would make it of.

    Raises:
        _UntoldError: it can't be pickled.
    """
    reduce = copyreg.dispatch_table.get(type(instance))
    try:
        reduced = reduce(instance) if reduce is not None else instance.__reduce_ex__(2)
    except Exception as error:  # whatever a class of the user's raises
        kind = type(instance)
        raise _UntoldError(f"an instance of {kind.__module__}.{kind.__qualname__}") from error
    if isinstance(reduced, str):  # its name in its module
        yield reduced
        return
    _, arguments, *more = reduced
    beside = [value for value in arguments if value is not type(instance)]
    state = [list(value) if isinstance(value, Iterator) else value for value in more]
    if beside or any(value is not None for value in state):
        yield beside, state


_Known = dict[int, tuple[object, bytes]]
"""What was told already, by its address: the value, so that it keeps that, and its hash."""


def _told(value: object, known: _Known) -> bytes:
    """A hash that tells ``value`` from others, in every process alike.

    Raises:
        _UntoldError: nothing tells it.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | PurePath):
        return _hashed(value, [repr(value).encode()])
    if id(value) not in known:
        known[id(value)] = value, b"itself"  # what it is a part of, until all of it is told
        if len(known) > MOST_HELD:
            raise _UntoldError(f"more than {MOST_HELD:,} values")
        known[id(value)] = value, _hashed(value, _parts_of(value, known))
    return known[id(value)][1]


def _parts_of(value: object, known: _Known) -> list[bytes]:
    """What tells ``value`` from others of its type."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return [f"{value.dtype.str} {value.shape}".encode(), value.tobytes()]
    torch: Any = sys.modules.get("torch")  # whoever has tensors has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        content = value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        return [f"{value.dtype} {tuple(value.shape)}".encode(), content]
    if isinstance(value, ModuleType):
        return [value.__name__.encode()]
    if isinstance(value, type):
        return [_named(value).encode()]
    if isinstance(value, set | frozenset):
        return sorted(_told(one, known) for one in value)
    if isinstance(value, dict):
        return sorted(_told(key, known) + _told(one, known) for key, one in value.items())
    if isinstance(value, list | tuple):
        return [_told(one, known) for one in value]
    if isinstance(value, functools.partial):
        return [_told(part, known) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, FunctionType | MethodType):
        return [_source_of(value), *(_told(held, known) for held in _held_by(value))]
    return [_told(part, known) for part in _state_of(value)]


def _hashed(value: object, parts: list[bytes]) -> bytes:
    return hex_hash(_named(type(value)).encode(), *(hex_hash(part).encode() for part in parts)).encode()
