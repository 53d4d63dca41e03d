"""Dividing a data set: train, validation, confirmation, test and unlabeled images, and the folds of training.

Everything is stratified by class and follows from the seed alone. Which images are for testing does not
depend on how many are trained on.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import Indices, Split
from augsearch.trainers.data.grouped import TooFewGroupsError, dealt, learned_and_scored
from augsearch.trainers.system.hashing import hex_hash

TEST_PERCENT = 20
VALIDATION_PERCENT = 15
CONFIRMATION_PERCENT = 15

TO_TRAIN_ON = "to train on"

SPLITTING, FOLDING, HALVING, BOUNDING, CROSS_FITTING, SCORING = 0, 1, 3, 4, 5, 6
"""Goes into the seed of what is shuffled, so that no two shuffles share their random numbers.

2 is that of the sample of unlabeled images.
"""


@dataclass(frozen=True, eq=False)
class Splits:
    """Which images are for what: indices into the data set, sorted, read-only and disjoint."""

    train: Indices
    """What students and teachers learn from."""
    validation: Indices
    """What the search scores on."""
    confirmation: Indices
    """What the finalists are compared on; the search has not seen it."""
    test: Indices
    """What the final model is measured on, once."""
    unlabeled: Indices
    """Images without labels."""

    def digests(self) -> dict[str, str]:
        """A short hex hash of each split, to tell later whether it is still the same."""
        return {
            field.name: hex_hash(getattr(self, field.name).astype("<i8").tobytes(), size=8)
            for field in fields(self)
        }


def split(
    labels: Indices,
    given: NDArray[np.int8],
    *,
    classes: Sequence[str],
    seed: int,
    limit: int | None = None,
    groups: Indices | None = None,
) -> Splits:
    """Divide a data set.

    A given test split is kept. A given validation split is halved into validation and confirmation. What is
    not given is carved from the other labeled images: 20 % for testing, 15 % each for validation and
    confirmation; what remains is for training. Totals are as asked to within rounding, except that every
    split gets an image of every class.

    Args:
        labels: int64, (N,), in 0..len(classes)-1, or -1 where unlabeled.
        given: int8, (N,), codes of ``Split``.
        classes: names of the classes.
        seed: 0 or more; decides which images go where.
        limit: train on at most this many images; the others are dropped, not moved to another split.
        groups: (N,), images of one number belong together: no group is in two splits, and images without a
            label whose group is held out are in none. None: each stands alone.

    Raises:
        UserError: a class has too few images, or ``limit`` is less than the number of classes.
    """
    unlabeled = ((labels < 0) | (given == Split.UNLABELED)) & (given != Split.LEFT_OUT)

    def shuffled(split: Split, *others: Split) -> list[Indices]:
        among = np.flatnonzero(~unlabeled & np.isin(given, [split, *others]))
        return [
            np.random.default_rng([seed, SPLITTING, split, label]).permutation(own)
            for label, own in enumerate(_by_class(among, labels, len(classes)))
        ]

    pool, held, test = shuffled(Split.TRAIN, Split.ANY), shuffled(Split.VALIDATION), shuffled(Split.TEST)
    together = None if groups is None else _Together(labels, groups, classes, seed)
    train, validation, confirmation, test = _divided((pool, held, test), classes, together)
    if limit is not None:
        train = _limited(train, limit)
    if groups is not None:
        apart = _joined([*validation, *confirmation, *test])
        unlabeled &= ~np.isin(groups, groups[apart])
    return Splits(
        train=_joined(train),
        validation=_joined(validation),
        confirmation=_joined(confirmation),
        test=_joined(test),
        unlabeled=_joined([np.flatnonzero(unlabeled)]),
    )


@dataclass(frozen=True, eq=False)
class _Together:
    """Carves as ``_carve`` does, but whole groups."""

    labels: Indices
    groups: Indices
    classes: Sequence[str]
    seed: int

    def check(self, *given: list[Indices]) -> None:
        """Check that no group is in two of what was given.

        Raises:
            UserError: one is.
        """
        names = ("training", "validation", "testing")
        found: dict[int, int] = {}
        for part, images in enumerate(map(_joined, given)):
            for group in np.unique(self.groups[images]).tolist():
                if found.setdefault(group, part) != part:
                    rows = np.flatnonzero(self.groups == group)
                    raise UserError(
                        f"the data gives images of one group both for {names[found[group]]} and for "
                        f"{names[part]} (images {int(rows[0])} and {int(rows[-1])} are of one group, say): "
                        "leave --group-by and --group-column out, or divide the data anew"
                    )

    def carve(self, pool: list[Indices], shares: list[int]) -> list[list[Indices]]:
        """As ``_carve``: whole groups for each of ``shares`` (in percent), and last the rest, by class.

        Raises:
            UserError: a class has too few groups.
        """
        images = _joined(pool)
        parts = [share / 100 for share in shares]
        parts.append(1 - sum(parts))
        try:
            carved = dealt(images, self.labels, self.groups, parts, seed=[self.seed, SPLITTING])
        except TooFewGroupsError as error:
            label, groups, needed = error.args
            raise UserError(
                f"class '{self.classes[label]}' has {groups} {'group' if groups == 1 else 'groups'} "
                f"{TO_TRAIN_ON}, some of them perhaps of other classes too: too few for {needed} parts; "
                "add some, leave the class out, or group by something finer"
            ) from None
        # In a random order within each class, as a limit takes the first of them.
        return [
            [
                np.random.default_rng([self.seed, SPLITTING, number, label]).permutation(own)
                for label, own in enumerate(_by_class(part, self.labels, len(self.classes)))
            ]
            for number, part in enumerate(carved)
        ]


def _divided(
    given: tuple[list[Indices], list[Indices], list[Indices]],
    classes: Sequence[str],
    together: _Together | None,
) -> tuple[list[Indices], list[Indices], list[Indices], list[Indices]]:
    """Training, validation, confirmation and test images by class, of those to train on, to validate and to
    test on as the data gives them.

    Raises:
        UserError: a class has too few images, or too few groups.
    """
    pool, held, test = given
    test_given, validation_given = any(map(len, test)), any(map(len, held))

    shares = [] if test_given else [TEST_PERCENT]
    shares += [] if validation_given else [VALIDATION_PERCENT, CONFIRMATION_PERCENT]
    _check_counts(classes, pool, TO_TRAIN_ON, len(shares) + 1)
    if together is not None:
        together.check(pool, held, test)
    carved = _carve(pool, shares) if together is None else together.carve(pool, shares)
    if test_given:
        _check_counts(classes, test, "given for testing", 1)
    else:
        test = carved.pop(0)
    if validation_given:
        _check_counts(classes, held, "given for validation", 2)
        confirmation, validation = _carve(held, [50]) if together is None else together.carve(held, [50])
    else:
        validation, confirmation = carved.pop(0), carved.pop(0)
    (train,) = carved
    return train, validation, confirmation, test


def fold_subset(train: Indices, labels: Indices, *, fold: int, size: int, seed: int) -> Indices:
    """Choose the images that a fold trains on, the same for every candidate.

    Of each class, folds take one stretch after another of a shuffled order, and when it has run out, of a
    new one: folds share no image for as long as there are enough, because what they then say of a candidate
    is as independent as it can be.

    Args:
        train: int64, indices of training images.
        labels: int64, (N,), labels of all images.
        fold: 0 or more.
        size: how many images; all of ``train`` if it has no more than that.
        seed: 0 or more.

    Returns:
        int64, (size,), sorted, stratified by class.

    Raises:
        UserError: ``size`` is less than the number of classes.
    """
    # A class may have no training image here: not all labels occur in every array of them.
    members = [own for own in _by_class(np.sort(train), labels, 1) if len(own)]
    _check_size(size, len(members))
    counts = [len(images) for images in members]
    chosen = []
    for label, (images, number) in enumerate(zip(members, _apportion(counts, size, 1), strict=True)):
        stretches = len(images) // number
        turn, stretch = divmod(fold, stretches)
        order = np.random.default_rng([seed, FOLDING, turn, label]).permutation(images)
        chosen.append(order[stretch * number : (stretch + 1) * number])
    return _joined(chosen)


def cross_fitted(
    pool: Indices,
    labels: Indices,
    *,
    fold: int,
    size: int,
    most: int,
    seed: int,
    groups: Indices | None = None,
) -> tuple[Indices, Indices]:
    """Divide ``pool`` for a fold: what it learns from and what it is scored on, whoever the candidate is.

    Repeated cross-fitting: every image is learned from in some folds and scored in others. Of each class,
    folds take one stretch after another of a shuffled order and of a new one when it has run out: stretches
    to learn from where those are half of the class or less, else stretches to score. So any few folds share
    as few images as can be.

    Args:
        pool: int64, indices into ``labels``.
        labels: int64, (N,), labels of all images.
        fold: 0 or more.
        size: how many images to learn from, fewer than ``pool`` has.
        most: how many images to score at most; a stratified sample of the others.
        seed: 0 or more.
        groups: (N,), images of one number are in one of the two; None: each stands alone.

    Returns:
        Two arrays, int64, sorted, disjoint and stratified by class; of a class with one image the second has
        none.

    Raises:
        UserError: ``size`` is less than the number of classes.
    """
    members = [own for own in _by_class(np.sort(pool), labels, 1) if len(own)]
    _check_size(size, len(members))
    sampled = int(np.random.SeedSequence([seed, SCORING, fold]).generate_state(1)[0])
    if groups is not None:
        mine = [seed, CROSS_FITTING]
        learns, rest = learned_and_scored(np.sort(pool), labels, groups, fold=fold, size=size, seed=mine)
        return bounded(learns, labels, most=size, seed=sampled), bounded(
            rest, labels, most=most, seed=sampled
        )
    counts = [len(images) for images in members]
    learned, scored = [], []
    for label, (images, number) in enumerate(zip(members, _apportion(counts, size, 1), strict=True)):
        cut = number if 2 * number <= len(images) else len(images) - number
        turn, stretch = divmod(fold, len(images) // cut if cut else 1)
        order = np.random.default_rng([seed, CROSS_FITTING, turn, label]).permutation(images)
        inside = np.zeros(len(images), dtype=bool)
        inside[stretch * cut : (stretch + 1) * cut] = True
        learns = inside if cut == number else ~inside
        learned.append(order[learns])
        scored.append(order[~learns])
    others = _joined(scored)
    return _joined(learned), bounded(others, labels, most=most, seed=sampled)


def halves(images: Indices, labels: Indices, *, seed: int) -> tuple[Indices, Indices]:
    """Divide images into two halves, stratified by class; each has one of every class.

    Args:
        images: int64, indices into ``labels``, two or more of every class that occurs.
        labels: int64, (N,), 0 or more where ``images`` point.
        seed: 0 or more.
    """
    members = [
        np.random.default_rng([seed, HALVING, label]).permutation(own)
        for label, own in enumerate(_by_class(np.sort(images), labels, 1))
    ]
    first, second = _carve([own for own in members if len(own)], [50])
    return _joined(first), _joined(second)


def bounded(images: Indices, labels: Indices, *, most: int, seed: int) -> Indices:
    """``images``, or at most ``most`` of them, stratified by class and always the same; one of each class.

    Args:
        images: int64, indices into ``labels``, sorted.
        labels: int64, (N,), 0 or more where ``images`` point.
        most: how many are to be left; more where there are more classes.
        seed: 0 or more.
    """
    if len(images) <= most:
        return images
    members = [own for own in _by_class(images, labels, 1) if len(own)]
    sizes = _apportion([len(own) for own in members], most, 1)
    return _joined(
        [
            np.random.default_rng([seed, BOUNDING, number]).permutation(own)[:size]
            for number, (own, size) in enumerate(zip(members, sizes, strict=True))
        ]
    )


def _by_class(images: Indices, labels: Indices, classes: int) -> list[Indices]:
    """Divide indices by the class of their image; sorted ones stay sorted."""
    own = labels[images]
    ordered = images[np.argsort(own, kind="stable")]
    return np.split(ordered, np.cumsum(np.bincount(own, minlength=classes))[:-1])


def _carve(pool: list[Indices], shares: list[int]) -> list[list[Indices]]:
    """Cut ``shares`` (in percent of the whole) off the front of every class; last in the list is the rest."""
    whole = sum(map(len, pool))
    carved = []
    for number, share in enumerate(shares):
        # What comes after, the rest included, needs an image of each class too.
        spare = [len(images) - (len(shares) - number) for images in pool]
        total = (whole * share + 50) // 100
        sizes = _apportion([len(images) for images in pool], total, 1, spare)
        carved.append([images[:size] for images, size in zip(pool, sizes, strict=True)])
        pool = [images[size:] for images, size in zip(pool, sizes, strict=True)]
    return [*carved, pool]


def _limited(train: list[Indices], limit: int) -> list[Indices]:
    """Keep at most ``limit`` images, of every class its share."""
    if limit < len(train):
        raise UserError(f"limit must be at least the number of classes, {len(train)}, got {limit}")
    sizes = _apportion([len(images) for images in train], limit, 1)
    return [images[:size] for images, size in zip(train, sizes, strict=True)]


def _apportion(counts: Sequence[int], total: int, least: int, most: Sequence[int] | None = None) -> list[int]:
    """Divide ``total`` in proportion to ``counts`` by largest remainder, each from ``least`` to ``most``.

    In whole numbers throughout, so that no machine rounds differently; of equals the first is served.
    """
    most = counts if most is None else most
    whole = sum(counts)
    total = min(max(total, least * len(counts)), sum(most))
    sizes = [min(max(count * total // whole, least), top) for count, top in zip(counts, most, strict=True)]
    step = 1 if sum(sizes) < total else -1
    # First comes the class that lacks most, or has most too many, counted in units of 1 / whole.
    queue = [
        (step * (size * whole - count * total), index)
        for index, (count, size) in enumerate(zip(counts, sizes, strict=True))
    ]
    heapq.heapify(queue)
    for _ in range(abs(total - sum(sizes))):
        while True:
            excess, index = heapq.heappop(queue)
            if least <= sizes[index] + step <= most[index]:
                break
        sizes[index] += step
        heapq.heappush(queue, (excess + whole, index))
    return sizes


def _check_counts(classes: Sequence[str], images: list[Indices], purpose: str, needed: int) -> None:
    """Check that every class has the images it needs."""
    for name, own in zip(classes, images, strict=True):
        if len(own) < needed:
            plural = "image" if len(own) == 1 else "images"
            advice = f"; add some, or give --min-per-class {needed}" if purpose == TO_TRAIN_ON else ""
            raise UserError(
                f"class '{name}' has {len(own)} {plural} {purpose}, it needs at least {needed}{advice}"
            )


def _check_size(size: int, classes: int) -> None:
    """Check that a fold can have an image of every class."""
    if size < classes:
        raise UserError(f"a fold must have an image of each of the {classes} classes, got size {size}")


def _joined(images: list[Indices]) -> Indices:
    """Join indices, sorted and read-only."""
    joined = np.sort(np.concatenate(images).astype(np.int64))
    joined.flags.writeable = False
    return joined
