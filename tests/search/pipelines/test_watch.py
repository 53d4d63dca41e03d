"""``augsearch watch``: the report follows its study in a real browser, and answers nobody else."""

from __future__ import annotations

import http.client
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from augsearch.policies import UserError
from augsearch.search.pipelines.watch import PageServer, watch
from augsearch.search.report import live
from augsearch.search.report.live import LivePage
from augsearch.search.settings.sections import TrackingSettings
from tests.browsers import open_browser

MakeStudy = Callable[..., optuna.Study]
PATIENCE = 60
"""Seconds until something must be there, on a machine that is busy."""


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser(loggingPrefs={"browser": "ALL"}) as opened:
        yield opened


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def watching(port: int) -> Iterator[str]:
    """The command at work on the study ``demo``; its address."""
    command = [
        sys.executable,
        "-m",
        "augsearch.search.cli",
        "watch",
        "demo",
        "--no-open",
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert f"http://127.0.0.1:{port}/" in line, server.communicate()
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.send_signal(signal.SIGTERM)
            _, told = server.communicate()
            assert told == ""


def see(browser: webdriver.Chrome, *words: str) -> None:
    """Wait until the page has all of ``words``, without loading it again."""

    def text() -> str:
        return str(browser.execute_script("return document.body.innerText"))  # type: ignore[no-untyped-call]

    WebDriverWait(browser, PATIENCE).until(
        lambda _: all(word in text() for word in words), f"not there: {words}"
    )


def run(browser: webdriver.Chrome, script: str) -> Any:
    return browser.execute_script(script)  # type: ignore[no-untyped-call]


def test_the_page_follows_the_study_from_before_it_is_there_until_its_server_has_ended(
    browser: webdriver.Chrome, port: int, make_study: MakeStudy
) -> None:
    with watching(port) as address:
        browser.get(address)
        see(browser, "not there yet", "There is no database", "Follows the search")
        run(browser, "window.neverLoadedAgain = true")
        study = make_study("searching")
        see(browser, "8 of 16 trials have ended")
        run(browser, "document.querySelector('details').open = true; scrollTo(0, 300)")
        study.add_trial(study.trials[-1])
        see(browser, "9 of 16 trials have ended")
        assert (
            run(browser, "return neverLoadedAgain && document.querySelector('details').open && scrollY")
            == 300
        )
        # A page that loads nothing, and runs nothing but its own script.
        assert [entry["message"] for entry in browser.get_log("browser")] == []
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert run(browser, "return document.documentElement.scrollWidth") == 390
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert not run(browser, "return document.getElementById('alive').checkVisibility()")
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    see(browser, "its server has ended", "augsearch watch demo", "9 of 16 trials have ended")
    with watching(port):
        see(browser, "Follows the search", "9 of 16 trials have ended")
        assert run(browser, "return neverLoadedAgain")


@pytest.fixture
def served(make_study: MakeStudy) -> Iterator[int]:
    """The port at which the page of a finished study is served."""
    make_study("confirmed")
    page = LivePage("demo", TrackingSettings().storage, "augsearch watch demo")
    page.look()
    with PageServer(page, 0) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


def test_only_the_page_is_served_and_only_to_who_names_this_machine(served: int) -> None:
    def ask(method: str, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", served, timeout=PATIENCE)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    status, page, headers = ask("GET", "/")
    assert status == 200
    assert b'data-over="yes"' in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask("GET", "/", Host=f"localhost:{served}")[0] == 200
    assert ask("GET", "/", **{"If-None-Match": headers["ETag"]})[:2] == (304, b"")
    assert ask("HEAD", "/")[:2] == (200, b"")
    for host in ("evil.example", f"evil.example:{served}", "127.0.0.1", f"127.0.0.1:{served + 1}", ""):
        status, words, _ = ask("GET", "/", Host=host)
        assert (status, b"demo" in words) == (421, False), host
    for path in ("/report.html", "/../mlruns/studies.db", "/?x", "/%2e%2e/"):
        assert ask("GET", path)[0] == 404, path
    assert ask("POST", "/")[0] == 501


def test_a_database_that_is_busy_leaves_the_page_as_it_was_with_a_word(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study("searching")
    page = LivePage("demo", TrackingSettings().storage, "augsearch watch demo")
    page.look()
    before = page.shown
    assert b"8 of 16" in before.page
    assert before.note == ""
    monkeypatch.setattr(live, "LONG", 0.0)
    study.add_trial(study.trials[-1])
    holder = sqlite3.connect("mlruns/studies.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    looking = threading.Thread(target=page.look)
    looking.start()
    while not page.shown.note:
        assert looking.is_alive()
    assert "busy" in page.shown.note
    assert page.shown.page == before.page
    holder.execute("COMMIT")
    looking.join()
    assert b"9 of 16" in page.shown.page
    assert page.shown.note == ""


def test_a_study_that_vanishes_leaves_its_last_page_with_a_word(make_study: MakeStudy) -> None:
    study = make_study("searching")
    assert study.trials[0].state is TrialState.COMPLETE
    page = LivePage("demo", TrackingSettings().storage, "augsearch watch demo")
    page.look()
    optuna.delete_study(study_name="demo", storage=TrackingSettings().storage)
    page.look()
    assert b"8 of 16" in page.shown.page
    assert "can't be read now" in page.shown.note


def test_a_port_that_is_taken_is_one_line(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(UserError, match=f"^port {port} is taken; give another --port$"):
            watch("demo", None, port, print)
