"""What is said of the data, and of images that are in two parts at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image

from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.summary import (
    conflict_in_words,
    imbalance_in_words,
    keep_summary,
    near_in_words,
    overlap_in_words,
    summary_of,
    warnings_of,
)
from augsearch.search.settings.files import load_settings
from augsearch.trainers.data.images import image_paths


def opened(data: str | None, **fields: Any) -> Data:
    return open_data(load_settings(None, {"data": data, "teacher": "none", **fields}), Display())


def picture(path: Path, seed: int, size: tuple[int, int] = (24, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def pets(workplace: Path) -> Path:
    """20 cats and 10 dogs to train on, 4 and 2 to validate, 2 and 2 to test."""
    seed = 0
    for part, counts in (("train", (20, 10)), ("val", (4, 2)), ("test", (2, 2))):
        for name, count in zip(("cats", "dogs"), counts, strict=True):
            for number in range(count):
                size = (16, 20) if part == "test" else (24, 16)
                picture(workplace / "pets" / part / name / f"{number}.png", seed := seed + 1, size)
    return workplace / "pets"


def test_the_summary_says_what_there_is(pets: Path) -> None:
    summary = summary_of(str(pets), opened(str(pets)))
    assert summary == json.loads(json.dumps(summary))
    assert (summary["name"], summary["side"], summary["channels"]) == ("pets", 16, 3)
    assert summary["classes"] == ["cats", "dogs"]
    assert summary["counts"] == {
        "train": {"cats": 20, "dogs": 10},
        "validation": {"cats": 2, "dogs": 1},
        "confirmation": {"cats": 2, "dogs": 1},
        "test": {"cats": 2, "dogs": 2},
    }
    assert summary["sizes"] == [[24, 16, 36], [16, 20, 4]]
    assert summary["duplicates"] == []
    assert (summary["unlabeled"], summary["target"]) == (0, None)
    assert overlap_in_words(summary) is None


def test_a_target_is_part_of_it(pets: Path, workplace: Path) -> None:
    for number in range(6):
        picture(workplace / "night" / ("cats" if number < 4 else "dogs") / f"{number}.png", 900 + number)
    summary = summary_of(str(pets), opened(str(pets), validation="night"))
    assert summary["target"] == "night"
    halves = [summary["counts"][f"target {half}"] for half in ("validation", "confirmation")]
    assert halves == [{"cats": 2, "dogs": 1}] * 2


def test_copies_within_and_between_parts_are_counted_and_named(pets: Path) -> None:
    shutil.copy(pets / "train" / "cats" / "3.png", pets / "train" / "cats" / "again.png")
    shutil.copy(pets / "train" / "cats" / "3.png", pets / "test" / "cats" / "leak.png")
    with Image.open(pets / "train" / "dogs" / "5.png") as image:
        image.save(pets / "test" / "dogs" / "leak.bmp")  # the same pixels in another file
    summary = summary_of(str(pets), opened(str(pets)))
    within, between = summary["duplicates"]
    assert within == {"parts": ["train"], "count": 1, "examples": ["train/cats/again.png"]}
    assert between["parts"] == ["train", "test"]
    assert (between["count"], between["examples"]) == (2, ["test/cats/leak.png", "test/dogs/leak.bmp"])
    assert overlap_in_words(summary) == (
        "2 test images are also in train (test/cats/leak.png, say): figures on them flatter; "
        "remove the copies, or keep them together with --group-by copies"
    )


def test_copies_in_several_parts_are_one_line(pets: Path) -> None:
    shutil.copy(pets / "train" / "cats" / "3.png", pets / "test" / "cats" / "leak.png")
    for number in range(4):
        shutil.copy(pets / "train" / "cats" / f"{number}.png", pets / "val" / "cats" / f"{number}.png")
    said = overlap_in_words(summary_of(str(pets), opened(str(pets))))
    assert said is not None
    assert said.startswith("2 validation, 2 confirmation and 1 test images are also in train (val/cats/")
    shutil.rmtree(pets / "val")
    said = overlap_in_words(summary_of(str(pets), opened(str(pets))))
    assert said is not None
    assert said.startswith("1 test image is also in train")


def test_copies_that_are_held_out_alone_are_no_leak(pets: Path) -> None:
    shutil.copy(pets / "test" / "cats" / "0.png", pets / "test" / "cats" / "again.png")
    summary = summary_of(str(pets), opened(str(pets)))
    assert [one["parts"] for one in summary["duplicates"]] == [["test"]]
    assert overlap_in_words(summary) is None


def test_sizes_of_files_that_cannot_be_read_are_left_out(pets: Path) -> None:
    data = opened(str(pets))
    (paths := image_paths(str(pets), data.images)) and paths[0].write_text("broken since")
    assert summary_of(str(pets), data)["sizes"] == [[24, 16, 35], [16, 20, 4]]


def test_sizes_of_files_with_more_pixels_than_usual_are_told_where_those_are_taken(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augsearch.trainers.data.image_files.MOST_PIXELS", 383)
    data = opened(str(pets), max_pixels=384)
    assert summary_of(str(pets), data)["sizes"] == [[24, 16, 36], [16, 20, 4]]


def test_arrays_have_one_size_and_unlabeled_images_are_counted(stripes: str) -> None:
    summary = summary_of(stripes, opened(stripes, image_size=8))
    assert (summary["side"], summary["sizes"]) == (8, [[16, 16, 120]])
    embedded = summary_of(None, opened(None))
    assert (embedded["sizes"], embedded["unlabeled"]) == ([[28, 28, 6000]], 1500)


def test_a_study_keeps_its_summary(stripes: str) -> None:
    study, data = optuna.create_study(), opened(stripes)
    made = keep_summary(study, stripes, data)
    assert study.user_attrs["data summary"] == made == summary_of(stripes, data)
    study.set_user_attr("data summary", {"kept": True})
    assert keep_summary(study, stripes, data) == {"kept": True}


@pytest.mark.parametrize(
    ("metric", "balance", "said"),
    [
        (
            "accuracy",
            "none",
            "cats has 4 times as many training images as owls (41, 10): "
            "accuracy says little of rare classes, --metric balanced-accuracy does; "
            "--class-balance search tries what helps them",
        ),
        (
            "balanced-accuracy",
            "none",
            "cats has 4 times as many training images as owls (41, 10): "
            "--class-balance search tries what helps them",
        ),
        ("macro-f1", "loss", "cats has 4 times as many training images as owls (41, 10)"),
    ],
)
def test_classes_of_very_unequal_size_are_named_with_what_shows_and_helps(
    metric: str, balance: str, said: str
) -> None:
    summary = {"counts": {"train": {"cats": 41, "dogs": 20, "owls": 10, "empty": 0}}}
    assert imbalance_in_words(summary, metric, balance) == said


def test_three_to_one_is_usual() -> None:
    assert imbalance_in_words({"counts": {"train": {"cats": 30, "dogs": 10}}}, "accuracy", "none") is None


def test_the_same_picture_under_two_labels_is_told_as_a_contradiction(pets: Path) -> None:
    assert conflict_in_words(summary_of(str(pets), opened(str(pets)))) is None
    shutil.copy(pets / "train" / "cats" / "3.png", pets / "train" / "dogs" / "again.png")
    shutil.copy(pets / "train" / "cats" / "3.png", pets / "test" / "dogs" / "leak.png")
    shutil.copy(pets / "train" / "cats" / "4.png", pets / "train" / "cats" / "again.png")
    summary = summary_of(str(pets), opened(str(pets)))
    assert summary["conflicts"]["count"] == 3
    said = conflict_in_words(summary)
    assert said == (
        "3 images contradict each other: the same picture has several labels (train/cats/3.png (cats) and "
        "train/dogs/again.png (dogs), say); give each one label, or remove what is doubtful"
    )
    assert warnings_of(summary)[0] == said
    assert "also in train" in warnings_of(summary)[1]


def test_a_summary_of_an_earlier_version_says_nothing_of_contradictions(pets: Path) -> None:
    summary = summary_of(str(pets), opened(str(pets)))
    del summary["conflicts"]
    assert warnings_of(summary) == []


def test_near_duplicates_between_parts_are_counted_with_the_flag_that_groups_them(workplace: Path) -> None:
    """Each scene is there three times: as it is, brighter, and brighter still."""
    for number in range(30):
        coarse = np.random.default_rng(number).integers(0, 200, (5, 5, 3), dtype=np.uint8)
        scene = np.asarray(Image.fromarray(coarse).resize((24, 24), Image.Resampling.BICUBIC)).astype(float)
        for copy in range(3):
            path = workplace / "signs" / ("stop", "yield")[number % 2] / f"{30 * copy + number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(scene * (1 + 0.08 * copy), 0, 255).astype(np.uint8)).save(path)
    summary = summary_of("signs", opened("signs"))
    shared = {
        one["parts"][1]: one["count"]
        for one in summary["near"]
        if one["parts"][0] == "train" and len(one["parts"]) > 1
    }
    assert shared["test"] > 9
    line = near_in_words(summary)
    assert line is not None
    assert f"{shared['test']:,} of 18 test images have near-duplicates in train" in line
    assert "--group-by near-duplicates keeps those together" in line
    assert line in warnings_of(summary)
    grouped = summary_of("signs", opened("signs", group_by="near-duplicates"))
    assert [one for one in grouped["near"] if len(one["parts"]) > 1] == []
    assert near_in_words(grouped) is None
    assert (
        near_in_words({name: value for name, value in summary.items() if name != "near"}) is None
    )  # of before
