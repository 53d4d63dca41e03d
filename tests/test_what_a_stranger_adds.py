"""One thing, one place: a copy of the house with a thing of each kind added, used from the command line.

Nothing but the places that ``docs/architecture.md`` names is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import optuna
import pytest

ROOT = Path(__file__).parents[1]

OPERATION = '''

@operation("table", Range(0, 64), sets=("wide",), unit="grey levels")
def darken(value: float) -> Table:
    """Subtract from every grey value."""
    return Table(np.clip(IDENTITY_ENTRIES - value, 0, 255).astype(np.uint8))
'''

DIMENSION = """    Dimension(
        "ranges",
        Choice(("standard", "wide")),
        default="standard",
        step=Redraw(0.5),
        words=Words("what magnitudes mean"),
    ),
"""

METRIC = """

SURE = declared(
    Metric(
        name="toy-accuracy",
        label="toy accuracy",
        difference_unit="toy points",
        margin=0.02,
        per_image=lambda logits, labels: (logits.argmax(axis=1) == labels).astype(float),
    )
)
"""

FILES = {
    "trainers/semi/toy.py": '''
from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from augsearch.trainers.semi.technique import Technique


class Toy(Technique):
    """Every image is of the first class, by half."""

    words: ClassVar[str] = "toy learning"
    technique: Literal["toy"] = "toy"

    def target_finder(self, learner, shares, images, teacher):
        def find(batch, parts):
            targets = shares.new_zeros(len(batch.images), len(shares))
            targets[:, 0] = 0.5
            return replace(batch, targets=targets)

        return find
''',
    "trainers/data/sources/stripes.py": '''
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.sources.base import Sample, SourceKind


@dataclass(frozen=True)
class Stripes:
    """Upright and lying stripes, as many as its name says; found and opened at once."""

    total: int
    name: str = "stripes"
    folder: None = None
    classes: tuple[str, ...] = ("lying", "upright")

    def signature(self):
        return f"stripes {self.total}"

    def open(self):
        return self

    def side(self, largest):
        return 16

    def size(self):
        return 16, 16

    def samples(self, size):
        for number in range(self.total):
            image = np.zeros((size, size, 1), np.uint8)
            image[number % 5 :: 2 + number % 3] = 200
            label = number % 2
            yield Sample(str(number), image.swapaxes(0, label), label, Split.ANY)

    def unlabeled_folder(self):
        return None

    def unlabeled_truth(self, files):
        return None


def find(source):
    number = (source or "").removeprefix("stripes:")
    return Stripes(int(number)) if number.isdigit() else None


KIND = SourceKind(order=40, given_as="stripes:NUMBER", find=find)
''',
    "search/engines/counting.py": '''
from pathlib import Path

from augsearch.search.engines.inline import InlineEngine


class CountingEngine(InlineEngine):
    """Runs tasks here, and writes a line for each."""

    def submit(self, function, *args, **kwargs):
        with Path("counted").open("a") as file:
            file.write(f"{function.__name__}\\n")
        return super().submit(function, *args, **kwargs)


def start(settings):
    return CountingEngine()
''',
    "trainers/models/export/pickled.py": """
import torch

from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.export.base import Format


def _write(model, spec, images, path):
    torch.save(model.state_dict(), path)


def _read(path, spec):
    model = build_model(spec, seed=0).eval()
    model.load_state_dict(torch.load(path))
    return model


FORMAT = Format("pickled", (".toy",), "the weights as torch pickles them", _write, _read)
""",
    "search/commands/greet.py": '''
import click

from augsearch.search.options.command import Command

PLACE = 1000


@click.command("greet", cls=Command)
def command() -> None:
    """Greet a stranger."""
    click.echo("welcome to the house")
''',
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the three folders with the additions."""
    root = tmp_path_factory.mktemp("house")
    for folder in ("policies", "trainers", "search"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, root / "augsearch" / folder, ignore=ignored)
    for name, text in FILES.items():
        path = root / "augsearch" / name
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
    append(root / "augsearch/policies/operations.py", OPERATION)
    append(root / "augsearch/trainers/evaluation/metrics.py", METRIC)
    dimensions = root / "augsearch/search/space/dimensions.py"
    before, after = dimensions.read_text(encoding="utf-8").split("_POLICY: list[Declared] = [\n")
    own, rest = after.split("\n]\n", 1)
    dimensions.write_text(
        f"{before}_POLICY: list[Declared] = [\n{own}\n{DIMENSION}]\n{rest}", encoding="utf-8"
    )
    return root


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def said(house: Path, *arguments: str) -> str:
    """What a command of the copy prints."""
    environment = {**os.environ, "PYTHONPATH": str(house)}
    done = subprocess.run(
        [sys.executable, "-m", "augsearch.search.cli", *arguments],
        cwd=house,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_all_of_them_are_listed(house: Path) -> None:
    listed = {entry["name"]: entry for entry in json.loads(said(house, "operations", "--json"))}
    assert listed["darken"]["sets"] == ["wide"]
    assert "greet" in said(house, "--help")
    assert "welcome" in said(house, "greet")
    run_help = "".join(said(house, "run", "--help").split())
    for name in ("counting", "toy-accuracy", "|toy"):
        assert name in run_help
    assert ".toy" in said(house, "export-model", "--help")


def test_a_run_uses_all_of_them(house: Path) -> None:
    rng = np.random.default_rng(0)
    (house / "more").mkdir()
    for number in range(12):
        cv2.imwrite(str(house / "more" / f"{number}.png"), rng.integers(0, 256, (16, 16), dtype=np.uint8))
    printed = said(
        house,
        *("run", "stripes:160", "--study", "toys", "--engine", "counting", "--metric", "toy-accuracy"),
        *("--operations", "darken,rotate", "--semi", "toy", "--unlabeled", "more", "--teacher", "none"),
        *("--trials", "10", "--folds", "1", "--confirm-folds", "2", "--epochs", "1", "--fold-size", "30"),
        *("--proxy-model", "tiny", "--final-model", "tiny", "--final-epochs", "1"),
    )
    assert "toy accuracy" in printed
    assert (house / "counted").read_text().count("evaluate\n") >= 8

    study = optuna.load_study(study_name="toys", storage=f"sqlite:///{house}/mlruns/studies.db")
    candidates = [trial.user_attrs["candidate"] for trial in study.trials]
    assert {candidate["semi"]["technique"] for candidate in candidates if candidate["semi"]} == {"toy"}
    new = [trial for trial in study.trials if "baseline" not in trial.user_attrs]
    assert new
    for trial in new:
        assert trial.params["ranges"] == trial.user_attrs["candidate"]["policy"]["ranges"]
    assert any("op_darken" in trial.params for trial in new)

    said(house, "export-model", "mlruns/toys", "-o", "model.toy")
    assert (house / "model.toy").is_file()
