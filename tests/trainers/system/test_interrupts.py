"""Ctrl-C waits for the end of a block, and for nothing else."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from augsearch.trainers.system.interrupts import interrupted_later


def test_it_comes_at_the_end() -> None:
    done = []

    def work() -> None:
        with interrupted_later():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_nothing_comes_and_errors_pass() -> None:
    with interrupted_later():
        pass
    with pytest.raises(ValueError, match="own"), interrupted_later():
        raise ValueError("own")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_it_goes_on_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupted_later():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_it_alone() -> None:
    def work() -> str:
        with interrupted_later():
            return "done"

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(work).result() == "done"
