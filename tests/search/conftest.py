"""A small real data set, and a working directory of its own for every test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, so ``mlruns/`` is its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts() -> Iterator[None]:
    """Databases that don't wait for the disk: a test's hundreds of writes cost more than its trainings."""

    def hurry(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="session")
def stripes_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 120 grey 16-px images of three classes that can be learned: stripes of three directions."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    patterns = np.stack([np.sin(x), np.sin(y), np.sin((x + y) / 1.5)])
    labels = np.repeat(np.arange(3), 40)
    images = 128 + 60 * patterns[labels] + rng.normal(0, 40, (120, 16, 16))
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=labels)
    return path


@pytest.fixture
def stripes(stripes_made: Path, tmp_path: Path) -> str:
    """The stripes, in the test's own folder."""
    return str(shutil.copyfile(stripes_made, tmp_path / "stripes.npz"))
