"""A disk that is really full: one line, nothing lost, and the same command goes on."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = """
run stripes.npz --study s --proxy-model tiny --epochs 1 --folds 1 --trials 7 --confirm-folds 2
--teacher none --engine inline --no-final
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(small_disk: Path, stripes: str) -> None:
    shutil.copy(stripes, small_disk / "stripes.npz")

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "augsearch.search.cli", *shlex.split(COMMAND)]
        return subprocess.run(command, cwd=small_disk, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode in (1, 2)
    said = done.stderr.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("Error: ")
    assert "the disk is full" in said[0]
    assert "the same command goes on" in said[0]
    assert "Traceback" not in done.stdout
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = run()
    assert done.returncode == 0, done.stderr
    assert (small_disk / "mlruns" / "s" / "policy.json").exists()
    assert "failed" not in done.stdout
