"""Controls: the best baseline with the same help as a candidate, and with as many image passes."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.trial import TrialState

from augsearch.policies import Distillation, Policy
from augsearch.search.studies.controls import (
    FIRST_CONTROL,
    controls,
    controls_for,
    helped_alike,
    with_controls,
)
from augsearch.search.studies.study import Entry
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult

TEACHER = Distillation(temperature=4, alpha=0.5)
FLIPPED = Candidate(policy=Policy(num_ops=0, flip_horizontal=0.5, crop=1.0))


def entry(
    number: int,
    name: str | None,
    candidate: Candidate,
    accuracy: float = 0.7,
    images: int = 100,
    taught: int = 0,
) -> Entry:
    empty = np.empty(0, dtype=bool)
    result = FoldResult(accuracy, 0.5, 0.05, 1.0, images, empty, teacher_images=taught)
    return Entry(number, name, TrialState.COMPLETE, candidate, (result,))


BASELINES = [
    entry(0, "none", Candidate(policy=Policy(num_ops=0)), 0.6),
    entry(1, "flip + crop", FLIPPED, 0.8),
]


def study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


def test_who_learns_from_labels_alone_needs_no_control() -> None:
    own = study()
    assert controls_for(own, [*BASELINES, entry(7, None, Candidate(policy=Policy(num_ops=1)))]) == []
    assert controls(own) == []


def test_a_taught_candidate_is_measured_against_the_best_baseline_taught_and_trained_as_long() -> None:
    own = study()
    taught = Candidate(policy=Policy(num_ops=1), distillation=TEACHER)
    same, longer = controls_for(own, [*BASELINES, entry(7, None, taught, images=100, taught=100)])
    assert same.entry.candidate == FLIPPED.model_copy(update={"distillation": TEACHER})
    assert (same.entry.name, same.same_help) == ("flip + crop with the help of trial 7", True)
    assert longer.entry.candidate == FLIPPED.model_copy(update={"passes": 2.0})
    assert (longer.entry.name, longer.same_help) == ("flip + crop, 2 × the passes", False)
    assert same.of == longer.of == {7}
    assert [one.entry.number for one in controls(own)] == [FIRST_CONTROL, FIRST_CONTROL + 1]
    assert with_controls(own) == [same.entry, longer.entry]


def test_a_given_teacher_takes_no_more_passes() -> None:
    taught = Candidate(policy=Policy(num_ops=1), distillation=TEACHER)
    (same,) = controls_for(study(), [*BASELINES, entry(7, None, taught)])
    assert same.same_help


def test_what_is_searched_for_already_is_no_control() -> None:
    taught = Candidate(policy=Policy(num_ops=1), distillation=TEACHER)
    simply = FLIPPED.model_copy(update={"distillation": TEACHER})
    finalists = [*BASELINES, entry(7, None, taught, taught=100), entry(8, None, simply, taught=100)]
    (longer,) = controls_for(study(), finalists)
    assert not longer.same_help
    assert (longer.of, longer.base) == ({7, 8}, 1)
    assert helped_alike(finalists) == {8: {7, 8}}  # and serves as one


def test_unlabeled_images_are_help_unless_the_baseline_has_them_too() -> None:
    semi = FixMatch(threshold=0.9)
    finalist = entry(7, None, Candidate(policy=Policy(num_ops=1), semi=semi), images=300)
    same, longer = controls_for(study(), [*BASELINES, finalist])
    assert same.entry.candidate.semi == semi
    assert longer.entry.candidate.passes == 3.0
    helped = entry(2, "flip + crop, FixMatch", FLIPPED.model_copy(update={"semi": semi}), 0.9, 300)
    assert controls_for(study(), [*BASELINES, helped, finalist]) == []


def test_controls_keep_their_numbers_when_others_come() -> None:
    own = study()
    one, other = (
        entry(
            n, None, Candidate(policy=Policy(num_ops=1), distillation=Distillation(temperature=n, alpha=0.5))
        )
        for n in (7, 8)
    )
    (first,) = controls_for(own, [*BASELINES, one])
    (second,) = controls_for(own, [*BASELINES, other])
    assert (first.entry.number, second.entry.number) == (FIRST_CONTROL, FIRST_CONTROL + 1)
    again, also = controls_for(own, [*BASELINES, one, other])
    assert (again.entry.number, also.entry.number) == (FIRST_CONTROL, FIRST_CONTROL + 1)
    assert len(controls(own)) == 2


def test_a_balance_of_classes_is_help_that_takes_no_more_passes() -> None:
    balanced = Candidate(policy=Policy(num_ops=1), class_balance="sampling")
    (same,) = controls_for(study(), [*BASELINES, entry(7, None, balanced)])
    assert same.entry.candidate == FLIPPED.model_copy(update={"class_balance": "sampling"})
    assert same.same_help
    everywhere = [
        entry(one.number, one.name, one.candidate.model_copy(update={"class_balance": "sampling"}), one.score)
        for one in BASELINES
    ]
    assert controls_for(study(), [*everywhere, entry(7, None, balanced)]) == []
