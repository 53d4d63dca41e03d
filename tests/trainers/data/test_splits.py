"""Which images are for what."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.splits import Splits, bounded, cross_fitted, fold_subset, halves, split

FEW = settings(max_examples=40)
PARTS = ("train", "validation", "confirmation", "test", "unlabeled")

Labels = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]


def names(labels: Labels) -> list[str]:
    return [f"class {number}" for number in range(int(labels.max()) + 1)]


def counts(labels: Labels, part: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    return np.bincount(labels[part], minlength=classes)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Labels, Codes]:
    """Labels and parts of 2 to 6 unevenly filled classes in any order, with what is given drawn too."""
    classes = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    blocks = [(Split.ANY, 4, 60)]
    if draw(st.booleans()):
        blocks.append((Split.VALIDATION, 2, 20))
    if draw(st.booleans()):
        blocks.append((Split.TEST, 1, 20))
    labels, codes = [], []
    for part, least, most in blocks:
        for label in range(classes):
            number = int(rng.integers(least, most))
            labels += [label] * number
            codes += [part] * number
    unlabeled = draw(st.integers(0, 9))
    labels += [-1] * unlabeled
    codes += [Split.UNLABELED] * unlabeled
    order = rng.permutation(len(labels))
    return np.array(labels)[order], np.array(codes, np.int8)[order]


seeds = st.integers(0, 1000)


@FEW
@given(data_sets(), seeds)
def test_parts_are_disjoint_sorted_and_lose_no_image(data: tuple[Labels, Codes], seed: int) -> None:
    labels, codes = data
    parts = split(labels, codes, classes=names(labels), seed=seed)
    together = np.concatenate([getattr(parts, name) for name in PARTS])
    assert sorted(together) == list(range(len(labels)))
    for name in PARTS:
        part = getattr(parts, name)
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert not part.flags.writeable


@FEW
@given(data_sets(), seeds)
def test_what_is_given_is_kept(data: tuple[Labels, Codes], seed: int) -> None:
    labels, codes = data
    parts = split(labels, codes, classes=names(labels), seed=seed)
    assert parts.unlabeled.tolist() == np.flatnonzero(codes == Split.UNLABELED).tolist()
    if (codes == Split.TEST).any():
        assert parts.test.tolist() == np.flatnonzero(codes == Split.TEST).tolist()
    if (codes == Split.VALIDATION).any():
        held = np.union1d(parts.validation, parts.confirmation)
        assert held.tolist() == np.flatnonzero(codes == Split.VALIDATION).tolist()
        assert abs(len(parts.validation) - len(parts.confirmation)) <= 1


@FEW
@given(data_sets(), seeds)
def test_every_class_is_in_every_part(data: tuple[Labels, Codes], seed: int) -> None:
    labels, codes = data
    classes = names(labels)
    parts = split(labels, codes, classes=classes, seed=seed)
    for name in PARTS[:-1]:
        assert counts(labels, getattr(parts, name), len(classes)).all()


@pytest.mark.parametrize("each", [[200, 4], [4, 200, 4], [4, 4], [4] * 9, [5, 1000]])
def test_the_smallest_class_is_in_every_part_beside_large_ones(each: list[int]) -> None:
    labels = np.repeat(np.arange(len(each)), each)
    parts = split(labels, np.zeros(len(labels), np.int8), classes=names(labels), seed=0)
    for name in PARTS[:-1]:
        assert counts(labels, getattr(parts, name), len(each)).all()


@FEW
@given(st.lists(st.integers(20, 90), min_size=2, max_size=6), seeds)
def test_carved_parts_are_stratified_and_as_large_as_promised(each: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(each)), each)
    parts = split(labels, np.zeros(len(labels), np.int8), classes=names(labels), seed=seed)
    for name, share in [("test", 0.2), ("validation", 0.15), ("confirmation", 0.15), ("train", 0.5)]:
        part = getattr(parts, name)
        assert abs(len(part) - share * len(labels)) <= 1.5
        assert np.abs(counts(labels, part, len(each)) - share * np.array(each)).max() <= 2


@FEW
@given(data_sets(), seeds, st.integers(0, 80))
def test_a_limit_takes_exactly_that_many_training_images_and_leaves_the_rest_alone(
    data: tuple[Labels, Codes], seed: int, more: int
) -> None:
    labels, codes = data
    classes = names(labels)
    limit = len(classes) + more
    whole = split(labels, codes, classes=classes, seed=seed)
    limited = split(labels, codes, classes=classes, seed=seed, limit=limit)
    assert len(limited.train) == min(limit, len(whole.train))
    assert np.isin(limited.train, whole.train).all()
    for name in PARTS[1:]:
        assert getattr(limited, name).tolist() == getattr(whole, name).tolist()
    shares = counts(labels, whole.train, len(classes)) * len(limited.train) / len(whole.train)
    kept = counts(labels, limited.train, len(classes))
    assert kept.all()
    # No class is above its share by an image or more, and below it only for the sake of one with none.
    assert (kept < np.maximum(shares, 0) + 1).all()


@FEW
@given(data_sets(), seeds)
def test_the_seed_alone_decides(data: tuple[Labels, Codes], seed: int) -> None:
    labels, codes = data
    one, same = (split(labels, codes, classes=names(labels), seed=seed).digests() for _ in range(2))
    assert one == same


def test_another_seed_gives_another_test_part() -> None:
    labels, codes = np.repeat([0, 1], 50), np.zeros(100, np.int8)
    first, second = (split(labels, codes, classes=["a", "b"], seed=seed).digests() for seed in (0, 1))
    assert set(first) == set(PARTS)
    assert all(first[name] != second[name] for name in PARTS[:-1])


def test_a_split_is_the_same_on_every_machine_and_in_every_release() -> None:
    labels = np.tile(np.arange(5), 40)
    parts = split(labels, np.zeros(200, np.int8), classes=names(labels), seed=7, limit=33)
    assert parts.digests() == {
        "train": "4baa6520b2fa6180",
        "validation": "d93021cfa90d4cb5",
        "confirmation": "e75241f52688692a",
        "test": "ee27fac6e32d05c7",
        "unlabeled": "e4a6a0577479b2b4",
    }


def test_images_that_have_no_label_are_in_no_labeled_part() -> None:
    labels = np.repeat([0, 1, -1], 10)
    codes = np.repeat(np.array([Split.TRAIN, Split.TRAIN, Split.ANY], np.int8), 10)
    parts = split(labels, codes, classes=["a", "b"], seed=0)
    assert parts.unlabeled.tolist() == list(range(20, 30))


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            {(Split.ANY, 0): 9, (Split.ANY, 1): 3},
            "class 'few' has 3 images to train on, it needs at least 4; add some, or give --min-per-class 4",
        ),
        (
            {(Split.ANY, 0): 9},
            "class 'few' has 0 images to train on, it needs at least 4; add some, or give --min-per-class 4",
        ),
        (
            {(Split.TRAIN, 0): 9, (Split.TRAIN, 1): 2, (Split.TEST, 0): 1, (Split.TEST, 1): 1},
            "class 'few' has 2 images to train on, it needs at least 3; add some, or give --min-per-class 3",
        ),
        (
            {(Split.TRAIN, 0): 9, (Split.TRAIN, 1): 9, (Split.TEST, 0): 1},
            "class 'few' has 0 images given for testing, it needs at least 1",
        ),
        (
            {(Split.TRAIN, 0): 9, (Split.TRAIN, 1): 9, (Split.VALIDATION, 0): 2, (Split.VALIDATION, 1): 1},
            "class 'few' has 1 image given for validation, it needs at least 2",
        ),
    ],
)
def test_a_class_with_too_few_images_is_named(blocks: dict[tuple[Split, int], int], message: str) -> None:
    labels = np.concatenate([[label] * number for (_, label), number in blocks.items()])
    codes = np.concatenate([[part] * number for (part, _), number in blocks.items()]).astype(np.int8)
    with pytest.raises(UserError) as error:
        split(labels, codes, classes=["many", "few"], seed=0)
    assert str(error.value) == message


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any), st.integers(1, 200), st.integers(0, 9)
)
def test_a_bounded_part_is_a_fixed_stratified_sample(each: list[int], most: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(each)), each))
    images = np.flatnonzero(labels >= 0)
    found = bounded(images, labels, most=most, seed=seed)
    np.testing.assert_array_equal(found, bounded(images, labels, most=most, seed=seed))
    if len(images) <= most:
        assert found is images
        return
    classes = len(set(labels.tolist()))
    assert len(found) == max(most, classes)
    assert np.isin(found, images).all()
    assert (np.diff(found) > 0).all()
    counts = np.bincount(labels[found], minlength=len(each))
    for number, of_all in zip(counts, each, strict=True):
        share = of_all * most / len(images)
        assert (number > 0) == (of_all > 0)
        assert number <= max(1, math.ceil(share))


def test_another_seed_bounds_a_part_otherwise() -> None:
    labels = np.repeat([0, 1], 500)
    found = [bounded(np.arange(1000), labels, most=100, seed=seed).tolist() for seed in range(3)]
    assert len({tuple(one) for one in found}) == 3


def test_a_limit_below_the_number_of_classes_is_refused() -> None:
    with pytest.raises(UserError, match="limit must be at least the number of classes, 2, got 1"):
        split(np.repeat([0, 1], 9), np.zeros(18, np.int8), classes=["a", "b"], seed=0, limit=1)


def train_of(each: list[int], seed: int) -> tuple[Splits, Labels]:
    labels = np.repeat(np.arange(len(each)), each)
    return split(labels, np.zeros(len(labels), np.int8), classes=names(labels), seed=seed), labels


@FEW
@given(st.lists(st.integers(10, 60), min_size=2, max_size=5), seeds, st.integers(0, 20), st.integers(0, 200))
def test_a_fold_is_a_stratified_part_of_the_training_images_of_exactly_its_size(
    each: list[int], seed: int, fold: int, more: int
) -> None:
    parts, labels = train_of(each, seed)
    size = len(each) + more
    chosen = fold_subset(parts.train, labels, fold=fold, size=size, seed=seed)
    assert len(chosen) == len(np.unique(chosen)) == min(size, len(parts.train))
    assert np.isin(chosen, parts.train).all()
    kept = counts(labels, chosen, len(each))
    assert kept.all()
    assert (kept < counts(labels, parts.train, len(each)) * len(chosen) / len(parts.train) + 1).all()
    assert chosen.tolist() == fold_subset(parts.train, labels, fold=fold, size=size, seed=seed).tolist()


def test_folds_share_no_image_while_there_are_enough_and_differ_after() -> None:
    parts, labels = train_of([80, 80], seed=3)
    folds = [fold_subset(parts.train, labels, fold=fold, size=20, seed=3) for fold in range(12)]
    assert len(np.unique(np.concatenate(folds[:4]))) == 80
    assert len({fold.tobytes() for fold in folds}) == 12


def test_a_fold_does_not_depend_on_the_order_of_the_training_images() -> None:
    parts, labels = train_of([30, 30], seed=3)
    forwards = fold_subset(parts.train, labels, fold=1, size=8, seed=0)
    backwards = fold_subset(parts.train[::-1], labels, fold=1, size=8, seed=0)
    assert forwards.tolist() == backwards.tolist()


def test_a_fold_smaller_than_the_number_of_classes_is_refused() -> None:
    parts, labels = train_of([30, 30], seed=3)
    with pytest.raises(UserError, match="each of the 2 classes, got size 1"):
        fold_subset(parts.train, labels, fold=0, size=1, seed=0)


@FEW
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True), seeds)
def test_halves_have_an_image_of_every_class_and_half_of_all(classes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(classes, rng.integers(2, 9, len(classes))))
    images = rng.permutation(len(labels))[: len(labels)]
    first, second = halves(images, labels, seed=seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert abs(len(first) - len(second)) <= 1
    for half in (first, second):
        assert set(labels[half]) == set(classes)
        assert (np.diff(half) > 0).all()
    again = halves(np.sort(images), labels, seed=seed)
    assert [half.tolist() for half in again] == [first.tolist(), second.tolist()]


def test_only_the_given_images_are_halved_and_the_seed_decides_how() -> None:
    labels = np.arange(60) % 2
    chosen = np.arange(10, 50)
    found = {halves(chosen, labels, seed=seed)[0].tobytes() for seed in range(5)}
    assert len(found) == 5
    first, second = halves(chosen, labels, seed=0)
    assert sorted([*first, *second]) == chosen.tolist()


def cross_fitted_of(
    labels: np.ndarray, fold: int, size: int, most: int = 10_000
) -> tuple[np.ndarray, np.ndarray]:
    return cross_fitted(np.arange(len(labels)), labels, fold=fold, size=size, most=most, seed=3)


@pytest.mark.parametrize(("size", "at_once"), [(40, 2), (20, 5), (70, 3)])
def test_cross_fitting_uses_every_image_for_both_before_it_begins_anew(size: int, at_once: int) -> None:
    labels = np.repeat(np.arange(4), 25)
    turn = [cross_fitted_of(labels, fold, size) for fold in range(at_once)]
    for learned, scored in turn:
        assert sorted([*learned, *scored]) == list(range(100))
        assert len(learned) == size
        assert np.ptp(np.bincount(labels[learned])) <= 1
    if size <= 50:  # no two folds of a turn learn from the same image, and none is scored once only
        together = np.concatenate([learned for learned, _ in turn])
    else:
        together = np.concatenate([scored for _, scored in turn])
    assert len(np.unique(together)) == len(together)
    first, again = turn[0][0], cross_fitted_of(labels, at_once, size)[0]
    assert first.tolist() != again.tolist()


def test_of_many_images_a_stratified_sample_is_scored() -> None:
    labels = np.repeat(np.arange(4), [40, 40, 40, 80])
    learned, scored = cross_fitted_of(labels, 0, 40, most=80)
    assert len(scored) == 80
    assert np.bincount(labels[scored]).tolist() == [16, 16, 16, 32]
    assert not np.intersect1d(learned, scored).size
    assert cross_fitted_of(labels, 0, 40, most=80)[1].tolist() == scored.tolist()


def test_the_only_image_of_a_class_is_always_learned_from() -> None:
    labels = np.array([0] * 9 + [1])
    for fold in range(5):
        learned, scored = cross_fitted_of(labels, fold, 5)
        assert 9 in learned
        assert 9 not in scored
