"""The parts of a candidate: each is missing in one, and nothing else is."""

from __future__ import annotations

import pytest

from augsearch.policies import Distillation, Mixing, Policy, Transfer
from augsearch.search.space.parts import ALL_OPERATIONS, parts_of
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.workspace.candidate import Candidate

EVERYTHING = Candidate(
    policy=Policy(
        num_ops=2,
        magnitude=12,
        operations=("rotate", "flip_horizontal", "crop"),
        crop=1.0,
        flip_horizontal=0.5,
        flip_vertical=0.5,
        quarter_turns=0.5,
        mixing=Mixing(kind="mixup", alpha=0.4),
        interpolation="bilinear",
        border="reflect",
    ),
    distillation=Distillation(temperature=4, alpha=0.5),
    transfer=Transfer(mode="full"),
    semi=FixMatch(policy=Policy(num_ops=1)),
    class_balance="loss",
)


def test_every_part_is_named_once_and_removed_alone() -> None:
    parts = {part.name: part.without for part in parts_of(EVERYTHING)}
    assert list(parts) == [
        *(ALL_OPERATIONS, "rotate", "flip horizontal", "crop"),
        *("random crop", "horizontal flip", "vertical flip", "quarter turns", "MixUp"),
        *("border reflect", "sampling bilinear"),
        *("distillation", "class balance by loss", "own policy of unlabeled images", "unlabeled images"),
    ]
    assert len(parts) == len(parts_of(EVERYTHING))
    assert parts["rotate"].policy.operations == ("flip_horizontal", "crop")
    assert parts[ALL_OPERATIONS].policy.num_ops == 0
    whole = EVERYTHING.model_dump()
    for name, without in parts.items():
        document = without.model_dump()
        changed = {field for field in whole if document.get(field) != whole[field]}
        assert len(changed) == 1, name
        (section,) = changed
        if section in ("policy", "semi") and document.get(section) is not None:
            fields = {field for field in whole[section] if document[section][field] != whole[section][field]}
            assert len(fields) == 1, name


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (BASELINE_POLICIES["none"], []),
        (BASELINE_POLICIES["flip + crop"], ["random crop", "horizontal flip"]),
        (Policy(num_ops=1, operations=("rotate",)), [ALL_OPERATIONS]),
        (Policy(num_ops=0, fill=(255, 255, 255)), ["fill RGB (255, 255, 255)"]),
        # With a reflected border there is nothing to fill.
        (Policy(num_ops=0, border="reflect", fill=(255, 255, 255)), ["border reflect"]),
    ],
)
def test_what_a_candidate_has_not_is_no_part_of_it(policy: Policy, names: list[str]) -> None:
    assert [part.name for part in parts_of(Candidate(policy=policy))] == names


def test_a_transfer_is_no_part() -> None:
    candidate = Candidate(policy=Policy(num_ops=0), transfer=Transfer(mode="head"))
    assert parts_of(candidate) == []


def test_choices_with_more_than_a_name_are_parts_and_told_apart() -> None:
    own = {"name": "rotate", "value": 9}
    sequence = {"sequence": ["invert", own]}
    policy = Policy(num_ops=1, operations=("grey", own, sequence, sequence))
    parts = {part.name: part.without.policy for part in parts_of(Candidate(policy=policy))}
    assert list(parts) == [
        ALL_OPERATIONS,
        "grey",
        "rotate 9",
        *("invert, then rotate 9", "invert, then rotate 9 (2)"),
    ]
    assert parts["rotate 9"].operations == (policy.operations[0], *policy.operations[2:])
