"""Classes with too few images: left out or merged where that is asked for, and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split, load_cache
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.rare_classes import without_rare_classes
from augsearch.trainers.data.splits import split
from augsearch.trainers.data.unlabeled.dataset import HowOpened, open_unlabeled

NEEDS_TWO = "a classifier needs at least 2 classes; give a smaller number"
SIZES = {"cat": 20, "dog": 20, "fox": 3, "owl": 1, "pig": 9}


def opened(tmp_path: Path, sizes: dict[str, int] | None = None, **arrays: npt.NDArray[np.int64]) -> ImageData:
    """An .npz of noise: so many images of each class, those without a label and for testing at the end."""
    sizes = sizes or SIZES
    names = np.repeat(list(sizes), list(sizes.values()))
    classes = np.array(list(sizes))
    labels = np.array([list(classes).index(name) for name in names])
    labels = np.concatenate([labels, *([arrays.pop("more")] if "more" in arrays else [])])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "zoo.npz", images=images, labels=labels, classes=classes, **arrays)
    return open_images(str(tmp_path / "zoo.npz"), image_size=None, cache=tmp_path / "cache")


def test_without_rare_classes_nothing_changes(tmp_path: Path) -> None:
    data = opened(tmp_path)
    for least, merge in ((1, False), (1, True)):
        kept, rare = without_rare_classes(data, least, merge=merge)
        assert kept is data
        assert rare == []


def test_rare_classes_are_left_out_and_named(tmp_path: Path) -> None:
    data = opened(tmp_path)
    kept, rare = without_rare_classes(data, 4, merge=False)
    assert rare == ["fox (3 images)", "owl (1 image)"]
    assert kept.classes == ("cat", "dog", "pig")
    np.testing.assert_array_equal(kept.images, data.images)
    names = np.array([*data.classes])[data.labels]
    for row, name in enumerate(names):
        left_out = name in ("fox", "owl")
        assert kept.labels[row] == (-1 if left_out else kept.classes.index(name))
        assert kept.given[row] == (Split.LEFT_OUT if left_out else Split.ANY)
    parts = split(kept.labels, kept.given, classes=kept.classes, seed=0)
    used = np.concatenate([parts.train, parts.validation, parts.confirmation, parts.test])
    assert sorted(used) == [row for row, name in enumerate(names) if name not in ("fox", "owl")]
    assert len(parts.unlabeled) == 0


def test_rare_classes_are_merged_into_one(tmp_path: Path) -> None:
    data = opened(tmp_path)
    kept, rare = without_rare_classes(data, 4, merge=True)
    assert rare == ["fox (3 images)", "owl (1 image)"]
    assert kept.classes == ("cat", "dog", "pig", "other")
    assert np.bincount(kept.labels).tolist() == [20, 20, 9, 4]
    split(kept.labels, kept.given, classes=kept.classes, seed=0)


@pytest.mark.parametrize("others", [20, 2])
def test_they_join_a_class_of_that_name(tmp_path: Path, others: int) -> None:
    data = opened(tmp_path, {"cat": 20, "fox": 3, "other": others})
    kept, _ = without_rare_classes(data, 4, merge=True)
    assert kept.classes == ("cat", "other")
    assert np.bincount(kept.labels).tolist() == [20, 3 + others]


def test_what_is_kept_can_be_mapped_elsewhere_and_is_another_data_set(tmp_path: Path) -> None:
    data = opened(tmp_path)
    found = [
        without_rare_classes(data, least, merge=merge)[0] for least in (4, 10) for merge in (False, True)
    ]
    assert len({one.fingerprint for one in [data, *found]}) == len({one.cache for one in [data, *found]}) == 5
    for one in found:
        again = load_cache(one.cache)
        assert (again.classes, again.fingerprint, again.files) == (one.classes, one.fingerprint, data.files)
        np.testing.assert_array_equal(again.labels, one.labels)
        # The pixels lie on the disk once.
        assert (one.cache / "images.npy").stat().st_ino == (data.cache / "images.npy").stat().st_ino
    again, _ = without_rare_classes(data, 4, merge=False)
    assert again.cache == found[0].cache


def test_images_for_testing_dont_make_a_class_common(tmp_path: Path) -> None:
    parts = np.array([1] * 20 + [1] * 20 + [3] * 3 + [3] + [1] * 9)
    parts[[0, 20, 50]] = 3
    kept, rare = without_rare_classes(opened(tmp_path, parts=parts), 2, merge=False)
    assert rare == ["fox (0 images)", "owl (0 images)"]
    test = split(kept.labels, kept.given, classes=kept.classes, seed=0).test
    assert test.tolist() == [0, 20, 50]


def test_the_truth_about_unlabeled_images_follows(tmp_path: Path) -> None:
    truth = np.array([4, 0, 2, -1])
    data = opened(tmp_path, more=np.full(4, -1), unlabeled_truth=truth)
    kept, _ = without_rare_classes(data, 4, merge=False)
    splits = split(kept.labels, kept.given, classes=kept.classes, seed=0)
    source, cache = str(tmp_path / "zoo.npz"), tmp_path / "cache"
    found = open_unlabeled(source, kept, splits, folder=None, cache=cache, how=HowOpened(seed=0))
    assert found is not None
    # Of a fox that is no class any more nothing is known.
    assert found.truth[found.chosen].tolist() == [2, 0, -1, -1]


@pytest.mark.parametrize(
    ("sizes", "least", "merge", "message"),
    [
        (
            SIZES,
            21,
            False,
            f"--min-per-class 21 leaves no class of zoo: {NEEDS_TWO}",
        ),
        (
            {"cat": 20, "dog": 3},
            4,
            False,
            f"--min-per-class 4 leaves cat of zoo: {NEEDS_TWO}",
        ),
        (
            {"cat": 20, "dog": 20, "fox": 2, "owl": 1},
            4,
            True,
            "--min-per-class 4 --rare-classes merge: all rare classes of zoo together have 3 images to train "
            "on (fox (2 images), owl (1 image)); leave them out with --rare-classes drop, or give a smaller "
            "number",
        ),
    ],
)
def test_what_leaves_too_little_is_refused(
    tmp_path: Path, sizes: dict[str, int], least: int, merge: bool, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        without_rare_classes(opened(tmp_path, sizes), least, merge=merge)
    assert str(caught.value) == message
