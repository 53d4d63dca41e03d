"""JSON files from strangers: bounded in size, strictly JSON, and with one line for what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from augsearch.policies.errors import UserError, check_readable

LARGEST_FILE = 16 * 2**20
"""Bytes; a policy file with all its evidence has some kilobytes."""


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        what: what it should be, for messages: ``policy file``.

    Raises:
        UserError: it can't be read, is larger than ``LARGEST_FILE``, or is no JSON, which has no NaN either.
    """
    try:
        with path.open("rb") as file:
            # One byte more than allowed tells; a file's size does not, where the file is a device or a pipe.
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        check_readable(path)
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}; give a {what}") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path}: larger than {LARGEST_FILE >> 20} MiB, so no {what}")
    try:
        # -sig: some editors begin a file with a mark of its encoding, which is no part of what is written.
        text = content.decode("utf-8-sig")
        return parse_json(text, parse_constant=_refuse_constant, object_pairs_hook=_each_once)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def parse_json(text: str | bytes, **how: Any) -> Any:
    """``json.loads`` with ``how`` for texts of strangers.

    Raises:
        ValueError: it is no JSON, or is nested deeper than Python reads.
    """
    try:
        return json.loads(text, **how)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are Python's, not JSON's."""
    raise ValueError(f"{name} is not a number in JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose keys may stand there once: else nobody knows which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f'the key "{twice}" stands twice in one object; keep one of them')
    return found


@dataclass(frozen=True, slots=True)
class DocumentFormat:
    """A kind of JSON document that says what it is: ``{"format": name, "version": version, …}``."""

    name: str
    version: int
    """The newest; those before are read too, from ``earliest`` on."""
    what: str
    """In words, for messages: ``policy file``."""
    earliest: int | None = None
    """None: the newest alone."""

    def read(self, path: Path) -> dict[str, Any]:
        """The document in a file; nothing but its format and version has been checked.

        Raises:
            UserError: it can't be read, or is no such document.
        """
        return self.checked(read_json(path, self.what), where=str(path))

    def checked(self, document: Any, where: str) -> dict[str, Any]:
        """``document``, if it says that it is of this format and version; ``where`` begins every message.

        Raises:
            UserError: it is not.
        """
        if not isinstance(document, dict) or document.get("format") != self.name:
            raise UserError(f'{where}: not a {self.what} (it has no "format": "{self.name}")')
        version = document.get("version")
        earliest = self.version if self.earliest is None else self.earliest
        whole = isinstance(version, int) and not isinstance(version, bool)
        if not whole or version not in range(earliest, self.version + 1):
            only = earliest == self.version
            reads = f"version {earliest}" if only else f"versions {earliest} to {self.version}"
            raise UserError(
                f"{where}: format version {version!r}; this augsearch reads {reads}, "
                f"so upgrade augsearch or export the {self.what} again"
            )
        return document


POLICY_FILE = DocumentFormat("augsearch-policy", 4, "policy file", earliest=1)
"""The format of the files that ``document.PolicyFile`` describes in full."""
