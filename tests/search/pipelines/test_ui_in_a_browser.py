"""``augsearch ui`` as a person meets it: in a real browser, from the address that it prints."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import augsearch.search as s
from tests.browsers import open_browser

PATIENCE = 60
"""Seconds until something must be there, on a machine that is busy."""
SIZES: dict[str, Any] = {"trials": 7, "folds": 1, "epochs": 1, "confirm_folds": 2, "final_epochs": 1}


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser() as opened:
        opened.set_window_size(1600, 1000)
        yield opened


def opened(browser: webdriver.Chrome, address: str) -> None:
    """Open ``address`` anew: MLflow keeps the chosen file where only the end of the address changes."""
    browser.get("about:blank")
    browser.get(address)


def until(browser: webdriver.Chrome, is_so: Callable[[], object], what: str) -> None:
    WebDriverWait(browser, PATIENCE).until(lambda _: is_so(), f"not there: {what}")


def see(browser: webdriver.Chrome, *words: str) -> str:
    """Wait until the page has all of ``words``; its text."""

    def text() -> str:
        return str(browser.execute_script("return document.body.innerText"))  # type: ignore[no-untyped-call]

    until(browser, lambda: all(word in text() for word in words), ", ".join(words))
    return text()


def test_the_address_that_is_printed_shows_the_study_its_trials_and_its_report(
    stripes: str, browser: webdriver.Chrome
) -> None:
    networks = {"proxy_model": "tiny", "final_model": "tiny", "teacher": "none", "engine": "inline"}
    result = s.run(stripes, **SIZES, **networks, progress=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "augsearch.search.cli", "ui", "--no-open", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            lines = [server.stdout.readline() for _ in range(3)]
            assert result.name in lines[0]
            run, trials = (re.findall(r"http://\S+", line)[0] for line in lines[:2])

            # The study's run: the verdict, and the policy that was found.
            browser.get(run)
            text = see(browser, result.name, str(result.verdict)[:30], "confirmed_accuracy")
            assert "Model training" in text
            # Its trials, best first, with the data that they learned from.
            browser.get(trials)
            see(browser, "none", "trial 6", "7 matching runs", "stripes")
            names = browser.find_elements(By.CSS_SELECTOR, "a[href*='/runs/']")
            shown = [name.text for name in names if name.text in set(result.trials["name"])]
            best = result.trials.sort_values("score", ascending=False)
            ties = best[best["score"] == best["score"].iloc[0]]["name"].tolist()
            assert shown[0] in ties
            # What lies beside it opens in place.
            at = run.partition("?")[0]
            opened(browser, f"{at}/artifacts/policy.json")
            see(browser, "report.html", "preview.png", '"policy"')
            opened(browser, f"{at}/artifacts/preview.png")
            until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "img[src^='blob:']"), "a picture")
            opened(browser, f"{at}/artifacts/report.html")
            until(browser, lambda: browser.find_elements(By.TAG_NAME, "iframe"), "the report's frame")
            browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
            see(browser, str(result.verdict)[:30])
        finally:
            server.send_signal(signal.SIGTERM)
    assert not Path("mlflow.db").exists()
