"""Memory that stays at hand: taken from the system once, and given back at the end."""

import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from augsearch.trainers.system.memory import memory_at_hand

PAGE = 4096
BLOCK = 256 << 20
"""Bytes; more than the C library would keep by itself."""

needs_glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc",
    reason="it is for Linux with the GNU C library",
)


def ask_and_free() -> int:
    """A block is written and freed; returns how many pages the system gave for it."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(BLOCK, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


@needs_glibc
def test_a_block_is_taken_from_the_system_once() -> None:
    with memory_at_hand():
        ask_and_free()
        assert ask_and_free() < BLOCK // PAGE // 10


@needs_glibc
def test_the_system_has_it_back_at_the_end() -> None:
    before = resident()
    with memory_at_hand():
        ask_and_free()
        assert resident() > before + BLOCK // 2
    assert resident() < before + BLOCK // 2


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augsearch.trainers.system.memory._glibc", lambda: None)
    with memory_at_hand():
        assert np.ones(8).sum() == 8
