"""Images from where the model will be used: which count, for what, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.rare_classes import without_rare_classes
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.data.target_domain import Handling, LeftOut, Target, open_target
from augsearch.trainers.workspace.candidate import ProxySettings
from augsearch.trainers.workspace.folder import open_workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, Stage

SIDE = 12
CLASSES = ("ant", "bee", "cat")
PROXY = ProxySettings(model="tiny", epochs=1, fold_size=12, seed=5, device="cpu")


class World(NamedTuple):
    """A data set, and a place for targets."""

    root: Path
    data: ImageData
    splits: Splits

    def target(self, images: NDArray[Any], names: list[str], **arrays: Any) -> tuple[Target, LeftOut]:
        path = self.root / "night.npz"
        np.savez(path, images=images, labels=np.array(names), **arrays)
        return self.opened(path)

    def opened(self, path: Path, *, seed: int = 0, **handling: Any) -> tuple[Target, LeftOut]:
        cache, how = self.root / "cache", Handling(**handling)
        return open_target(str(path), self.data, self.splits, cache=cache, seed=seed, handling=how)

    def refusal(self, *arguments: Any, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            self.target(*arguments, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)


def noise(count: int, seed: int = 1, channels: int = 3, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def world(root: Path, channels: int = 3) -> World:
    path = root / "day.npz"
    np.savez(path, images=noise(90, 0, channels), labels=np.arange(90) % 3, classes=np.array(CLASSES))
    data = open_images(str(path), image_size=None, cache=root / "cache")
    return World(root, data, split(data.labels, data.given, classes=CLASSES, seed=5))


@pytest.fixture
def day(tmp_path: Path) -> World:
    return world(tmp_path)


NAMES = ["cat", "ant", "ant", "cat", "cat", "ant", "ant", "cat", "ant"]


def test_classes_are_told_by_their_names(day: World) -> None:
    target, left_out = day.target(noise(9), NAMES)
    assert target.data.classes == ("ant", "cat")  # of which cat is the second, and in the data the third
    assert [CLASSES[label] for label in target.labels(np.arange(9))] == NAMES
    assert target.absent == ("bee",)
    assert left_out == LeftOut(0, 0)


def test_the_halves_are_disjoint_and_each_has_a_share_of_every_class(day: World) -> None:
    target, _ = day.target(noise(9), NAMES)
    assert sorted([*target.validation, *target.confirmation]) == target.used.tolist() == list(range(9))
    for half in (target.validation, target.confirmation):
        counts = np.bincount(target.labels(half), minlength=3)
        assert counts[1] == 0
        assert (counts[[0, 2]] >= 2).all()
    others = {day.opened(day.root / "night.npz", seed=seed)[0].validation.tobytes() for seed in range(8)}
    assert len(others) > 1
    assert day.opened(day.root / "night.npz")[0].fingerprint == target.fingerprint


def test_what_is_learned_from_or_sealed_is_left_out_and_counted(day: World) -> None:
    images, splits = noise(12), day.splits
    for place, part in enumerate((splits.train, splits.validation, splits.test, splits.confirmation)):
        images[place] = day.data.images[part[0]]
    images[11] = images[10]
    target, left_out = day.target(images, ["ant", "cat"] * 6)
    assert left_out == LeftOut(copies=3, repeats=1)
    assert target.used.tolist() == list(range(3, 11))
    # The same images for other uses are another target.
    assert target.fingerprint != replace(target, validation=target.validation[1:]).fingerprint


def test_a_test_part_that_the_target_brings_stays_sealed(day: World) -> None:
    parts = np.array([Split.ANY] * 6 + [Split.TEST] * 3)
    target, _ = day.target(noise(9), ["ant", "cat"] * 3 + ["ant", "ant", "cat"], parts=parts)
    assert target.used.tolist() == list(range(6))


@pytest.mark.parametrize(("channels", "others"), [(1, 3), (3, 1), (1, 1)])
def test_images_come_at_the_side_and_with_the_channels_of_the_data(
    tmp_path: Path, channels: int, others: int
) -> None:
    own = world(tmp_path, channels)
    target, _ = own.target(noise(6, channels=others, side=20), ["ant", "cat"] * 3)
    images = target.images(target.used)
    assert images.shape == (6, SIDE, SIDE, channels)
    if channels > others:
        assert (images == target.data.images).all()
    if channels < others:
        grey = np.asarray(Image.fromarray(np.array(target.data.images[2])).convert("L"))
        np.testing.assert_array_equal(images[2, ..., 0], grey)
    assert target.images(np.empty(0, np.int64)).shape == (0, SIDE, SIDE, channels)


def test_a_grey_copy_of_a_grey_image_among_coloured_ones_is_known(tmp_path: Path) -> None:
    images = noise(30, 0)
    images[0] = images[0, ..., :1]
    path = tmp_path / "day.npz"
    np.savez(path, images=images, labels=np.arange(30) % 3, classes=np.array(CLASSES))
    data = open_images(str(path), image_size=None, cache=tmp_path / "cache")
    every, nothing = np.arange(30), np.empty(0, np.int64)
    own = World(tmp_path, data, Splits(every, nothing, nothing, nothing, nothing))
    grey = np.concatenate([images[:1, ..., :1], noise(4, channels=1)])
    _, left_out = own.target(grey, ["ant", "cat", "ant", "cat", "ant"])
    assert left_out.copies == 1


def test_a_class_that_the_data_lacks_is_named(day: World) -> None:
    said = day.refusal(noise(6), ["ant", "dog", "elk"] * 2)
    assert said == (
        f"validation images: {day.root / 'night.npz'} has classes that day does not have (dog, elk; it has "
        "ant, bee, cat): give the same names to the same classes, and remove others"
    )


def with_rare_ones(root: Path, *, merge: bool) -> tuple[World, list[str]]:
    """A data set of three classes, and two more that are too rare."""
    names = [*(["ant", "bee", "cat"] * 20), *(["elk"] * 3), *(["fox"] * 3)]
    np.savez(root / "day.npz", images=noise(66, 0), labels=np.array(names))
    whole = open_images(str(root / "day.npz"), image_size=None, cache=root / "cache")
    data, _ = without_rare_classes(whole, 4, merge=merge)
    own = World(root, data, split(data.labels, data.given, classes=data.classes, seed=5))
    return own, ["elk", "fox"]


SOME = ["bee", "elk", "bee", "ant", "fox", "ant", "ant", "elk"]


def test_classes_that_are_too_rare_are_left_out_of_a_target_too(tmp_path: Path) -> None:
    own, rare = with_rare_ones(tmp_path, merge=False)
    own.target(noise(8), ["ant", "bee"] * 4)
    np.savez(tmp_path / "dusk.npz", images=noise(8), labels=np.array(SOME))
    with pytest.raises(UserError, match=r"classes that day does not have \(elk, fox; it has ant, bee, cat"):
        own.opened(tmp_path / "dusk.npz")
    target, left_out = own.opened(tmp_path / "dusk.npz", rare=rare)
    assert left_out == LeftOut(0, 0, rare=3)
    assert [SOME[row] for row in target.used] == ["bee", "bee", "ant", "ant", "ant"]
    assert [own.data.classes[label] for label in target.labels(target.used)] == [
        SOME[row] for row in target.used
    ]
    assert target.absent == ("cat",)
    with pytest.raises(UserError, match=r"classes that day does not have \(elk;"):
        own.opened(tmp_path / "dusk.npz", rare=["fox"])
    np.savez(tmp_path / "none.npz", images=noise(4), labels=np.array(["elk", "fox"] * 2))
    with pytest.raises(UserError, match=r"all classes of .*none\.npz are too rare in day"):
        own.opened(tmp_path / "none.npz", rare=rare)


def test_classes_that_were_merged_are_one_in_a_target_too(tmp_path: Path) -> None:
    own, rare = with_rare_ones(tmp_path, merge=True)
    assert own.data.classes == ("ant", "bee", "cat", "other")
    for names in (SOME, [*SOME[:-1], "other"]):
        np.savez(tmp_path / "dusk.npz", images=noise(8), labels=np.array(names))
        target, left_out = own.opened(tmp_path / "dusk.npz", rare=rare, merged=True)
        assert left_out == LeftOut(0, 0)
        expected = ["bee", "other", "bee", "ant", "other", "ant", "ant", "other"]
        assert [own.data.classes[label] for label in target.labels(np.arange(8))] == expected
        for half in (target.validation, target.confirmation):
            assert set(target.labels(half).tolist()) == {0, 1, 3}
        assert target.absent == ("cat",)
        # What a worker maps has the same labels.
        write_workspace(tmp_path / "work", own.data, own.splits, PROXY, None, target)
        open_workspace.cache_clear()
        labels = open_workspace(tmp_path / "work").scored_labels(Fold(Stage.CONFIRMATION, 0))
        assert labels.tolist() == target.labels(target.confirmation).tolist()


def test_a_class_with_too_few_images_is_named(day: World) -> None:
    assert "class 'cat' of" in (said := day.refusal(noise(4), ["ant", "ant", "ant", "cat"]))
    assert said.endswith("has 1 image, it needs at least 2: add some, or remove the class")
    images = noise(4)
    images[3] = day.data.images[day.splits.train[0]]
    said = day.refusal(images, ["ant", "ant", "cat", "cat"])
    assert "has 1 image but for copies of images that day trains or tests on, it needs at least 2" in said


def test_a_source_that_is_bad_is_said_to_be_the_targets(day: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no images")
    for name, why in (
        ("empty", "no class folders"),
        ("notes.txt", "cannot tell what"),
        ("missing", "there is no"),
    ):
        with pytest.raises(UserError, match=rf"^validation images: .*{why}"):
            day.opened(tmp_path / name)


def test_files_are_known_by_their_paths(day: World, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        file = tmp_path / "night" / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(1, 7 + number)[0]).save(file)
    target, _ = day.opened(tmp_path / "night")
    assert {path.name for path in target.paths} == {f"{number}.png" for number in range(9)}
    assert all(path.exists() for path in target.paths)
    assert day.target(noise(9), NAMES)[0].paths == ()


def test_workers_see_the_same_target(day: World) -> None:
    target, _ = day.target(noise(9), NAMES)
    write_workspace(day.root / "work", day.data, day.splits, PROXY, None, target)
    open_workspace.cache_clear()
    workspace = open_workspace(day.root / "work")
    assert workspace.target is not None
    assert workspace.target.fingerprint == target.fingerprint
    for stage, half in ((Stage.SEARCH, target.validation), (Stage.CONFIRMATION, target.confirmation)):
        images, labels = workspace.scored_images(Fold(stage, 0))
        np.testing.assert_array_equal(images, target.images(half))
        assert [CLASSES[label] for label in labels] == [NAMES[row] for row in half]
    # Its own parts stay what they would be without.
    assert workspace.validation.tolist() == day.splits.validation.tolist()


def test_without_a_target_the_datas_own_images_decide(day: World) -> None:
    workspace = write_workspace(day.root / "work", day.data, day.splits, PROXY)
    assert workspace.target is None
    for stage, part in ((Stage.SEARCH, day.splits.validation), (Stage.CONFIRMATION, day.splits.confirmation)):
        images, labels = workspace.scored_images(Fold(stage, 0))
        np.testing.assert_array_equal(images, day.data.images[part])
        assert labels.tolist() == day.data.labels[part].tolist()


def in_files_by_patient(root: Path) -> tuple[World, Path]:
    """Patients by the files' names: p0 to p19 by day, p15 to p34 by night."""
    for folder, patients in (("day", range(20)), ("night", range(15, 35))):
        for patient in patients:
            for number, image in enumerate(noise(3, 100 * patient + len(folder), side=16)):
                path = root / folder / CLASSES[patient % 3] / f"p{patient}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    data = open_images(str(root / "day"), image_size=None, cache=root / "cache")
    return World(root, data, split(data.labels, data.given, classes=CLASSES, seed=5)), root / "night"


BY_PATIENT = r"(p\d+)_\d+\.png"


def test_no_group_is_in_both_halves_or_in_what_is_trained_on(tmp_path: Path) -> None:
    here, night = in_files_by_patient(tmp_path)
    data, splits = here.data, here.splits
    target, left_out = here.opened(night, group_by=BY_PATIENT)
    patients = [
        {target.data.files[row].split("_")[0] for row in half}
        for half in (target.validation, target.confirmation)
    ]
    assert not patients[0] & patients[1]
    known = np.concatenate([splits.train, splits.validation, splits.test])
    trained = {data.files[row].split("_")[0] for row in known}
    assert not (patients[0] | patients[1]) & trained
    assert left_out.grouped >= 3 * 4
    for half in (target.validation, target.confirmation):
        assert set(target.data.labels[half]) == {0, 1, 2}


def test_workers_know_which_images_of_a_target_belong_together(tmp_path: Path) -> None:
    here, night = in_files_by_patient(tmp_path)
    target, _ = here.opened(night, group_by=BY_PATIENT)
    write_workspace(tmp_path / "work", here.data, here.splits, PROXY, None, target)
    open_workspace.cache_clear()
    workspace = open_workspace(tmp_path / "work")
    for stage, half in ((Stage.SEARCH, target.validation), (Stage.CONFIRMATION, target.confirmation)):
        groups = workspace.scored_groups(Fold(stage, 0))
        assert groups is not None
        patients = [target.data.files[row].split("_")[0] for row in half]
        expected = np.unique(patients, return_inverse=True)[1]
        same = expected[:, None] == expected
        np.testing.assert_array_equal(groups[:, None] == groups, same)


def test_a_target_without_groups_and_one_of_an_older_workspace_have_none(tmp_path: Path) -> None:
    here, night = in_files_by_patient(tmp_path)
    for group_by in (None, BY_PATIENT):
        target, _ = here.opened(night, group_by=group_by)
        write_workspace(tmp_path / "work", here.data, here.splits, PROXY, None, target)
        with np.load(tmp_path / "work" / "parts.npz") as held:
            parts = {name: held[name] for name in held.files}
        assert ("target_groups" in parts) == (group_by is not None)
        np.savez(tmp_path / "work" / "parts.npz", **{k: v for k, v in parts.items() if k != "target_groups"})
        open_workspace.cache_clear()
        workspace = open_workspace(tmp_path / "work")
        assert workspace.target is not None
        assert workspace.scored_groups(Fold(Stage.CONFIRMATION, 0)) is None
        assert workspace.target.confirmation.tolist() == target.confirmation.tolist()


def test_what_looks_like_images_that_are_trained_on_is_left_out_of_a_target(tmp_path: Path) -> None:
    def smooth(seed: int) -> NDArray[np.uint8]:
        coarse = Image.fromarray(noise(1, seed, side=5)[0])
        return np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC))

    day = np.stack([smooth(number) for number in range(60)])
    night = np.stack([smooth(number if number < 6 else 900 + number) // 2 + 40 for number in range(30)])
    np.savez(tmp_path / "day.npz", images=day, labels=np.arange(60) % 3, classes=np.array(CLASSES))
    np.savez(tmp_path / "night.npz", images=night, labels=np.arange(30) % 3, classes=np.array(CLASSES))
    data = open_images(str(tmp_path / "day.npz"), image_size=None, cache=tmp_path / "cache")
    splits = split(data.labels, data.given, classes=CLASSES, seed=0)
    known = set(np.concatenate([splits.train, splits.validation, splits.test]).tolist())
    here = World(tmp_path, data, splits)
    target, left_out = here.opened(tmp_path / "night.npz", group_by="near-duplicates")
    assert left_out.grouped == len(known & set(range(6)))
    assert not set(target.used.tolist()) & known & set(range(6))
    assert here.opened(tmp_path / "night.npz")[1].grouped == 0
