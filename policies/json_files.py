"""JSON from strangers, read and checked: bounded in size, and with one line for what is wrong."""

from __future__ import annotations

from typing import NoReturn

LARGEST_FILE = 16 * 2**20
"""Bytes; a policy file with all its evidence has some kilobytes."""


def refuse_constant(name: str) -> NoReturn:
    """NaN and infinities are Python's, not JSON's.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not a number in JSON")
