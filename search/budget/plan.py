"""What fits into a time: pure functions of measured speeds.

All sizes of a run lie on one line, from the least that still ends with a verdict and a model to the usual
ones, and beyond those to more trials. The plan is the largest point of the line that fits, so more time never
makes anything smaller, but where it first allows to compare finalists on the final network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from augsearch.search.statistics.looks import FIRST
from augsearch.search.studies.pruner import BESIDE

MOST_CANDIDATES = 96
"""Beyond these a longer search has little left to find."""
LEAST_CONFIRMED = 2
"""Fresh folds without which there is no interval, and so no verdict."""
LEAST_FINAL = 3
"""Epochs of the final training."""
LEAST_EPOCHS = 5
LEAST_IMAGES = 100
"""This and the epochs before are those of the shortest fold."""
FEW_IMAGES = 240
"""A fold gets fewer images down to these, then fewer epochs, and fewer images again at the last.

With half the epochs much of what tells policies from one another is lost; see ``docs/results``."""
TELLING_EPOCHS = 30
"""Of few images: a fold gets so many epochs before anything else of the plan grows. With 5, and with 15 of
500 images, no augmentation led the baselines on the embedded data, which in final models is last but one; see
``docs/results``."""
FINAL_SIDES = (224, 192, 160, 128, 112, 96)
"""Pixels at which a network with weights is trained, by the time there is."""
FINALS_SHARE = 0.4
"""The share of the time that the least final training may take; at a larger side it would take more."""
EARLINESS = 1.5
"""Above 1: candidates, a fold's size and the final training grow before the number of folds does."""
WITH_CONTROLS = 4
"""Trainings of a fold beside the finalists' where they learn from a teacher: its own, the best baseline with
it, and the best baseline for twice the passes."""
CHECK_SHARE = 1 / 3
"""The share of the time that training the final network with finalists may take, to be planned at all."""
OF_ITS_FOLDS = 0.7
"""The share of its folds that a candidate is trained on, on average, until it is stopped."""
GO_ON = 0.5
"""The share of finalists and baselines that go on after the first look, and those after it."""
STEPS = 200
"""Points of each of the line's parts: to folds that tell something, and from there on."""
TELLING = 3
"""Which of the corners of ``_corners`` parts them."""

FoldSize = tuple[int, int]
"""Training images and epochs of a fold."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast trainings are here, as measured."""

    workers: int
    images: float
    """Image passes a second of each worker, all of them at work."""
    fold_overhead: float = 0.0
    """Seconds of a fold beside those: making the network, scoring."""
    final_images: float = 0.0
    """Image passes a second of the final training; 0: not known, or there is none."""
    reserve: float = 0.0
    """Seconds for all that is no training: drawing, writing, logging, testing."""
    check_images: float = 0.0
    """Image passes a second of the final network in the short trainings that compare finalists; 0: not known,
    or there are none."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a run does."""

    trials: int
    """The baselines among them."""
    folds: int
    """The most folds of a trial."""
    fold_size: int
    """Training images of a fold."""
    epochs: int
    """The epochs of a fold."""
    confirm_folds: int
    """The most confirmation folds of each finalist and baseline."""
    final_epochs: int
    """0: no final model is trained."""
    checked: int = 0
    """Short trainings of the final network by which finalists are compared."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a run has to do, whatever its sizes are."""

    usual: Sizes
    """What it would be without a budget."""
    baselines: int
    finalists: int
    """Candidates to confirm beside the baselines."""
    final_passes: int
    """Image passes of an epoch of the final training, what is scored after it included."""
    teacher: bool = False
    """Whether candidates distil, so that folds have teachers."""
    candidate_cost: float = 1.0
    """How many times a baseline's time a candidate's fold takes, on average."""
    fixed: frozenset[str] = frozenset()
    """The sizes that are not to be planned, by the names of their fields: they are as usual."""
    classes: int = 0
    """A fold has an image of each at least."""
    least_final: int = LEAST_FINAL
    """Epochs of the final training below which its network would be a poor one."""
    telling_epochs: int = TELLING_EPOCHS
    """Epochs of a fold of few images below which it favours weak augmentation."""
    check_passes: float = 0.0
    """Image passes of a short training of the final network, what is scored after it included."""

    def with_fixed(self, **sizes: int) -> Task:
        """The same with these sizes fixed too."""
        return replace(self, usual=replace(self.usual, **sizes), fixed=self.fixed | sizes.keys())


def plan(task: Task, speed: Speed, seconds: float) -> Sizes:
    """The largest sizes that take no longer than ``seconds``; the least ones where none do."""
    if "checked" not in task.fixed and check_seconds(task, task.usual, speed) > CHECK_SHARE * seconds:
        task = task.with_fixed(checked=0)
    chosen = None
    for sizes in _line(task):
        if chosen is not None and duration(task, sizes, speed) > seconds:
            break
        chosen = sizes
    assert chosen is not None
    return chosen


def largest_side(task: Task, images: float, side: int, seconds: float, most: int) -> int:
    """The largest side in pixels at which the least final training takes its share of ``seconds``.

    ``images`` a second are trained on at ``side``; a training's time goes with the pixels. ``most`` is the
    largest that the images and the network allow.
    """
    epochs = task.usual.final_epochs if "final_epochs" in task.fixed else task.least_final
    least = epochs * task.final_passes
    seconds = max(seconds, 0)  # on a busy machine the measuring alone may have taken more than there was
    fitting = side * math.sqrt(FINALS_SHARE * seconds * images / least)
    sides = [one for one in FINAL_SIDES if one <= most]
    return next((one for one in sides if one <= fitting), min(most, FINAL_SIDES[-1]))


def least_duration(task: Task, speed: Speed) -> float:
    """Seconds that the least sizes take."""
    return duration(task, plan(task, speed, 0), speed)


def duration(task: Task, sizes: Sizes, speed: Speed) -> float:
    """Seconds that a run takes from its first fold on."""
    return (
        search_seconds(task, sizes, speed)
        + confirmation_seconds(task, sizes, fold_seconds(sizes, speed), speed.workers)
        + check_seconds(task, sizes, speed)
        + final_seconds(task, sizes, speed)
        + speed.reserve
    )


def fold_seconds(sizes: Sizes, speed: Speed) -> float:
    """Seconds of a worker that a baseline's fold takes."""
    return sizes.fold_size * sizes.epochs / speed.images + speed.fold_overhead


def search_seconds(task: Task, sizes: Sizes, speed: Speed) -> float:
    """Seconds that the search takes.

    Of few candidates the folds are run one after another, so some workers wait at the end (Graham 1969);
    where there are more workers they run some of each side by side.
    """
    fold = fold_seconds(sizes, speed)
    candidates = max(0, sizes.trials - task.baselines)
    folds = float(task.baselines * sizes.folds)
    folds += candidates * sizes.folds * OF_ITS_FOLDS * task.candidate_cost
    folds += sizes.folds if task.teacher and candidates else 0
    last = math.ceil(sizes.folds / max(1, speed.workers // BESIDE)) * (1 - 1 / speed.workers)
    return fold * (folds / speed.workers + last)


def confirmation_seconds(task: Task, sizes: Sizes, fold: float, workers: int) -> float:
    """Seconds that the confirmation takes, where a fold takes ``fold``.

    After the first look about half of all go on; if more do, it ends at an earlier one.
    """
    whole = min(sizes.confirm_folds, FIRST)
    folds = whole + GO_ON * (sizes.confirm_folds - whole)
    return fold * math.ceil(_confirmed_at_once(task, sizes) * folds / workers)


def _confirmed_at_once(task: Task, sizes: Sizes) -> float:
    """Trainings, counted as baselines', of one fold of the confirmation."""
    candidates = min(task.finalists, max(0, sizes.trials - task.baselines))
    helped = task.teacher and candidates > 0
    return task.baselines + candidates * task.candidate_cost + (WITH_CONTROLS if helped else 0)


def final_seconds(task: Task, sizes: Sizes, speed: Speed) -> float:
    """Seconds that the final training takes."""
    if not sizes.final_epochs or not speed.final_images:
        return 0.0
    return sizes.final_epochs * task.final_passes / speed.final_images


def check_seconds(task: Task, sizes: Sizes, speed: Speed) -> float:
    """Seconds that comparing finalists on the final network takes."""
    return sizes.checked * task.check_passes / speed.check_images if speed.check_images else 0.0


def _line(task: Task) -> Iterator[Sizes]:
    """All sizes that may be planned, the least first; nothing ever gets smaller."""
    usual = task.usual
    corners = _corners(task)
    least = _at(0, task, corners)
    for step in range(STEPS):
        size, epochs = _along(corners[:TELLING], step / STEPS)
        yield replace(least, fold_size=size, epochs=epochs)
    for step in range(STEPS + 1):
        yield _at(step / STEPS, task, corners)
    most = MOST_CANDIDATES + task.baselines
    if "trials" not in task.fixed:
        for trials in range(usual.trials + 1, most + 1):
            yield replace(usual, trials=trials)


def _at(share: float, task: Task, corners: Sequence[FoldSize]) -> Sizes:
    """The sizes at ``share`` of the line, from 0, the least with folds that tell something, to the usual."""
    usual = task.usual
    early = 1 - (1 - share) ** EARLINESS
    size, epochs = max(_along(corners, early), corners[TELLING - 1], key=math.prod)
    # Of candidates there may be none, so one more than they is what grows.
    candidates = _between(1, 1 + max(0, usual.trials - task.baselines), early) - 1
    planned = Sizes(
        trials=task.baselines + candidates,
        folds=_between(1, usual.folds, share),
        fold_size=size,
        epochs=epochs,
        confirm_folds=_between(LEAST_CONFIRMED, usual.confirm_folds, share),
        final_epochs=_between(task.least_final, usual.final_epochs, early),
        checked=usual.checked,
    )
    return replace(planned, **{name: getattr(usual, name) for name in task.fixed})


def tells_little(task: Task, sizes: Sizes) -> bool:
    """Whether folds are so short that they favour weak augmentation."""
    return sizes.fold_size * sizes.epochs < math.prod(_corners(task)[TELLING - 1])


def _between(least: int, most: int, share: float) -> int:
    """From ``least`` to ``most`` in equal ratios; ``most`` where that is less."""
    if most <= least:
        return most
    return math.floor(least * math.pow(most / least, share) + 1e-9)


def _corners(task: Task) -> list[FoldSize]:
    """From the shortest folds to those that tell something, the ``TELLING``th, and on to the usual ones.

    From one corner to the next there are more images or more epochs, not both.
    """
    size, epochs = task.usual.fold_size, task.usual.epochs
    least = min(max(LEAST_IMAGES, task.classes), size)
    few = min(max(FEW_IMAGES, 2 * task.classes), size)
    short, telling = min(LEAST_EPOCHS, epochs), min(task.telling_epochs, epochs)
    if "fold_size" in task.fixed:
        least = few = size
    if "epochs" in task.fixed:
        short = telling = epochs
    return [(least, short), (few, short), (few, telling), (few, epochs), (size, epochs)]


def _along(corners: Sequence[FoldSize], share: float) -> FoldSize:
    """The fold at ``share`` of the way, in equal ratios of image passes."""
    first, last = math.prod(corners[0]), math.prod(corners[-1])
    wanted = first * (last / first) ** share
    for (few, short), (many, long) in pairwise(corners):
        if wanted > many * long:
            continue
        if many > few:
            return min(many, max(few, math.floor(wanted / short + 1e-9))), short
        return few, min(long, max(short, math.floor(wanted / few + 1e-9)))
    return corners[-1]
