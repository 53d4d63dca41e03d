"""A figure can be made while another thread is in the midst of an import, as MLflow's log may be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import augsearch.search

SLOW = """
import time
time.sleep(1.5)
version_info = (9, 0)
"""
"""Longer than the rest takes to be imported; on a slower machine the test finds nothing, and passes."""
DRAWN = """
import sys, threading
from matplotlib.figure import Figure
thread = threading.Thread(target=__import__, args=["IPython"])
thread.start()
while "IPython" not in sys.modules:
    pass
import {module}
Figure().savefig("figure.png")
thread.join()
"""


@pytest.mark.parametrize("module", ["augsearch.search.figures.search", "augsearch.search.report.svg"])
def test_a_figure_waits_for_an_import_of_another_thread(tmp_path: Path, module: str) -> None:
    (tmp_path / "IPython.py").write_text(SLOW, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    program = [sys.executable, "-c", DRAWN.format(module=module)]
    drawn = subprocess.run(
        program, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert drawn.stderr == ""
    assert (tmp_path / "figure.png").exists()


def test_nobody_draws_another_figure() -> None:
    home = Path(augsearch.search.__file__).parent
    drawing = [file for file in home.rglob("*.py") if "matplotlib.figure" in file.read_text(encoding="utf-8")]
    assert [file.relative_to(home).as_posix() for file in drawing] == ["figures/figure.py"]
