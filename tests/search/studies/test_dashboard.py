"""Optuna's own tools on our studies: the dashboard's server, and its plots."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from matplotlib.figure import Figure

from augsearch.search.studies.dashboard import keep_note


@pytest.fixture
def study(make_study: Callable[..., optuna.Study]) -> optuna.Study:
    return make_study()


def asked(address: str, server: subprocess.Popen[bytes]) -> Any:
    """What a server says once it is there."""
    for _ in range(600):
        assert server.poll() is None
        try:
            with urllib.request.urlopen(address) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError("the dashboard did not start in two minutes")


def test_the_dashboard_shows_trials_and_verdict(study: optuna.Study) -> None:
    pytest.importorskip("optuna_dashboard", reason="pip install optuna-dashboard")
    keep_note(study, "Use RandAugment (2, 9).", "RandAugment (2, 9)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "from optuna_dashboard._cli import main; main()"
    command = [sys.executable, "-c", program, "sqlite:///mlruns/studies.db", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            shown = asked(f"http://127.0.0.1:{port}/api/studies/{study._study_id}", server)
        finally:
            server.terminate()
    assert shown["note"]["body"].startswith("**Use RandAugment (2, 9).**")
    assert len(shown["trials"]) == 16
    assert {"key": "baseline", "value": "none"} in shown["trials"][0]["user_attrs"]


def test_optunas_plots_work(study: optuna.Study) -> None:
    from optuna.visualization import matplotlib as plots

    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        drawn = [
            plots.plot_optimization_history(study),
            plots.plot_intermediate_values(study),
            plots.plot_slice(study),
        ]
    assert all(isinstance(axes.figure, Figure) for axes in drawn)
