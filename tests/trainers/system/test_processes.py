"""Processes beside this one: results in order, and none that stays behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import UserError
from augsearch.trainers.system.processes import follow_parent, in_order_by_processes, pool_of


def test_results_come_in_order() -> None:
    assert list(in_order_by_processes(abs, range(-30, 0), 2)) == list(range(30, 0, -1))


def test_who_asks_for_no_more_leaves_nobody_at_work() -> None:
    results = in_order_by_processes(abs, range(-30, 0), 2)
    assert next(results) == 30
    assert multiprocessing.active_children()
    results.close()
    assert not multiprocessing.active_children()


def test_what_is_raised_arrives() -> None:
    with pytest.raises(ValueError, match="base"):
        list(in_order_by_processes(int, ["1", "x"], 1))


def test_a_process_that_is_killed_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match="was killed"):
        list(in_order_by_processes(os._exit, [3], 1))


class CtrlC:
    """Reaches the process in which it arrives."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return signal.raise_signal, (signal.SIGINT,)


def ready(_: object) -> None:
    follow_parent()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals can't be held back on Windows")
def test_ctrl_c_is_left_to_who_started_them_before_they_are_ready_too() -> None:
    with pool_of(1, ready, CtrlC()) as pool:
        assert pool.submit(abs, -3).result() == 3
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


STARTS_SOME = """
from augsearch.trainers.system.processes import in_order_by_processes
import os, time
results = in_order_by_processes(time.sleep, [0, 600, 600], 2)
next(results)
import multiprocessing
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="sees by /proc whether a process is there")
def test_one_that_is_killed_leaves_nobody_at_work_for_it(tmp_path: Path) -> None:
    # No guard round the main program, as scripts and notebooks have none: it must not begin again there.
    script = tmp_path / "script.py"
    script.write_text(STARTS_SOME)
    killed = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=False, text=True)
    assert killed.returncode == -9
    children = killed.stdout.split()
    assert len(children) == 2
    while any(_is_there(child) for child in children):
        time.sleep(0.1)


def _is_there(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except OSError:
        return False
