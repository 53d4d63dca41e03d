"""Readers of strangers' files hold: a bounded part of what ``make fuzz`` does in an hour."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
INPUTS = 150


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.fuzz.__main__")


def test_every_reader_reads_or_refuses_in_one_line(fuzz: Any, tmp_path: Path) -> None:
    done = CliRunner().invoke(fuzz.main, ["--inputs", str(INPUTS), "--keep", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if line.endswith("| none |")]
    assert len(rows) == 8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "told"), [(KeyError("lost"), "KeyError: 'lost'"), (None, "refused in 2 lines")]
)
def test_a_reader_that_does_not_hold_ends_with_status_1_and_the_file_is_kept(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, told: str
) -> None:
    found = importlib.import_module("benchmarks.fuzz.readers")

    def read(content: bytes) -> object:
        if b"\x00" in content:
            raise error or found.BadImageError("first\nsecond")
        return None

    monkeypatch.setattr(fuzz, "readers", lambda folder: [found.Reader("toy", (b"a whole file",), read)])
    done = CliRunner().invoke(fuzz.main, ["--inputs", "2000", "--keep", str(tmp_path)])
    assert done.exit_code == 1
    assert told in done.stdout
    (kept,) = tmp_path.iterdir()
    assert b"\x00" in kept.read_bytes()


def test_a_reader_that_hangs_and_catches_everything_is_found(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.import_module("benchmarks.fuzz.readers")

    def read(content: bytes) -> object:
        try:
            while True:
                pass
        except Exception as error:
            raise found.BadImageError("cut off") from error

    monkeypatch.setattr(fuzz, "HUNG", 1)
    monkeypatch.setattr(fuzz, "readers", lambda folder: [found.Reader("toy", (b"a whole file",), read)])
    done = CliRunner().invoke(fuzz.main, ["--inputs", "1", "--keep", str(tmp_path)])
    assert done.exit_code == 1
    assert "took more than 1 s" in done.stdout


def test_a_name_that_no_reader_has_is_told(fuzz: Any) -> None:
    done = CliRunner().invoke(fuzz.main, ["--only", "nobody"])
    assert done.exit_code == 1
    assert "no reader has 'nobody'" in done.output
