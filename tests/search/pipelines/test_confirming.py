"""Which images a confirmation is scored on: all that are neither searched on nor sealed, if that is fair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import optuna
import pytest

from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.confirming import stage_of
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import keep_confirmation
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

RNG = np.random.default_rng(0)
LABELS = np.arange(80) % 2
IMAGES = RNG.integers(0, 256, (80, 12, 12), dtype=np.uint8)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def opened(**settings: Any) -> Data:
    if not Path("images.npz").exists():
        np.savez("images.npz", images=IMAGES, labels=LABELS)
    return open_data(Settings.of(**{"data": "images.npz", "teacher": "none", **settings}), Display())


def study() -> optuna.Study:
    return optuna.create_study()


def test_images_that_nobody_set_apart_are_cross_fitted() -> None:
    own, data = study(), opened()
    assert stage_of(own, data) is Stage.CROSS_FITTING
    scored = data.workspace.scored_on(Fold(Stage.CROSS_FITTING, 0))
    assert not np.intersect1d(scored, data.splits.validation).size
    assert not np.intersect1d(scored, data.splits.test).size


def test_images_that_were_given_to_score_on_stay_apart() -> None:
    for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        folder = Path("photos", "val" if number < 20 else "train", f"class {label}")
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    data = opened(data="photos")
    assert len(data.splits.validation) + len(data.splits.confirmation) == 20
    assert stage_of(study(), data) is Stage.CONFIRMATION


def test_with_a_teacher_from_a_file_nothing_is_scored_that_it_may_know() -> None:
    own, data = study(), opened(teacher="tiny")
    assert stage_of(own, data) is Stage.CROSS_FITTING  # trained here, on what its students learn from
    Path("teacher.safetensors").write_bytes(b"")
    given = data.workspace.proxy.model_copy(update={"teacher": "teacher.safetensors"})
    object.__setattr__(data.workspace, "proxy", given)
    assert stage_of(study(), data) is Stage.CONFIRMATION
    assert stage_of(own, data) is Stage.CROSS_FITTING  # what was decided once holds


def test_what_is_learned_from_without_labels_is_not_scored() -> None:
    """All images lie in one folder, and some have labels: learned from without labels are all of it."""
    for number, image in enumerate([*IMAGES, *RNG.integers(0, 256, (20, 12, 12), dtype=np.uint8)]):
        for folder in ("all", *(["others"] if number >= 80 else [])):
            Path(folder).mkdir(exist_ok=True)
            cv2.imwrite(f"{folder}/{number}.png", image)
    apart, others = (opened(semi="fixmatch", unlabeled=folder) for folder in ("all", "others"))
    assert stage_of(study(), others) is Stage.CROSS_FITTING
    assert stage_of(own := study(), apart) is Stage.CONFIRMATION
    learned = {image.tobytes() for image in apart.workspace.unlabeled}
    scored = apart.workspace.scored_on(Fold(Stage.CONFIRMATION, 0))
    assert not any(apart.images.images[row].tobytes() in learned for row in scored)
    # What was decided once holds.
    assert stage_of(own, others) is Stage.CONFIRMATION


def test_a_study_that_was_confirmed_on_images_apart_goes_on_so() -> None:
    own, correct = study(), np.ones(4, dtype=bool)
    keep_confirmation(own, 0, Fold(Stage.CONFIRMATION, 0), FoldResult(1.0, 0.1, 0.0, 1.0, 10, correct))
    assert stage_of(own, opened()) is Stage.CONFIRMATION
