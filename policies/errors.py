"""Errors that a user can do something about: one line, naming what, where and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_BREAKS = {ord(one): repr(one)[1:-1] for one in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"}
"""What ends a line, and how it is shown inside of one."""


class UserError(ValueError):
    """Bad input. Its message is one line for a person; commands print it and exit with status 2.

    Ends of lines in what it tells of strangers' files, names of columns for instance, are escaped.
    """

    def __str__(self) -> str:
        return super().__str__().translate(_BREAKS)


@contextmanager
def writing(path: Path, instead: str = "another --output") -> Iterator[None]:
    """Where the block writes ``path`` and can't, say so of that name, and what to give ``instead``.

    Raises:
        UserError: the block raised OSError.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: can't be written ({reason}); give {instead}") from None


_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_RIGHT_SAID = ("attempt to write a readonly database", "unable to open database file")
"""How SQLite puts it."""
ASK_OWNER = "have its owner give you the right to it"
OWN_PLACE = f"{ASK_OWNER}, or work in a folder of your own"
"""What helps where ``lacks_right``."""


def lacks_right(error: BaseException) -> bool:
    """Whether a place may not be read or written by whoever wants it, as far as ``error`` says."""
    if isinstance(error, OSError):
        return error.errno in _NO_RIGHT
    return any(said in str(cause) for cause in came_of(error) for said in _NO_RIGHT_SAID)


def check_readable(path: Path) -> None:
    """See that a file or folder, if it is there, may be read: libraries say of it what they like.

    Raises:
        UserError: it may not.
    """
    closed = False
    with suppress(ValueError):  # no name of a file at all
        closed = os.access(path, os.F_OK) and not os.access(path, os.R_OK | os.X_OK * path.is_dir())
    if closed:
        raise UserError(f"{path}: can't be read (permission denied); {ASK_OWNER}")


def came_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def first_line(error: BaseException) -> str:
    """The first line of what a library says, which may go on for a page."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def some(names: Sequence[str], most: int) -> str:
    """The first ``most`` of ``names``, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def each(names: Sequence[str]) -> str:
    """All of ``names``: ``a, b and c``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


_RULES = {
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be ≥ {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be ≤ {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "literal_error": "must be {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def explain(
    error: ValidationError, separator: str = "_", names: Mapping[str, str] = MappingProxyType({})
) -> str:
    """One line for all of a model's errors: field, rule and value of each.

    ``separator`` stands between the words of a field's name; a flag has a hyphen there. ``names``: how a
    person calls some fields of nested models, by ``section.field``.
    """
    details = error.errors(include_url=False)
    # A union reports an error per member; the first says enough of each field.
    first: dict[str, ErrorDetails] = {}
    for detail in details:
        parts = [_on_one_line(part) for part in detail["loc"] if not _is_union_tag(part)]
        nested = ".".join(parts[:2])
        field = ".".join([names[nested], *parts[2:]] if nested in names else parts)
        first.setdefault(field.replace("_", separator), detail)
    return "; ".join(_one(field, detail) for field, detail in first.items())


def _on_one_line(part: int | str) -> str:
    """A field's name; that of a stranger's field may have line breaks in it."""
    return str(part) if str(part).isprintable() else repr(part)


def _is_union_tag(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in {"int", "float"} or part.startswith(("literal[", "tuple[", "union["))
    )


def _one(field: str, detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        return f"{field} is not a known field"
    if kind == "value_error":
        message = str(context["error"])
        return f"{field}: {message}" if field else message
    bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in context.items()}
    rule = _RULES[kind].format(**bounds) if kind in _RULES else detail["msg"].lower()
    return f"{field} {rule}, got {detail['input']!r}"


def shown(value: Any) -> str:
    """``float32 (3, 32, 32)``: what a wrong image is, for messages."""
    return (
        f"{getattr(value, 'dtype', type(value).__name__)} {tuple(getattr(value, 'shape', ())) or ''}".strip()
    )
