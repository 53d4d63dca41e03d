"""What folders mean, as people and systems leave them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.form import PLAIN, Form, Layout
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.part_names import part_named
from augsearch.trainers.data.sources import folders
from augsearch.trainers.data.sources.folders import (
    find_unlabeled_folder,
    images_below,
    list_images,
    read_folder,
)

LEAF = Form(layout=Layout(classes="leaf"))


def make(root: Path, files: Iterable[str]) -> Path:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 5 * number).save(root / file, "PNG")
    return root


def opened(root: Path, form: Form = PLAIN) -> ImageData:
    return open_images(str(root), image_size=8, cache=root.with_name("cache"), form=form)


def by_part(data: ImageData) -> dict[str, tuple[str, str]]:
    return {
        file: (data.classes[label], Split(given).name)
        for file, label, given in zip(data.files, data.labels, data.given, strict=True)
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pets"


@pytest.mark.parametrize(
    ("train", "held", "split"),
    [
        ("training_set", "test_set", Split.TEST),
        ("Training Set", "Test Set", Split.TEST),
        ("TRAIN", "DEV", Split.VALIDATION),
        ("train2017", "val2017", Split.VALIDATION),
        ("train-images", "images-test", Split.TEST),
        ("trainset", "valset", Split.VALIDATION),
        ("train", "Evaluation", Split.VALIDATION),
        ("train", "holdout", Split.TEST),
        ("train_data", "validation_data", Split.VALIDATION),
    ],
)
def test_parts_go_by_the_names_that_people_give_them(root: Path, train: str, held: str, split: Split) -> None:
    data = opened(make(root, [f"{part}/{name}/1.png" for part in (train, held) for name in ("cats", "dogs")]))
    assert data.classes == ("cats", "dogs")
    assert data.given.tolist() == [Split.TRAIN] * 2 + [split] * 2


@pytest.mark.parametrize(
    "names", [("dev", "prod"), ("train set", "car"), ("test strip", "paper"), ("1", "2")]
)
def test_names_that_only_sound_like_parts_are_classes(root: Path, names: tuple[str, str]) -> None:
    data = opened(make(root, [f"{name}/1.png" for name in names]))
    assert sorted(data.classes) == sorted(names)
    assert set(data.given) == {Split.ANY}


@pytest.mark.parametrize(
    "name", ["contest", "trainers", "latest", "retrain", "validity", "set", "2017", "test train"]
)
def test_other_words_are_no_parts(name: str) -> None:
    assert part_named(name) is None


def test_two_folders_for_one_part_are_refused(root: Path) -> None:
    files = ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test_images/a/1.png"]
    with pytest.raises(UserError, match=r"has both test/ and test_images/: keep one"):
        opened(make(root, files))


def test_a_folder_round_the_data_is_looked_through_and_that_is_said(root: Path) -> None:
    files = [f"archive/{part}/{part}/{name}/1.png" for part in ("training_set", "test_set") for name in "ab"]
    data = opened(make(root, files))
    assert data.files == (*files[:2], *files[2:])
    assert by_part(data)[files[3]] == ("b", "TEST")
    assert data.notes[0] == f"the images are taken from {root / 'archive'}"
    assert image_paths(str(root), data) == [root / file for file in files]


def test_a_part_alone_in_a_folder_is_no_wrapper(root: Path) -> None:
    data = opened(make(root, ["train/a/1.png", "train/b/1.png"]))
    assert data.given.tolist() == [Split.TRAIN] * 2


def test_unlabeled_images_in_a_wrapper_are_found(root: Path) -> None:
    make(root, ["pets/train/a/1.png", "pets/train/b/1.png", "pets/unlabeled/1.png"])
    assert find_unlabeled_folder(root) == root / "pets" / "unlabeled"


def test_parts_inside_class_folders_are_parts(root: Path) -> None:
    files = [f"{name}/{part}/1.png" for name in ("cats", "dogs") for part in ("Train", "test")]
    assert by_part(opened(make(root, files))) == {
        "cats/Train/1.png": ("cats", "TRAIN"),
        "dogs/Train/1.png": ("dogs", "TRAIN"),
        "cats/test/1.png": ("cats", "TEST"),
        "dogs/test/1.png": ("dogs", "TEST"),
    }


def test_a_hierarchy_is_told_of_and_its_leaves_can_be_the_classes(root: Path) -> None:
    files = ["a/airfield/1.png", "a/attic/out/1.png", "b/beach/1.png", "b/beach/2.png", "b/bar/out/1.png"]
    make(root, files)
    data = opened(root)
    assert data.classes == ("a", "b")
    assert data.notes == (
        "the 2 classes are the first folders, whose images lie in 4 (a/airfield, a/attic/out, "
        "b/bar/out and 1 more); --classes leaf makes a class of each of those",
    )
    leaf = opened(root, LEAF)
    assert leaf.classes == ("airfield", "a/attic/out", "b/bar/out", "beach")
    assert {file: leaf.classes[label] for file, label in zip(leaf.files, leaf.labels, strict=True)} == {
        "a/airfield/1.png": "airfield",
        "a/attic/out/1.png": "a/attic/out",
        "b/bar/out/1.png": "b/bar/out",
        "b/beach/1.png": "beach",
        "b/beach/2.png": "beach",
    }
    assert leaf.notes == ()
    assert image_paths(str(root), leaf) == [root / file for file in leaf.files]


def test_parts_by_names_that_nobody_knows_are_asked_about(root: Path) -> None:
    files = [f"{part}/{name}/1.png" for part in ("learning", "probe") for name in ("a", "b")]
    (note,) = opened(make(root, files)).notes
    assert note.endswith(
        "or are learning/ and probe/ parts of one data set? Then call them train/, val/ or test/"
    )
    make(root, ["probe/c/1.png"])
    (note,) = opened(root).notes
    assert note.endswith("--classes leaf makes a class of each of those")


def test_leaves_are_the_same_classes_in_every_part(root: Path) -> None:
    make(root, [f"{part}/x/{name}/1.png" for part in ("train", "test") for name in ("a", "b")])
    data = opened(root, LEAF)
    assert (data.classes, data.labels.tolist()) == (("a", "b"), [0, 1, 0, 1])
    make(root, ["test/y/a/1.png"])
    with pytest.raises(UserError, match="y/a is a class that train/ does not have"):
        opened(root, LEAF)


def test_classes_with_some_images_in_folders_are_no_hierarchy(root: Path) -> None:
    assert opened(make(root, ["a/1.png", "a/more/2.png", "b/1.png"])).notes == ()


JUNK = (
    ".git/1.png",
    ".ipynb_checkpoints/1.png",
    "@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
    "#recycle/1.png",
    "$RECYCLE.BIN/1.png",
    "System Volume Information/1.png",
    "lost+found/1.png",
    "__MACOSX/._1.png",
)


@pytest.mark.parametrize("where", ["", "cats/", "cats/deep/"])
def test_what_systems_leave_is_passed_over_everywhere_and_counted(root: Path, where: str) -> None:
    make(root, ["cats/1.png", "cats/deep/1.png", "dogs/1.png", *(where + name for name in JUNK)])
    make(root, ["dogs/._2.png"])
    for name in ("Thumbs.db", ".DS_Store", "README.md", "desktop.ini"):
        (root / "dogs" / name).write_text("x")
    data = opened(root)
    assert data.files == ("cats/1.png", "cats/deep/1.png", "dogs/1.png")
    (line,) = data.notes
    assert line.startswith("passed over what is no image: 1 .md, ")
    for words in ("1 Thumbs.db", "1 desktop.ini", "1 ._*"):
        assert words in line
    below = [path.relative_to(root).as_posix() for path in images_below(root)]
    assert below == list(data.files) == list(list_images(root).files)


def test_a_folder_that_says_it_is_a_cache_is_none_of_the_data(root: Path) -> None:
    make(root, ["cats/1.png", "dogs/1.png", "dogs/small/1.png"])
    (root / "dogs" / "small" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    data = opened(root)
    assert data.files == ("cats/1.png", "dogs/1.png")
    assert "small/ (marked as a cache)" in data.notes[0]


def test_images_with_an_unknown_suffix_are_counted_and_named(root: Path) -> None:
    make(
        root,
        ["cats/1.png", "dogs/1.png", *(f"cats/{number}.jpg_large" for number in range(60)), "dogs/photo"],
    )
    data = opened(root)
    assert len(data.files) == 2
    (line,) = data.notes
    assert "60 with .jpg_large" in line
    assert "1 with no suffix" in line
    assert "rename them" in line


def test_a_class_of_unknown_suffixes_alone_is_refused_with_their_name(root: Path) -> None:
    make(root, ["cats/1.png", "dogs/1.pic"])
    with pytest.raises(UserError, match=r"dogs has images, but none with an image's suffix \(\.pic\)"):
        opened(root)


ODD = [
    b"caf\xe9".decode("utf-8", "surrogateescape"),
    "new\nline",
    "tab\there",
    "\u202eevil",
    "日本",
    "a'b\"c",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_names_of_any_bytes_are_read_and_everything_said_of_them_is_printable(root: Path, odd: str) -> None:
    make(root, [f"{odd}/{odd}.png", "dogs/1.png", "dogs/note.txt"])
    (root / odd / f"{odd}.{odd}").write_text("x")
    for _ in range(2):  # decoded, and mapped
        data = opened(root)
        paths = image_paths(str(root), data)
        assert paths is not None
        assert {path.name for path in paths} == {f"{odd}.png", "1.png"}
        assert all(path.is_file() for path in paths)
        for text in (*data.classes, *data.notes, data.name):
            text.encode()
            assert text.isprintable()


def test_a_folder_of_any_bytes_is_a_data_set(tmp_path: Path) -> None:
    root = tmp_path / ODD[0]
    data = opened(make(root, ["a/1.png", "b/1.png"]))
    assert data.name == r"caf\udce9"
    assert np.array_equal(opened(root).images, data.images)


def test_what_is_asked_of_tables_means_nothing_for_a_folder(root: Path) -> None:
    make(root, ["a/1.png", "b/1.png"])
    form = Form(layout=Layout(label_column="label", root=root))
    with pytest.raises(
        UserError, match=r"pets is a folder, for which --root and --label-column means nothing"
    ):
        opened(root, form)


def test_many_images_are_decoded_by_processes_to_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, [f"train/{name}/{number}.png" for name in ("cats", "dogs") for number in range(200)])
    (root / "train/cats/1.png").write_bytes(b"no picture")
    folder = read_folder(root)
    in_threads = list(folder.samples(8))
    monkeypatch.setattr(folders, "MANY", 1)
    apart = list(folder.samples(8))
    bad = {one.file: one.reason for one in in_threads if one.pixels is None}
    assert list(bad) == ["train/cats/1.png"]
    assert {one.file: one.reason for one in apart if one.pixels is None} == bad
    for one, other in zip(apart, in_threads, strict=True):
        assert replace(one, pixels=None) == replace(other, pixels=None)
        np.testing.assert_array_equal(one.pixels, other.pixels)
