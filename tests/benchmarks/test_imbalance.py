"""The benchmark of unequal classes: trainings differ in the balance alone, and none is trained twice."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.imbalance.{name}")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders of unequal size, told apart by their colour."""
    rng = np.random.default_rng(0)
    for label, (name, count) in enumerate({"a": 60, "b": 20, "c": 20}.items()):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(count):
            image = rng.integers(0, 120, (40, 40, 3), dtype=np.uint8)
            image[..., label] += 100
            cv2.imwrite(str(folder / f"{number}.png"), image)
    return tmp_path / "photos"


def test_every_way_is_trained_alike_and_only_once(part: Any, photos: Path, tmp_path: Path) -> None:
    command, results, page = part("__main__").main, tmp_path / "results.json", tmp_path / "page.md"
    arguments = ["--quick", "--images", str(photos), "--work", str(tmp_path / "work")]
    done = CliRunner().invoke(command, [*arguments, "--output", str(results), "--markdown", str(page)])
    assert done.exit_code == 0, done.output
    trainings = json.loads(results.read_text(encoding="utf-8"))["trainings"]
    balances = list(part("plans").BALANCES)
    assert balances == ["none", "loss", "sampling", "logit-adjustment"]
    assert [one["job"].pop("balance") for one in trainings] == 2 * balances
    assert all(one["job"] == trainings[0]["job"] for one in trainings[:4])
    assert len({one["outcome"]["passes"] for one in trainings}) == 1
    text = page.read_text(encoding="utf-8")
    assert "3 classes of 10 to 30 images, 50 to learn from." in text
    assert all(f"| `{balance}` |" in text for balance in balances)
    assert str(tmp_path) not in text
    before = results.read_text(encoding="utf-8")
    again = CliRunner().invoke(command, [*arguments, "--output", str(results), "--minutes", "0"])
    assert again.exit_code == 0, again.output
    assert json.loads(results.read_text(encoding="utf-8"))["trainings"] == json.loads(before)["trainings"]


def test_without_a_whole_seed_it_says_so(part: Any, photos: Path, tmp_path: Path) -> None:
    arguments = ["--quick", "--images", str(photos), "--work", str(tmp_path / "work"), "--minutes", "0"]
    done = CliRunner().invoke(part("__main__").main, arguments)
    assert done.exit_code == 1
    assert "not one seed has all its trainings yet" in done.output
