"""When two candidates are the same training."""

from __future__ import annotations

from typing import Any

import pytest

from augsearch.policies import Distillation, Policy, Semi
from augsearch.search.space.same import in_effect
from augsearch.trainers.workspace.candidate import Candidate

FLIP = Policy(num_ops=0, flip_horizontal=0.5, crop=1.0)


def same(one: Policy, other: Policy) -> bool:
    return in_effect(Candidate(policy=one)) == in_effect(Candidate(policy=other))


@pytest.mark.parametrize(
    ("one", "changes", "equal"),
    [
        (FLIP, {"operations": ("rotate",), "magnitude": 3, "ranges": "wide"}, True),
        (FLIP, {"magnitude": "random", "interpolation": "bilinear"}, True),
        (FLIP, {"border": "reflect"}, False),
        (FLIP, {"fill": (9, 9, 9)}, False),
        (Policy(num_ops=0), {"border": "reflect", "fill": (9, 9, 9)}, True),
        (FLIP, {"num_ops": 1}, False),
        (Policy(border="reflect"), {"fill": (9, 9, 9)}, True),
        (Policy(operations=("cutout",)), {"border": "reflect", "interpolation": "bilinear"}, True),
        (Policy(operations=("cutout",)), {"fill": (9, 9, 9)}, False),
        (Policy(operations=("rotate",)), {"border": "reflect"}, False),
        (Policy(operations=("rotate",)), {"interpolation": "bilinear"}, False),
        (Policy(operations=("rotate", "grey")), {"operations": ("grey", "rotate")}, True),
        (Policy(operations=("equalize", "grey")), {"magnitude": 20}, True),
        (Policy(operations=("equalize", "solarize")), {"magnitude": 20}, False),
        (Policy(operations=("grey",)), {"border": "reflect", "interpolation": "bilinear"}, True),
    ],
)
def test_what_changes_nothing_makes_no_difference(one: Policy, changes: dict[str, Any], equal: bool) -> None:
    assert same(one, Policy(**dict(one) | changes)) is equal


def test_the_policy_of_unlabeled_images_counts_too() -> None:
    def learning(policy: Policy) -> Candidate:
        semi = Semi.model_validate({"technique": "fixmatch", "policy": policy})
        return in_effect(Candidate(policy=FLIP, semi=semi))

    assert learning(FLIP) == learning(Policy(**dict(FLIP) | {"magnitude": 3}))
    assert learning(FLIP) != learning(Policy())
    assert in_effect(Candidate(policy=FLIP)) != learning(FLIP)
    taught = Candidate(policy=FLIP, distillation=Distillation(alpha=0.5, temperature=4.0))
    assert in_effect(taught) != in_effect(Candidate(policy=FLIP))


def test_choices_with_more_than_a_name_stay_and_their_kinds_count() -> None:
    own = Policy(num_ops=1, operations=("invert", {"name": "rotate", "weight": 2}), interpolation="bilinear")
    assert in_effect(Candidate(policy=own)).policy == own
    table = Policy(num_ops=1, operations=({"name": "invert", "weight": 2},), interpolation="bilinear")
    assert in_effect(Candidate(policy=table)).policy.interpolation == "nearest"
