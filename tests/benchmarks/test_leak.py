"""The benchmark of a planted leak: copies are edited, and nothing but their content says whose they are."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def leak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("benchmarks.leak")
    for name, number in (("ORIGINALS", 3), ("FRESH", 2)):
        monkeypatch.setattr(module, name, number)
    return module


def test_every_image_is_either_copied_or_fresh(leak: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(5):  # each of another brightness, by which its copies are known
            image = rng.integers(0, 8, (32, 32, 3), dtype=np.uint8) + np.uint8(20 * 1.7**number)
            cv2.imwrite(str(tmp_path / "train" / name / f"{number}.png"), image)
    leak.plant(tmp_path, tmp_path / "out", seed=1)
    for name in ("cat", "dog"):
        data = sorted((tmp_path / "out/data" / name).iterdir())
        fresh = sorted((tmp_path / "out/fresh" / name).iterdir())
        assert (len(data), len(fresh)) == (3 * leak.COPIES, 2)
        nearest = [
            [round(np.log(cv2.imread(str(file)).mean() / 20) / np.log(1.7)) for file in files]
            for files in (data, fresh)
        ]
        assert sorted(set(nearest[0]) | set(nearest[1])) == [0, 1, 2, 3, 4]
        assert not set(nearest[0]) & set(nearest[1])
        assert len({file.read_bytes() for file in data}) == len(data)


def test_the_table_tells_mean_and_deviation_of_the_difference(leak: Any) -> None:
    scores = [leak.Score(40.0, 42.0, 2000), leak.Score(44.0, 42.0, 2000), leak.Score(45.0, 42.0, 2000)]
    text = leak.table(scores, "grouped").markdown()
    assert "on 2,000 fresh images, %" in text
    assert "| mean ± sd | 43.0 | 42.0 | +1.0 ± 2.6 |" in text
