"""Images that belong together: found, and never in two parts nor in both halves of a cross-fitting."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split, load_cache
from augsearch.trainers.data.groups import by_path, groups_in_words, with_groups
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.rare_classes import without_rare_classes
from augsearch.trainers.data.splits import Splits, cross_fitted, split

PARTS = ("train", "validation", "confirmation", "test")


def patients(number: int, classes: int, largest: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups: each group has up to ``largest`` images, mostly of one class."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for group in range(number):
        for _ in range(int(rng.integers(1, largest + 1))):
            labels.append(group % classes if rng.random() < 0.9 else int(rng.integers(classes)))
            groups.append(group)
    order = rng.permutation(len(labels))
    return np.array(labels)[order], np.array(groups)[order]


@settings(max_examples=40)
@given(st.integers(40, 80), st.integers(2, 4), st.integers(1, 9), st.integers(0, 99))
def test_no_group_is_in_two_parts_and_every_class_is_in_all(
    number: int, classes: int, largest: int, seed: int
) -> None:
    labels, groups = patients(number, classes, largest, seed)
    given_as = np.full(len(labels), Split.ANY, np.int8)
    parts = split(labels, given_as, classes=[str(n) for n in range(classes)], seed=seed, groups=groups)
    rows = [getattr(parts, name) for name in PARTS]
    assert sorted(np.concatenate(rows)) == list(range(len(labels)))
    for one, other in combinations(rows, 2):
        assert not set(groups[one]) & set(groups[other])
    for own in rows:
        assert set(labels[own]) == set(range(classes))
    again = split(labels, given_as, classes=[str(n) for n in range(classes)], seed=seed, groups=groups)
    assert again.digests() == parts.digests()


def test_parts_have_their_shares_of_every_class() -> None:
    labels, groups = patients(600, 3, 5, 0)
    parts = split(labels, np.zeros(len(labels), np.int8), classes="abc", seed=1, groups=groups)
    for name, share in zip(PARTS, (0.5, 0.15, 0.15, 0.2), strict=True):
        own = np.bincount(labels[getattr(parts, name)], minlength=3) / np.bincount(labels)
        np.testing.assert_allclose(own, share, atol=0.02)


@settings(max_examples=25)
@given(st.integers(10, 40), st.integers(1, 9), st.integers(0, 30), st.floats(0.1, 0.9))
def test_no_group_is_in_both_halves_of_a_cross_fitting(
    number: int, largest: int, fold: int, share: float
) -> None:
    labels, groups = patients(number, 2, largest, fold)
    pool = np.arange(len(labels))
    size = max(2, min(len(pool) - 1, int(share * len(pool))))
    learned, scored = cross_fitted(pool, labels, fold=fold, size=size, most=10**6, seed=0, groups=groups)
    assert not set(groups[learned]) & set(groups[scored])
    assert set(labels[learned]) == set(labels[pool])
    assert len(learned) <= size
    assert not set(learned) & set(scored)


def test_every_image_is_scored_in_some_fold_of_a_cross_fitting() -> None:
    labels, groups = patients(60, 2, 6, 1)
    pool = np.arange(len(labels))
    seen = set()
    for fold in range(8):
        seen |= set(cross_fitted(pool, labels, fold=fold, size=60, most=10**6, seed=0, groups=groups)[1])
    assert seen == set(pool)


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=2, max_size=12),
    st.booleans(),
    st.integers(0, 40),
    st.floats(0.05, 0.95),
)
def test_every_fold_learns_from_every_class_that_it_can_and_scores_something(
    kinds: list[list[int]], pure: bool, fold: int, share: float
) -> None:
    """Any groups: large and small, of one class and of several, a class in all of them or in one."""
    groups = np.repeat(np.arange(len(kinds)), [len(own) for own in kinds])
    labels = np.concatenate([[own[0]] * len(own) if pure else own for own in kinds])
    size = max(len(set(labels.tolist())), min(len(labels) - 1, int(share * len(labels))))
    pool = np.arange(len(labels))
    learned, scored = cross_fitted(pool, labels, fold=fold, size=size, most=10**6, seed=0, groups=groups)
    assert len(learned)
    assert len(scored)
    assert not set(groups[learned]) & set(groups[scored])
    owners = {label: set(groups[labels == label].tolist()) for label in set(labels.tolist())}
    alone = [label for label, own in owners.items() if len(own) == 1]
    missing = set(labels.tolist()) - set(labels[learned].tolist())
    assert missing <= set(alone)
    # Something must be scored: the fewest classes that any group has to itself.
    fewest = min(sum(owners[label] == {group} for label in alone) for group in range(len(kinds)))
    assert len(missing) == fewest or not missing


@pytest.mark.parametrize("classes", [2, 5])
def test_where_groups_have_one_class_each_every_fold_scores_every_class(classes: int) -> None:
    """Of each class two videos, one of them of most images: three parts would leave one empty."""
    labels, groups = (
        np.repeat(np.arange(classes), 120),
        np.repeat(np.arange(2 * classes), [100, 20] * classes),
    )
    pool = np.arange(len(labels))
    for fold in range(6):
        learned, scored = cross_fitted(
            pool, labels, fold=fold, size=80 * classes, most=10**6, seed=0, groups=groups
        )
        assert set(labels[learned]) == set(labels[scored]) == set(range(classes))


def test_folds_learn_from_other_groups_each_where_there_are_fewer_than_parts() -> None:
    """10 classes of 4 videos of 30: twelve folds of 100 images, but no more than four of a video a class."""
    labels, groups = np.repeat(np.arange(10), 120), np.repeat(np.arange(40), 30)
    pool, taken = np.arange(len(labels)), []
    for fold in range(32):
        learned, _ = cross_fitted(pool, labels, fold=fold, size=100, most=10**6, seed=0, groups=groups)
        taken.append(frozenset(groups[learned].tolist()))
        assert [len(set(groups[learned][labels[learned] == label])) for label in range(10)] == [1] * 10
    for start in range(0, 32, 4):
        assert set.union(*map(set, taken[start : start + 4])) == set(range(40))
    assert len(set(taken)) > 16


def test_a_class_of_few_groups_lends_each_fold_one_by_chance() -> None:
    """One class of 3 videos, one of 60: of the first, no fold may always be given the same."""
    labels = np.repeat([0, 1], [60, 600])
    groups = np.concatenate([np.arange(3).repeat(20), 3 + np.arange(60).repeat(10)])
    lent = []
    for fold in range(12):
        learned, scored = cross_fitted(
            np.arange(660), labels, fold=fold, size=50, most=10**6, seed=0, groups=groups
        )
        (own,) = set(groups[learned][labels[learned] == 0])
        lent.append(int(own))
        assert set(labels[scored]) == {0, 1}
    assert set(lent) == {0, 1, 2}
    assert max(map(lent.count, lent)) < 9


def test_a_given_part_is_halved_by_groups_and_a_group_in_two_given_parts_is_refused() -> None:
    labels, groups = np.tile([0, 1], 24), np.repeat(np.arange(12), 4)
    given_as = np.repeat([Split.TRAIN, Split.VALIDATION, Split.TEST], 16).astype(np.int8)
    parts = split(labels, given_as, classes="ab", seed=0, groups=groups)
    assert not set(groups[parts.validation]) & set(groups[parts.confirmation])
    assert len(parts.validation) == len(parts.confirmation) == 8
    groups[0] = groups[-1]
    with pytest.raises(UserError, match=r"one group both for training and for testing \(images 0 and 47"):
        split(labels, given_as, classes="ab", seed=0, groups=groups)


def test_unlabeled_images_of_a_group_that_is_held_out_are_not_learned_from() -> None:
    labels = np.concatenate([np.tile([0, 1], 20), np.full(20, -1)])
    groups = np.concatenate([np.arange(20).repeat(2), np.arange(20)])
    parts = split(labels, np.zeros(60, np.int8), classes="ab", seed=0, groups=groups)
    held = np.concatenate([parts.validation, parts.confirmation, parts.test])
    assert 0 < len(parts.unlabeled) < 20
    assert not set(groups[parts.unlabeled]) & set(groups[held])


def test_a_class_of_too_few_groups_is_named() -> None:
    labels, groups = np.repeat([0, 1], 40), np.concatenate([np.arange(40), 40 + np.arange(40) % 3])
    with pytest.raises(UserError, match=r"class 'b' has 3 groups .*too few for 4 parts; .*something finer"):
        split(labels, np.zeros(80, np.int8), classes="ab", seed=0, groups=groups)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [(r"(\w+)_\d+\.png", [0, 0, 1, 2]), (r"^[ab]/", [0, 0, 1, 2]), (r"(?:a|b)/(p)(\d)", [0, 0, 1, 2])],
)
def test_an_expression_finds_groups_in_paths(expression: str, expected: list[int]) -> None:
    assert by_path(["a/p1_1.png", "a/p1_2.png", "b/p2_1.png", "c/other.png"], expression).tolist() == expected


def test_an_expression_that_finds_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"--group-by x\+ finds nothing in any path, in a/1\.png say: give"):
        by_path(["a/1.png", "b/1.png"], "x+")


@pytest.fixture
def data(tmp_path: Path) -> ImageData:
    """Six images of each of two classes, three a patient; the first of all is there twice."""
    for number in range(12):
        pixels = np.random.default_rng(0 if number == 7 else number).integers(0, 256, (9, 9), np.uint8)
        path = tmp_path / "pets" / "ab"[number % 2] / f"p{number // 3}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return open_images(str(tmp_path / "pets"), image_size=8, cache=tmp_path / "cache")


def names(data: ImageData) -> list[set[str]]:
    assert data.groups is not None
    return [
        {Path(data.files[row]).stem for row in np.flatnonzero(data.groups == group)}
        for group in np.unique(data.groups)
    ]


def test_copies_alone_can_be_kept_together(data: ImageData) -> None:
    grouped = with_groups(data, "copies")
    assert {"p0_0", "p2_7"} in names(grouped)
    assert len(names(grouped)) == 11
    assert groups_in_words(grouped) == (
        "of 12 images 10 stand alone, the others are in 1 groups of at most 2; no group is in two parts"
    )


def test_groups_that_share_a_copy_are_one(data: ImageData, tmp_path: Path) -> None:
    grouped = with_groups(data, r"(p\d+)_")
    assert sorted(map(len, names(grouped))) == [3, 3, 6]
    assert (grouped.fingerprint, grouped.files) == (data.fingerprint, data.files)
    assert with_groups(data, r"(p\d+)_").cache == grouped.cache == load_cache(grouped.cache).cache
    assert image_paths(str(tmp_path / "pets"), grouped) == image_paths(str(tmp_path / "pets"), data)


def test_without_groups_nothing_changes(data: ImageData) -> None:
    assert with_groups(data, None) is data


def test_groups_stay_when_rare_classes_are_left_out(tmp_path: Path) -> None:
    for number in range(9):
        path = tmp_path / "pets" / "aaaabbbbc"[number] / f"{number}_{number % 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), number).save(path)
    data = open_images(str(tmp_path / "pets"), image_size=8, cache=tmp_path / "cache")
    kept, _ = without_rare_classes(with_groups(data, r"_(\d)"), 2, merge=False)
    assert kept.groups is not None
    assert kept.groups.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_a_planted_leak_flatters_without_groups_and_not_with_them() -> None:
    """Noisy copies of originals whose labels say nothing: their neighbours are known, and nothing else."""
    rng = np.random.default_rng(0)
    labels, groups = np.repeat(np.arange(80) % 2, 6), np.repeat(np.arange(80), 6)
    pixels = rng.normal(size=(80, 32))[groups] + 0.1 * rng.normal(size=(480, 32))
    given_as = np.zeros(480, np.int8)

    def accuracy(parts: Splits) -> float:
        distances = ((pixels[parts.test][:, np.newaxis] - pixels[parts.train]) ** 2).sum(axis=-1)
        return float((labels[parts.train][distances.argmin(axis=1)] == labels[parts.test]).mean())

    assert accuracy(split(labels, given_as, classes="ab", seed=0)) > 0.9
    assert accuracy(split(labels, given_as, classes="ab", seed=0, groups=groups)) < 0.75


def near_copies(root: Path, parts: tuple[str, ...] = ("",)) -> Path:
    """40 scenes of two classes, each four times: as it is, and saved anew, brighter, with noise."""
    rng = np.random.default_rng(3)
    for number in range(40):
        coarse = Image.fromarray(rng.integers(0, 230, (6, 6, 3), dtype=np.uint8))
        scene = np.asarray(coarse.resize((40, 40), Image.Resampling.BICUBIC)).astype(float)
        for copy, part in zip(range(4), parts * 4, strict=False):
            path = root / part / ("cat", "dog")[number % 2] / f"{copy * 40 + number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            edited = scene * (1 + 0.05 * copy) + rng.normal(0, 2 * copy, scene.shape)
            Image.fromarray(np.clip(edited, 0, 255).astype(np.uint8)).save(path)
    return root


def scene_of(data: ImageData) -> np.ndarray:
    return np.array([int(Path(file).stem) % 40 for file in data.files])


def test_near_duplicates_leak_without_groups_and_never_with_them(tmp_path: Path) -> None:
    data = open_images(str(near_copies(tmp_path / "pets")), image_size=None, cache=tmp_path / "cache")
    parts = split(data.labels, data.given, classes=data.classes, seed=0)
    scenes = scene_of(data)
    assert np.isin(scenes[parts.test], scenes[parts.train]).mean() > 0.5
    grouped = with_groups(data, "near-duplicates")
    assert len(np.unique(grouped.groups)) == 40
    parts = split(data.labels, data.given, classes=data.classes, seed=0, groups=grouped.groups)
    rows = [getattr(parts, name) for name in PARTS]
    for one, other in combinations(rows, 2):
        assert not set(scenes[one]) & set(scenes[other])
    assert with_groups(data, "near-duplicates").cache == grouped.cache


def test_what_looks_like_given_test_images_is_left_out_of_training(tmp_path: Path) -> None:
    root = near_copies(tmp_path / "pets", ("train", "train", "train", "test"))
    for number in range(10):  # scenes that are in one part alone
        (root / "test" / ("cat", "dog")[number % 2] / f"{120 + number:03}.png").unlink()
    data = open_images(str(root), image_size=None, cache=tmp_path / "cache")
    grouped = with_groups(data, "near-duplicates")
    assert (grouped.given == Split.LEFT_OUT).sum() == 30 * 3
    parts = split(grouped.labels, grouped.given, classes=data.classes, seed=0, groups=grouped.groups)
    assert len(parts.test) == 30
    scenes = scene_of(data)
    learned = np.concatenate([parts.train, parts.validation, parts.confirmation])
    assert set(scenes[learned]) == set(range(10))
    assert "90 are left out" in groups_in_words(grouped)
    assert load_cache(grouped.cache).given.tolist() == grouped.given.tolist()


def test_copies_of_given_test_images_are_left_out_of_training_too(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8)
    images[36] = images[0]
    np.savez(tmp_path / "pets.npz", images=images, labels=np.arange(40) % 2, parts=[1] * 36 + [3] * 4)
    data = open_images(str(tmp_path / "pets.npz"), image_size=None, cache=tmp_path / "cache")
    grouped = with_groups(data, "copies")
    parts = split(grouped.labels, grouped.given, classes=data.classes, seed=0, groups=grouped.groups)
    assert parts.test.tolist() == [36, 37, 38, 39]
    assert 0 not in np.concatenate([parts.train, parts.validation, parts.confirmation, parts.unlabeled])
