"""The names of the built-in networks, for those who only need the names: this imports no torch."""

from __future__ import annotations

from augsearch.policies import UserError

WIDTHS = {"tiny": 8, "small": 16, "medium": 32, "wide": 64}
"""Channels after the stem, by the name of the network; the last layer has four times as many."""


def check_network(name: str) -> str:
    """``name``, if there is such a network.

    Raises:
        UserError: there is none; says which there are.
    """
    if name not in WIDTHS:
        raise UserError(f"unknown model {name!r}; built in are {', '.join(WIDTHS)}")
    return name
