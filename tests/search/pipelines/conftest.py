"""A run that has ended, for tests of what comes after."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from augsearch.search.cli import main
from augsearch.search.engines import inline
from augsearch.search.studies.study import load_study, open_storage
from tests.search.pipelines.final_models import FinalEngine

ENDED_RUN = [
    *("--trials", "8", "--folds", "1", "--epochs", "1", "--confirm-folds", "2", "--final-epochs", "1"),
    *("--proxy-model", "tiny", "--final-model", "tiny", "--teacher", "none", "--engine", "inline"),
    *("--study", "mine", "--no-final"),
]


@pytest.fixture
def final_engine(monkeypatch: pytest.MonkeyPatch) -> FinalEngine:
    """What ``--engine inline`` is in this test."""
    torch.set_num_threads(1)
    engine = FinalEngine()
    monkeypatch.setattr(inline, "InlineEngine", lambda: engine)
    return engine


@pytest.fixture
def photos(workplace: Path) -> str:
    """A folder of 60 photos of two classes, of noise, in the test's own folder."""
    rng = np.random.default_rng(0)
    for number in range(60):
        path = workplace / "photos" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (100, 110, 3), dtype=np.uint8)).save(path)
    return "photos"


@pytest.fixture(scope="session")
def ended_run(stripes_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a run has ended."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copyfile(stripes_made, folder / "stripes.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, ["run", "stripes.npz", *ENDED_RUN])
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def ended_study(ended_run: Path, workplace: Path) -> optuna.Study:
    """Its study, in the test's own folder."""
    shutil.copytree(ended_run, workplace, dirs_exist_ok=True)
    return load_study(open_storage("sqlite:///mlruns/studies.db"), "mine")


@pytest.fixture
def ended_run_again() -> list[str]:
    """The arguments of the command that made it."""
    return ["run", "stripes.npz", *ENDED_RUN]
