"""Whole runs with unlabeled images: what is searched, recorded, logged and left in the folder."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from rich.console import Console

from augsearch.policies import Policy, PolicyFile, Semi, Training, UserError, read_policy, write_policy
from augsearch.search.console import Display
from augsearch.search.pipelines.run import next_steps, run
from augsearch.search.pipelines.train import train_from_file
from augsearch.search.settings.settings import Settings
from augsearch.search.tracking.database import absolute
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.semi.self_training import SelfTraining

QUICK: dict[str, Any] = {
    "trials": 8, "folds": 1, "confirm_folds": 2, "finalists": 1, "epochs": 2, "workers": 1,
    "proxy_model": "tiny", "final_model": "tiny", "final_epochs": 2, "teacher": "none",
}  # fmt: skip
FLAGS = {"mixing": None, "temperature": None, "alpha": None, "teacher_view": None}
ROTATE = Policy(num_ops=1, magnitude=5, operations=("rotate",))


def display() -> tuple[Display, io.StringIO]:
    said = io.StringIO()
    return Display(Console(file=said)), said


def pictures(folder: Path, count: int, seed: int, classes: tuple[str, ...] = ("dark", "light")) -> None:
    """Class folders of PNGs that differ in their grey."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            grey = np.clip(80 + 90 * label + rng.normal(0, 40, (16, 16)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{seed}-{index}.png"), grey)


@pytest.fixture
def photos(workplace: Path) -> str:
    """24 labeled images of each of two classes, and 20 of each below ``unlabeled/``."""
    pictures(workplace / "photos" / "train", 24, seed=0)
    pictures(workplace / "photos" / "unlabeled", 20, seed=1)
    return "photos"


def runs() -> list[Run]:
    client = MlflowClient(absolute(Settings().tracking.uri))
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def test_a_run_learns_from_the_folder_beside_train(photos: str) -> None:
    settings = Settings.of(data=photos, semi="fixmatch", threshold=0.6, **QUICK)
    shown, said = display()
    outcome = run(settings, shown)
    file = read_policy(outcome.policy_file)
    confirmation = file.evidence["confirmation"]
    assert isinstance(confirmation, list)
    names = [one["name"] for one in confirmation if isinstance(one, dict)]
    assert "RandAugment (2, 9) after flip + crop, labels alone" in names
    assert "unlabeled: 40 images" in said.getvalue()
    assert file.provenance["made_from"]["semi"] == "fixmatch, threshold 0.6"  # type: ignore[index, call-overload]
    if file.training.semi is not None:
        assert file.training.semi.threshold == 0.6
        assert outcome.final is not None
        assert outcome.final["figures"]["final_unlabeled_images"] > 0
        assert (outcome.policy_file.parent / "pseudo-labels.png").exists()
        assert "labels alone" in said.getvalue()
    again, more = display()
    assert run(settings, again).final == outcome.final
    assert "final training" not in more.getvalue()
    with pytest.raises(UserError, match=r"semi was fixmatch, threshold 0\.6, is pseudo"):
        run(settings.changed(semi="pseudo", study=outcome.study, threshold=None), again)


def trained(photos: str, wanted: Semi, **said: Any) -> tuple[dict[str, Any], str]:
    write_policy(PolicyFile(policy=ROTATE, training=Training(semi=wanted)), Path("policy.json"))
    settings = Settings.model_validate(
        {"data": photos, "final_model": "tiny", "final_epochs": 3, "teacher": "none", **said}
    )
    shown, words = display()
    return train_from_file(settings, Path("policy.json"), dict(FLAGS), shown), words.getvalue()


def test_every_round_of_self_training_is_a_run_below_the_training(photos: str) -> None:
    semi = SelfTraining(threshold=0.5, rounds=2)
    final, said = trained(photos, semi)
    children = {run.info.run_name: run for run in runs() if "mlflow.parentRunId" in run.data.tags}
    assert {"first teacher", "student 1"} <= set(children)
    assert all(run.info.status == "FINISHED" for run in children.values())
    student = children["student 1"].data.metrics
    assert student["learned_from"] == student["learned_from/dark"] + student["learned_from/light"]
    assert student["gained/dark"] == student["learned_from/dark"]
    assert 0 <= student["pseudo_label_accuracy"] <= 1
    assert "labels_changed" not in student
    assert "first teacher (tiny): held-out accuracy" in said
    if "student 2" in children:
        assert "labels_changed" in children["student 2"].data.metrics
    assert final["figures"]["final_unlabeled_images"] >= 0
    assert not list(Path().rglob(".model.*"))


def test_the_sheet_and_the_list_show_what_was_labeled_how(photos: str) -> None:
    final, said = trained(photos, PseudoLabels(threshold=0.5, rounds=2))
    assert "labeled 40 images" in said
    names = {Path(path).name for path in final["drawn"]}
    assert {"pseudo-labels.png", "pseudo-labels.csv", "pseudo-labels-rounds.png"} <= names
    with Image.open("pseudo-labels.png") as sheet:
        assert sheet.width > 400
    with Path("pseudo-labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert {row["true_label"] for row in rows} == {"dark", "light"}
    assert all(Path(row["file"]).exists() for row in rows)
    assert {run.info.run_name for run in runs() if "mlflow.parentRunId" in run.data.tags} == {
        "labeling 1",
        "labeling 2",
    }


def test_where_the_training_labels_none_the_final_model_is_asked(photos: str) -> None:
    final, _ = trained(photos, FixMatch(threshold=0.5))
    with Path("pseudo-labels.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 40
    assert "pseudo-labels.png" in {Path(path).name for path in final["drawn"]}


def test_copies_of_held_out_images_are_left_out_and_counted(photos: str, workplace: Path) -> None:
    more = workplace / "more"
    pictures(more, 10, seed=2)
    for file in (workplace / photos / "train" / "dark").iterdir():
        (more / "dark" / f"copy of {file.name}").write_bytes(file.read_bytes())
    _, said = trained(photos, PseudoLabels(threshold=0.5), unlabeled=str(more))
    held_out = sum(int(count) for count in _counts(said, "confirmation", "test (sealed)", "validation"))
    assert 0 < held_out < 48
    left_out = int(said.split(" left out that are also in")[0].rsplit(" ", 1)[1])
    assert 0 < left_out < 24
    assert f"unlabeled images: {44 - left_out}" in said


def _counts(said: str, *parts: str) -> list[str]:
    first = said.splitlines()[0]
    return [first.split(f" {part}")[0].rsplit(" ", 1)[1] for part in parts]


def test_a_policy_that_wants_unlabeled_images_says_so_where_there_are_none(stripes: str) -> None:
    with pytest.raises(UserError, match=r"learns from unlabeled images \(FixMatch\), and .* has none: give"):
        trained(stripes, FixMatch())
    trained(stripes, FixMatch(), semi="none")


def test_the_next_training_is_told_where_the_unlabeled_images_are(tmp_path: Path) -> None:
    from augsearch.search.pipelines.run import Outcome
    from augsearch.search.statistics.verdict import Verdict

    path = tmp_path / "policy.json"
    write_policy(PolicyFile(policy=ROTATE, training=Training(semi=FixMatch())), path)
    settings = Settings.of(unlabeled=Path("more"), first_teacher="tiny")
    verdict = Verdict("", "as good", 0, "accuracy", 0.01, (), ())
    words = next_steps(settings, Outcome("study", verdict, path, None))
    assert words.endswith("augsearch train --policy policy.json --unlabeled more --first-teacher tiny")
