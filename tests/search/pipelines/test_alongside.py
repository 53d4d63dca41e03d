"""``augsearch run --open``: the live page beside a run, which ends with it and costs it nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PAGE = "the report, alive while this runs: "
QUICK = [
    *("--trials", "6", "--folds", "1", "--epochs", "1", "--confirm-folds", "2", "--final-epochs", "1"),
    *("--proxy-model", "tiny", "--final-model", "tiny", "--teacher", "none", "--engine", "inline"),
]

LONGER = [*QUICK, "--trials", "30"]
"""So that it is still there when a busy machine comes to look."""


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, as a terminal would start it."""
    command = [sys.executable, "-m", "augsearch.search.cli", "run", *arguments, "--study", "demo"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        yield process


def address_of(process: subprocess.Popen[str]) -> str:
    """Where the page is, as the run says it."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(PAGE):
            return line.removeprefix(PAGE).strip()
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())


def fetched(address: str) -> bytes | None:
    """The page; None where nobody serves it."""
    try:
        with urllib.request.urlopen(address) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, ConnectionError):
        return None


def test_the_page_is_there_while_the_run_goes_on_and_shows_its_end(stripes: str, workplace: Path) -> None:
    browser = {"DISPLAY": ":0", "BROWSER": f"{sys.executable} -c \"open('opened', 'w').write('%s')\""}
    with ExitStack() as stack:
        with contextlib.suppress(OSError):  # then somebody else has it
            stack.enter_context(socket.create_server(("127.0.0.1", 5200)))
        process = stack.enter_context(running(stripes, *LONGER, "--open", **browser))
        address = address_of(process)
        assert not address.endswith(":5200/")
        pages = []
        while (page := fetched(address)) is not None:
            pages.append(page)
            time.sleep(0.2)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert b"augsearch watch demo" in pages[0]
    assert b'data-over="yes"' in pages[-1]
    assert b"test accuracy" in pages[-1].lower()
    assert Path("opened").read_text() == address

    with running(stripes, *LONGER, "--open") as process:
        told, _ = process.communicate()
    assert "nothing is left to run; the report is mlruns/demo/report.html" in told
    assert PAGE not in told


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_however_a_run_ends_the_page_ends_too(stripes: str, end: signal.Signals) -> None:
    with running(stripes, *QUICK, "--trials", "500", "--open") as process:
        address = address_of(process)
        if end is signal.SIGINT:  # as Ctrl-C: it reaches the server too
            os.killpg(process.pid, end)
        else:
            process.send_signal(end)
        while fetched(address) is not None:
            time.sleep(0.2)
        _, errors = process.communicate()
    if end is signal.SIGINT:
        assert errors.strip() == "Stopped; nothing is lost. The same command goes on where it stopped."
        assert process.returncode == 130
