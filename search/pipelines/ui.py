"""``augsearch ui``: MLflow's own UI on the runs' own database."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from augsearch.policies import UserError
from augsearch.policies.errors import OWN_PLACE
from augsearch.search.pipelines.loopback import LOOPBACK, is_free, open_browser, port_to_use
from augsearch.search.settings.addresses import redacted, sqlite_file
from augsearch.search.settings.sections import TrackingSettings
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
        UserError: nothing was logged there yet, it may not be written, no such study, or the port is taken.
    """
    uri = tracking_uri or TrackingSettings().uri
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise UserError(f"{redacted(uri)}: no runs logged there yet; do augsearch run first, in this folder")
    if file is not None:
        if not os.access(file, os.W_OK):
            raise UserError(f"{file}: can't be written, as MLflow does to show it; {OWN_PLACE}")
        follow_move(file)
    port = port_to_use(port, FIRST_PORT)
    # One worker: each takes seconds to start, and there is one person to serve.
    command = [sys.executable, "-m", "mlflow", "ui", "--host", LOOPBACK, "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        # Not as an argument, which every user of the machine can read.
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": uri},
        start_new_session=True,
    )
    try:
        places = places_of(uri, study)  # while the server starts
        while server.poll() is None and is_free(port):  # a link that leads nowhere yet annoys
            time.sleep(0.1)
        if server.returncode is None:
            _say_where(f"http://{LOOPBACK}:{port}", places, say, opens)
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
    open_browser(address if places is None else f"{address}{places.trials}", opens)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and what it started."""
    if sys.platform == "win32":  # without groups of processes
        server.kill()
        server.wait()
        return
    # MLflow's server does not always heed the first signal, so the second is one that can't be ignored.
    for chosen in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, chosen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)
