"""How every test runs: no matter how fast the machine is, how busy, or how many tests run beside it."""

from __future__ import annotations

import os
import urllib.request

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.chaos.nodes import OF_RAY

WORKER_MEMORY = 2 * 2**30
"""Bytes: torch, MLflow and a test's own processes in one worker, with room to spare."""


def pytest_xdist_auto_num_workers() -> int:
    """One for every core that this process may use, as far as memory goes; 0, which is none, on one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // WORKER_MEMORY)
    return workers if workers > 1 else 0


if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core has threads enough; torch reads this, here and in the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A Ray node that is slow lives on: nobody would start another, and what waits for one has no end.
os.environ.update(OF_RAY | os.environ)

# Deadlines and "too slow" measure the machine. In CI the examples are the same in every run.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=os.environ.get("CI", "") not in ("", "false"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

# A proxy is for other machines: the servers that tests start on this one are asked directly.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost"]))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks another machine is refused at once: the proxy is a port where nobody listens."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    # urllib keeps the proxies that it saw first, for the whole process; so it forgets them again.
    monkeypatch.setattr(urllib.request, "_opener", None)
