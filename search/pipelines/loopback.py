"""Servers for this machine alone, and the browser that opens there."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser

from augsearch.policies import UserError

LOOPBACK = "127.0.0.1"
"""The address that no other machine can reach."""


def port_to_use(asked: int | None, first: int) -> int:
    """The port that was ``asked`` for, or the first one from ``first`` on that is free.

    Raises:
        UserError: the one that was asked for is taken.
    """
    if asked is not None:
        if not is_free(asked):
            raise UserError(f"port {asked} is taken; give another --port")
        return asked
    return next((port for port in range(first, first + 100) if is_free(port)), first)


def is_free(port: int) -> bool:
    """Whether nothing answers there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex((LOOPBACK, port)) != 0


def open_browser(address: str, asked: bool | None) -> None:
    """Open a browser there if that was asked for; None: where there is a terminal with a screen.

    Elsewhere a browser without windows may take the terminal over.
    """
    if asked or (asked is None and has_screen() and sys.stdout.isatty()):
        webbrowser.open(address)


def has_screen() -> bool:
    """Whether a browser has where to open a window."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
