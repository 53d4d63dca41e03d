"""A small real data set, and a working directory of its own for every test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, so ``mlruns/`` is its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stripes(tmp_path: Path) -> str:
    """An .npz of 120 grey 16-px images of three classes that can be learned: stripes of three directions."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    patterns = np.stack([np.sin(x), np.sin(y), np.sin((x + y) / 1.5)])
    labels = np.repeat(np.arange(3), 40)
    images = 128 + 60 * patterns[labels] + rng.normal(0, 40, (120, 16, 16))
    path = tmp_path / "stripes.npz"
    np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=labels)
    return str(path)
