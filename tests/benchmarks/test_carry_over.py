"""The benchmark of carry-over: trainings differ in the policy alone, and tables say what is known."""

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
    return lambda name: importlib.import_module(f"benchmarks.carry_over.{name}")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders of images that differ by their colour."""
    rng = np.random.default_rng(0)
    for label, name in enumerate("abc"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(40):
            image = rng.integers(0, 120, (80, 90, 3), dtype=np.uint8)
            image[..., label] += 100
            cv2.imwrite(str(folder / f"{number}.jpg"), image)
    return tmp_path / "photos"


def test_first_rounds_come_first_and_ways_share_their_policies(part: Any) -> None:
    plans = part("plans")
    jobs = plans.jobs("x 0", plans.Sizes(policies=5, folds=2, seeds=3))
    assert [job.number for job in jobs] == sorted(job.number for job in jobs)
    by_way: dict[str, list[Any]] = {}
    for job in jobs:
        by_way.setdefault(job.way.name, []).append((job.policy, job.number))
    final = by_way.pop("final")
    assert len(final) == 15
    assert all(len(some) == 10 and set(some) < set(final) for some in by_way.values())
    assert len({job.key for job in jobs}) == len(jobs)


def test_it_trains_every_way_once_and_draws_its_tables_from_what_is_known(
    part: Any, photos: Path, tmp_path: Path
) -> None:
    command, results, page = part("__main__").main, tmp_path / "results.json", tmp_path / "page.md"
    arguments = ["--quick", "--images", str(photos), "--work", str(tmp_path / "work")]
    done = CliRunner().invoke(command, [*arguments, "--output", str(results), "--markdown", str(page)])
    assert done.exit_code == 0, done.output
    trainings = json.loads(results.read_text(encoding="utf-8"))["trainings"]
    assert len(trainings) == 5 * (2 + 2)
    learned = {one["outcome"]["passes"] for one in trainings if one["job"]["way"]["name"] == "scratch"}
    assert len(learned) == 1  # as much, whatever the policy
    text = page.read_text(encoding="utf-8")
    assert "5 policies, n = 2 final trainings of each" in text
    assert "| scratch: tiny, 32 px, 80 % of the images × 2, 2 folds |" in text
    again = CliRunner().invoke(command, [*arguments, "--output", str(results), "--minutes", "0"])
    assert again.exit_code == 0, again.output
    assert "what may stand in" in again.output
    assert json.loads(results.read_text(encoding="utf-8"))["trainings"] == trainings
