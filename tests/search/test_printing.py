"""Printing never loses work: whatever letters a terminal or a log knows."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from augsearch.search.console import Display


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "cp437"])
def test_a_line_and_a_table_go_to_any_encoding(encoding: str) -> None:
    written = io.BytesIO()
    display = Display(Console(file=io.TextIOWrapper(written, encoding=encoding, write_through=True)))
    drawn = Table("→", "α = 4 × 0.5 ± 1")
    drawn.add_row("→", "日本 \udce9")
    display.line("→ 日本 [not markup] \udce9")
    display.table(drawn)
    said = written.getvalue().decode(encoding)
    assert "[not markup]" in said
    assert "\\udce9" in said
    assert ("日本" in said) == (encoding == "utf-8")


def test_a_command_ends_well_where_its_output_is_not_utf_8(workplace: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "augsearch.search.cli", "operations"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"rotate" in done.stdout
