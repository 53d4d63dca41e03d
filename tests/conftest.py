"""How every test runs: no matter how fast the machine is, how busy, or how many tests run beside it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core has threads enough; torch reads this, here and in the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Deadlines and "too slow" measure the machine. In CI the examples are the same in every run.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=os.environ.get("CI", "") not in ("", "false"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")
