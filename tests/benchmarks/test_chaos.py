"""Whatever dies, a search comes to the same: a bounded part of what ``make chaos`` does with fifty kills."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Finds its modules."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_search_under_which_everything_is_killed_comes_to_the_same(chaos: Any, engine: str) -> None:
    if chaos("servers").postgres_programs() is None:
        pytest.skip("needs root and PostgreSQL: apt-get install postgresql")
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install 'augsearch[ray]'")
    command = [sys.executable, "-m", "benchmarks.chaos", "--short", "--engine", engine]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same as undisturbed" in done.stdout


TRIAL = {
    "params": {"num_ops": 2},
    "state": "COMPLETE",
    "value": 0.5,
    "reason": None,
    "folds": {"fold 0": {"accuracy": 0.5}},
}
FOUND = {"trials": [TRIAL], "confirmed": {"confirmation 0 0": {"accuracy": 0.25}}, "verdict": "so"}


def changed(*places: tuple[tuple[Any, ...], Any]) -> dict[str, Any]:
    """What was found, with other values in some places."""
    found: Any = copy.deepcopy(FOUND)
    for place, value in places:
        inside = found
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (("trials", 0, "folds", "fold 0", "accuracy"), "trial 0"),
        (("trials", 0, "state"), "trial 0"),
        (("confirmed", "confirmation 0 0", "accuracy"), "confirmed"),
        (("verdict",), "verdict"),
    ],
)
def test_a_search_that_comes_to_something_else_is_told(chaos: Any, place: tuple[Any, ...], told: str) -> None:
    results = chaos("chaos.results")
    results.check_same(changed(), FOUND)
    with pytest.raises(click.ClickException, match=f"another result than undisturbed: {told}"):
        results.check_same(changed((place, "other")), FOUND)


def test_who_takes_more_than_it_may_loses_by_that_alone(chaos: Any) -> None:
    results, at = chaos("chaos.results"), ("trials", 0)
    slow = "a fold took longer than 60 s (--fold-timeout)"
    lost = [((*at, "state"), "FAIL"), ((*at, "value"), None), ((*at, "reason"), slow)]
    assert results.check_limited(changed(*lost), FOUND) == [slow]
    with pytest.raises(click.ClickException, match="another score"):
        results.check_limited(changed(*lost, ((*at, "folds", "fold 0", "accuracy"), 0.75)), FOUND)
    with pytest.raises(click.ClickException, match="another result"):
        results.check_limited(changed(*lost[:2], ((*at, "reason"), "a worker died")), FOUND)


def test_a_signal_reaches_the_process_that_was_found_and_no_later_one(chaos: Any) -> None:
    processes = chaos("chaos.processes")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (found,) = [one for one in processes.below(os.getpid()) if one.number == child.pid]
    assert not found._replace(born="0").send(signal.SIGKILL)
    assert found.send(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not found.send(signal.SIGKILL)
