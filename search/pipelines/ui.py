"""``augsearch ui``: MLflow's own UI on the runs' own database."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable

from augsearch.policies import UserError
from augsearch.search.settings.addresses import redacted
from augsearch.search.settings.sections import TrackingSettings, sqlite_file
from augsearch.search.tracking.moved import follow_move
from augsearch.search.tracking.views import Places, places_of

FIRST_PORT = 5000
PATIENCE = 5.0
"""Seconds that the server has to end by itself."""


def serve(
    tracking_uri: str | None,
    port: int | None,
    say: Callable[[str], object],
    study: str | None = None,
    opens: bool | None = None,
) -> None:
    """Run the MLflow UI until it is stopped; say where ``study`` is, or the last that was logged.

    ``opens``: whether a browser is to open there; None: where there is a screen.

    Raises:
        UserError: nothing was logged there yet, or no such study, or the port is taken.
    """
    uri = tracking_uri or TrackingSettings().uri
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise UserError(f"{redacted(uri)}: no runs logged there yet; do augsearch run first, in this folder")
    if file is not None:
        follow_move(file)
    if port is not None and not _is_free(port):
        raise UserError(f"port {port} is taken; give another --port")
    port = port or next((p for p in range(FIRST_PORT, FIRST_PORT + 100) if _is_free(p)), FIRST_PORT)
    # One worker: each takes seconds to start, and there is one person to serve.
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        # Not as an argument, which every user of the machine can read.
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": uri},
        start_new_session=True,
    )
    try:
        places = places_of(uri, study)  # while the server starts
        while server.poll() is None and _is_free(port):  # a link that leads nowhere yet annoys
            time.sleep(0.1)
        if server.returncode is None:
            _say_where(f"http://127.0.0.1:{port}", places, say, opens)
        if server.wait():
            raise UserError(f"the MLflow UI ended with status {server.returncode}; see its messages above")
    except KeyboardInterrupt:  # SIGTERM too
        say("stopped")
    finally:
        _end(server)


def _say_where(address: str, places: Places | None, say: Callable[[str], object], opens: bool | None) -> None:
    """Where a person finds what was logged, and the browser there."""
    if places is None:
        say(f"MLflow UI: {address}  (Ctrl-C stops it)")
    else:
        say(f"study {places.study}: {address}{places.run}")
        say(f"its trials, best first: {address}{places.trials}")
        say(f"all of MLflow: {address}  (Ctrl-C stops it)")
    if opens or (opens is None and _has_screen()):
        webbrowser.open(address if places is None else f"{address}{places.trials}")


def _has_screen() -> bool:
    """Whether a browser would open a window; elsewhere one may take the terminal over."""
    windows = sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return windows and sys.stdout.isatty()


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and what it started."""
    if not hasattr(os, "killpg"):
        server.kill()
        server.wait()
        return
    # MLflow's server does not always heed the first signal, so the second is one that can't be ignored.
    for chosen in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, chosen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0
