"""``augsearch watch``: the report, alive in a browser on this machine while the search runs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

from augsearch.policies import UserError
from augsearch.search.pipelines.loopback import LOOPBACK, is_free, open_browser, port_to_use
from augsearch.search.report.live import LivePage
from augsearch.search.report.page import live_script
from augsearch.search.settings.addresses import STORAGE_VARIABLE, redacted
from augsearch.search.settings.sections import TrackingSettings

FIRST_PORT = 5200
LAST = 5.0
"""Seconds that a browser which follows a run has at its end to ask for the last page."""
NICE = 10
"""How far the server beside a run gives way to it."""
NAMES = (LOOPBACK, "localhost")
"""What a browser may call this machine; another name was made to lead here (DNS rebinding)."""


def watch(
    study: str,
    storage: str | None,
    port: int | None,
    say: Callable[[str], object],
    opens: bool | None = None,
) -> None:
    """Serve the report about ``study`` until it is stopped, made anew when the study has changed.

    The study need not be there yet. ``opens``: whether a browser is to open; None: where there is a screen.

    Raises:
        UserError: the port is taken.
    """
    flag = f" --storage {shlex.quote(redacted(storage))}" if storage else ""
    page = LivePage(
        study, storage or TrackingSettings().storage, f"augsearch watch {shlex.quote(study)}{flag}"
    )
    port = port_to_use(port, FIRST_PORT)
    try:
        server = PageServer(page, port)
    except OSError as error:
        raise UserError(
            f"port {port}: {(error.strerror or str(error)).lower()}; give another --port"
        ) from None
    follower = threading.Thread(target=page.follow, daemon=True)
    follower.start()
    try:
        page.wait_for_look()
        address = f"http://{LOOPBACK}:{port}/"
        say(f"study {study}: {address}  (Ctrl-C stops it)")
        open_browser(address, opens)
        server.serve_forever()
    except KeyboardInterrupt:  # SIGTERM too
        say("stopped; the search, if it runs, goes on")
    finally:
        page.end()
        server.server_close()


def serve_beside(study: str, storage: str, again: str) -> None:
    """Serve the page in a process beside a run, until stdin ends: with the run, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the whole process group; the driver decides
    if hasattr(os, "nice"):
        os.nice(NICE)
    page = LivePage(study, storage, again)
    with _bound(page) as server:
        follower = threading.Thread(target=page.follow, daemon=True)
        follower.start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.wait_for_look()
        print(f"http://{LOOPBACK}:{server.server_address[1]}/", flush=True)
        sys.stdin.read()
        page.end()
        follower.join(LAST)
        _show_last(page)


def _show_last(page: LivePage) -> None:
    """Have a browser that follows the page see how the run ended."""
    if not page.is_followed():
        return
    page.look()
    until, shown = time.monotonic() + LAST, time.monotonic()
    while page.last_asked < shown and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.1)  # the answer is on its way


def _bound(page: LivePage) -> PageServer:
    """A server at the first port that is free, whoever else looks for one."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        if is_free(port):
            with contextlib.suppress(OSError):  # taken meanwhile
                return PageServer(page, port)
    return PageServer(page, 0)


class PageServer(ThreadingHTTPServer):
    """Serves one page, to browsers on this machine."""

    daemon_threads = True
    # On Windows it would let a second server listen where one is.
    allow_reuse_address = os.name != "nt"

    def __init__(self, page: LivePage, port: int) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.page = page
        at = self.server_address[1]
        self.hosts = {f"{name}:{at}" for name in NAMES} | (set(NAMES) if at == 80 else set())
        script = base64.b64encode(hashlib.sha256(live_script().encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )


class _Handler(BaseHTTPRequestHandler):
    """Answers for the page and for nothing else."""

    server: PageServer
    server_version, sys_version = "augsearch", ""
    timeout = 30.0

    def do_GET(self) -> None:
        """The page; 304 where the browser has it."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This page is for this machine alone.")
        elif self.path != "/":
            self._refuse(HTTPStatus.NOT_FOUND, "There is one page here, and it is /.")
        else:
            shown = self.server.page.shown
            known = self.headers.get("If-None-Match") == shown.tag
            self.send_response(HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK)
            self.send_header("ETag", shown.tag)
            self.send_header("X-Note", quote(shown.note))
            self._send("text/html", b"" if known else shown.page)

    def do_HEAD(self) -> None:
        """As GET, without the page."""
        self.do_GET()

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        self.send_response(status)
        self._send("text/plain", words.encode())

    def _send(self, kind: str, content: bytes) -> None:
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": self.server.policy,
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: a browser asks every two seconds."""


if __name__ == "__main__":
    serve_beside(sys.argv[1], os.environ[STORAGE_VARIABLE], sys.argv[2])
