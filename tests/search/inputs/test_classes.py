"""Data with many classes, and with classes that have hardly any image."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from augsearch.policies import Policy, PolicyFile, UserError, write_policy
from augsearch.search.console import Display
from augsearch.search.inputs.identity import identity_of
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.train import train_from_file
from augsearch.search.settings.files import load_settings
from augsearch.trainers.evaluation.classifier import Classifier
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, Stage

FLAGS = {"mixing": None, "temperature": None, "alpha": None, "teacher_view": None}
MANY = 1200


def opened(data: str, **fields: Any) -> tuple[Data, str, dict[str, Any]]:
    said = io.StringIO()
    settings = load_settings(None, {"data": data, "teacher": "none", "proxy_model": "tiny", **fields})
    found = open_data(settings, Display(Console(file=said, width=300)))
    return found, said.getvalue(), identity_of(settings, found)


def archive(sizes: dict[str, int]) -> str:
    """Noise: so many images of each class."""
    names = np.repeat(list(sizes), list(sizes.values()))
    images = np.random.default_rng(0).integers(0, 256, (len(names), 8, 8), dtype=np.uint8)
    np.savez("zoo.npz", images=images, labels=names)
    return "zoo.npz"


def test_folds_of_1200_classes_have_some_of_each() -> None:
    data, _, _ = opened(archive({f"{number:04}": 8 for number in range(MANY)}), epochs=1)
    workspace = data.workspace
    assert workspace.proxy.fold_size == 3840  # four fifths of the 4 that are left of each to train on
    for index in range(2):
        chosen = workspace.training_subset(Fold(Stage.SEARCH, index))
        assert np.bincount(data.images.labels[chosen], minlength=MANY).min() >= 3
    result = evaluate(workspace.folder, Candidate(policy=Policy(num_ops=0)), Fold(Stage.SEARCH, 0))
    assert result.images == pytest.approx(3840, rel=0.1)
    with pytest.raises(UserError) as caught:
        opened("zoo.npz", fold_size=1000)
    assert str(caught.value) == (
        "--fold-size 1000: a fold must have an image of each of the 1,200 classes; "
        "give 1200 or more, or leave it out"
    )


def test_rare_classes_are_named_first_and_the_model_knows_the_others() -> None:
    source = archive({"cat": 20, "dog": 20, "fox": 3, "owl": 1})
    with pytest.raises(
        UserError, match=r"class 'fox' has 3 images to train on, it needs at least 4; .*class 4$"
    ):
        opened(source)
    data, said, identity = opened(source, min_per_class=4)
    assert said.startswith(
        "left out 2 of 4 classes, with fewer than 4 images to train on: fox (3 images), owl (1 image)\n"
        "zoo: 2 classes (cat, dog), 8 px grey; 20 train, 6 validation, 6 confirmation, 8 test (sealed)\n"
    )
    assert data.workspace.data.classes == ("cat", "dog")
    assert identity["rare classes"] == "drop below 4 images"
    merged, said, identity = opened(source, min_per_class=4, rare_classes="merge")
    assert said.startswith(
        "merged into 'other' 2 of 4 classes, with fewer than 4 images to train on: fox (3 "
    )
    assert merged.images.classes == ("cat", "dog", "other")
    assert identity["rare classes"] == "merge below 4 images"

    write_policy(PolicyFile(policy=Policy(num_ops=0)), "policy.json")
    fields = {"data": source, "min_per_class": 4, "rare_classes": "merge", "output": Path("out")}
    settings = load_settings(
        None, {**fields, "teacher": "none", "final_model": "tiny", "final_epochs": 1, "final_size": 16}
    )
    final = train_from_file(settings, Path("policy.json"), FLAGS, Display(Console(file=io.StringIO())))
    (prediction,) = Classifier.load(final["model"]).predict([np.zeros((8, 8, 1), np.uint8)])
    assert {label for label, _ in prediction.top(3)} == {"cat", "dog", "other"}


def test_a_study_says_where_fewer_images_score_its_candidates(stripes: str) -> None:
    assert opened(stripes, fold_size=4, epochs=1)[2]["scored"] == "12 of 18"
    assert "scored" not in opened(stripes, fold_size=6, epochs=1)[2]
    assert "scored" not in opened(stripes)[2]


def test_studies_that_ask_for_nothing_are_the_same_as_before(stripes: str) -> None:
    assert "rare classes" not in opened(stripes)[2]
    with pytest.raises(UserError, match=r"too few images; give --min-per-class too$"):
        opened(stripes, rare_classes="drop")
