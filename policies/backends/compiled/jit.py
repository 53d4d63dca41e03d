"""How the core is compiled: without the interpreter's lock, and kept on disk where that is possible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from augsearch.policies import nearest

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function``, compiled when it is called first, or into what calls it."""
    return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


def part_of_its_caller(function: F) -> F:
    """``compiled``, for what is called once: apart, all that it calls would be optimised again with it."""
    return cast(F, numba.njit(nogil=True, error_model="numpy", inline="always")(function))


def compiled_and_kept(function: F) -> F:
    """``compiled``, for what is called from outside; later processes load it from disk."""
    try:
        return cast(F, numba.njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # there is no folder that it may write to
        return compiled(function)


def sources() -> int:
    """A number that changes with the code of the core.

    numba looks at one file's time alone before it takes compiled code from disk. What a function has from
    outside, as this number, it looks at too.
    """
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(nearest.__file__)]
    seen = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return int.from_bytes(seen.digest()[:6])
