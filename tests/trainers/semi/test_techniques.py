"""The contract of every technique for unlabeled images; and one that is added by a file alone."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import augsearch.trainers.semi as room
from augsearch.policies import Policy, PolicyFile, Semi, Training, read_policy, write_policy
from augsearch.policies.errors import explain
from augsearch.policies.training import FORMERLY_COMMON, TECHNIQUES
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.labeler import Labeler, predict_in_memory
from augsearch.trainers.semi.learn import learn
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.semi.technique import Technique
from augsearch.trainers.semi.techniques import load_techniques, technique_of
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
ALL = load_techniques()
COMMON = {"technique", "weight", "ratio", "policy"}

FLAT = {"weight": 0.5, "ratio": 3.0, "policy": None} | FORMERLY_COMMON
"""What a file of old says of any technique."""

TOY = '''
from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from augsearch.trainers.semi.technique import Technique


class Toy(Technique):
    """Every image is of the first class, as surely as the settings say."""

    words: ClassVar[str] = "toy"
    technique: Literal["toy"] = "toy"
    sure: float = Field(default=0.5, ge=0, le=1)

    def target_finder(self, learner, shares, images, teacher):
        def find(batch, parts):
            targets = shares.new_zeros(len(batch.images), len(shares))
            targets[:, 0] = self.sure
            return replace(batch, targets=targets)

        return find
'''


def images(count: int, seed: int = 0) -> LabeledImages:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(count) % 3, 3)


def one_epoch(technique: Technique) -> EpochResult:
    """A training of one epoch beside unlabeled images, labeled before it where that is needed."""
    spec = ModelSpec(
        name="tiny", channels=3, image_size=8, classes=("a", "b", "c"), mean=(100.0,) * 3, std=(50.0,) * 3
    )
    recipe = Recipe(epochs=1, batch_size=8, precision="float32")
    learner = Learner.prepare(build_model(spec, 0), recipe)
    teacher = build_model(spec, 1).eval()
    pool = Pool(images(40, seed=1), technique, Policy(num_ops=1))
    labeler = Labeler(
        lambda model, _: predict_in_memory(model, pool.images.images, CPU),  # type: ignore[attr-defined]
        np.full(3, 1 / 3),
    )
    technique.prepare_student(learner.model)
    if not len(pool.rows):
        labeler.label(pool, teacher, "teacher")
    setup = TrainingSetup(images(30), Policy(num_ops=1), recipe, seed=0, device=CPU, teacher=teacher)
    (epoch,) = [event for event in learn(learner, setup, pool, labeler) if isinstance(event, EpochResult)]
    return epoch


@pytest.mark.parametrize("name", ALL)
def test_settings_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    semi = ALL[name].model_validate({"weight": 0.25, "policy": {"num_ops": 1}})
    assert Semi.model_validate_json(semi.model_dump_json()) == semi
    assert Semi.model_validate(semi) is semi
    file = PolicyFile(policy=Policy(num_ops=0), training=Training(semi=semi))
    write_policy(file, tmp_path / "policy.json")
    assert read_policy(tmp_path / "policy.json") == file
    written = json.loads((tmp_path / "policy.json").read_text())["training"]["semi"]
    assert written.keys() == type(semi).model_fields.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_old_with_the_fields_of_all_techniques_loads(name: str) -> None:
    semi = technique_of(Semi.model_validate({"technique": name, **FLAT}))
    assert type(semi) is ALL[name]
    assert semi.weight == 0.5
    assert semi == ALL[name](weight=0.5, ratio=3.0)
    if not ALL[name].model_fields.keys() - COMMON - FORMERLY_COMMON.keys():
        assert semi.hashed() == {"technique": name, **FLAT}, "what was begun then is known again"


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Training.model_validate({"semi": {"technique": name, "sparkle": 1}})
    assert explain(caught.value) == "semi.sparkle is not a known field"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore:.*")
def test_a_training_learns_with_it(name: str) -> None:
    fields = {"threshold": 0.0} if "threshold" in ALL[name].model_fields else {}
    epoch = one_epoch(ALL[name].model_validate(fields))
    assert epoch.unlabeled > 0
    assert epoch.used > 0
    assert np.isfinite(epoch.loss)


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_it_is_called_and_the_documents_have_its_settings(name: str) -> None:
    document = (ROOT / "docs" / "policy-format.md").read_text(encoding="utf-8")
    assert ALL[name].words
    assert f"`{name}`" in document
    for field in ALL[name].model_fields:
        assert f"`{field}`" in document, field


def test_an_unknown_technique_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValidationError) as caught:
        Training.model_validate({"semi": {"technique": "telepathy"}})
    known = ", ".join(sorted(TECHNIQUES))
    assert explain(caught.value) == f"semi: unknown technique 'telepathy'; known are {known}"


def test_the_techniques_stand_in_the_order_in_which_studies_of_old_have_them() -> None:
    assert list(ALL) == ["pseudo", "self-training", "fixmatch", "distillation"]


def test_which_techniques_ask_a_teacher() -> None:
    asking = {name for name, technique in ALL.items() if technique().asks_teacher}
    assert asking == {"distillation"}
    assert PseudoLabels(labeler="teacher").asks_teacher


def python(program: str, *arguments: str, path: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, *program.split("\n", 1)[0].split(), *arguments]
        if program.startswith("-m")
        else [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_whoever_reads_settings_does_without_torch() -> None:
    program = (
        "import sys\n"
        "from augsearch.trainers.workspace.candidate import Candidate\n"
        "from augsearch.policies import Policy\n"
        "semi = {'technique': 'fixmatch'}\n"
        "from augsearch.trainers.semi.techniques import technique_of\n"
        "candidate = Candidate.model_validate({'policy': Policy(num_ops=0), 'semi': semi})\n"
        "print(type(technique_of(candidate.semi)).__name__)\n"
        "print({'torch', 'optuna', 'mlflow'} & set(sys.modules))\n"
    )
    assert python(program) == "FixMatch\nset()\n"


def test_with_policies_alone_a_file_of_any_technique_loads_and_is_understood_later(tmp_path: Path) -> None:
    path, again = tmp_path / "policy.json", tmp_path / "again.json"
    semi = FixMatch(threshold=0.7, per_class=True)
    write_policy(PolicyFile(policy=Policy(num_ops=0), training=Training(semi=semi)), path)
    program = (
        "import sys\n"
        "from augsearch.policies import Semi, read_policy, write_policy\n"
        "file = read_policy(sys.argv[1])\n"
        "assert not [name for name in sys.modules if name.startswith('augsearch.trainers')]\n"
        "write_policy(file, sys.argv[2])\n"
        "from augsearch.trainers.semi.techniques import technique_of\n"
        "print(repr(technique_of(file.training.semi)))\n"
    )
    assert python(program, str(path), str(again)) == f"{semi!r}\n"
    assert json.loads(path.read_text()) == json.loads(again.read_text())


def test_nothing_outside_a_techniques_own_file_asks_for_it_by_name() -> None:
    own = {Path(sys.modules[technique.__module__].__file__ or "") for technique in ALL.values()}
    for folder in ("policies", "trainers", "search"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path in own:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare):
                    constants = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
                    assert "technique" not in ast.unparse(node) or not constants & set(ALL), path


@pytest.fixture
def toy_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that belongs to the room of techniques; what it declares is forgotten afterwards."""
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    yield tmp_path
    for name in set(TECHNIQUES) - set(ALL):
        sys.modules.pop(TECHNIQUES.pop(name).__module__)


def test_a_file_in_the_room_is_all_that_a_new_technique_takes(toy_room: Path) -> None:
    (toy_room / "toy.py").write_text(TOY, encoding="utf-8")
    assert list(load_techniques()) == [*ALL, "toy"]
    toy = technique_of(Semi.model_validate({"technique": "toy", "sure": 0.75, "align": True}))
    assert one_epoch(toy).used == pytest.approx(0.75)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Semi.model_validate({"technique": "toy", "sure": 2})


def test_two_techniques_of_one_name_are_refused(toy_room: Path) -> None:
    for name in ("toy", "twin"):
        (toy_room / f"{name}.py").write_text(TOY, encoding="utf-8")
    with pytest.raises(TypeError, match="both declare the technique 'toy'"):
        load_techniques()


def test_a_new_technique_works_from_the_command_line(tmp_path: Path) -> None:
    for folder in ("policies", "trainers", "search"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / "augsearch" / folder, ignore=ignored)
    (tmp_path / "augsearch" / "trainers" / "semi" / "toy.py").write_text(TOY, encoding="utf-8")
    write_policy(PolicyFile(policy=Policy(num_ops=0)), tmp_path / "policy.json")
    said = python(
        "-m augsearch.search.cli",
        *("train", "--policy", "policy.json", "--semi", "toy", "--limit", "60", "--epochs", "1"),
        *("--model", "tiny", "--output", "out"),
        path=tmp_path,
    )
    assert "by toy" in said
    card: dict[str, Any] = json.loads((tmp_path / "out" / "model.json").read_text())
    assert card["training"]["unlabeled"]["technique"] == "toy"
