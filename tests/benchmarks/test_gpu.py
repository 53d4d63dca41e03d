"""``make bench-gpu``: its parts are commands that are there, and what goes wrong in one is told."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.gpu")


def test_all_of_it_takes_less_than_ten_minutes(gpu: Any) -> None:
    assert sum(part.seconds for part in gpu.PARTS) < 600


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, on which make bench-gpu is the test")
def test_without_a_gpu_it_says_so_in_one_line(gpu: Any) -> None:
    done = CliRunner().invoke(gpu.main, [])
    assert (done.exit_code, done.output) == (
        1,
        "Error: torch finds no GPU here; nvidia-smi says whether the driver sees one\n",
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU, on which make bench-gpu is the test")
def test_every_part_comes_as_far_as_the_gpu_that_is_not_there(gpu: Any) -> None:
    tests, search, throughput, training = gpu.PARTS
    text, done = gpu.run(tests)
    assert done, text
    assert "skipped" in text
    assert "passed" not in text  # all that it picks needs a GPU
    for part in (search, throughput, training):
        text, done = gpu.run(part)
        assert not done
        assert "cuda" in text.lower() or "NVIDIA" in text, text


def test_a_part_that_takes_too_long_is_ended_and_the_page_says_so(gpu: Any) -> None:
    text, done = gpu.run(gpu.Part("Sleep", "timeit", ("-n", "1", "import time; time.sleep(60)"), seconds=1))
    assert not done
    assert "`timeit` was ended after 1 s." in text
