"""Spread candidates: always the same, no two alike, and the fewer are the first of the more."""

from __future__ import annotations

from augsearch.search.space.space import SemiSpace, Space
from augsearch.search.space.spread import spread

SPACE = Space(("rotate", "posterize", "shear_x"), teacher_view="same")


def test_the_fewer_are_the_first_of_the_more() -> None:
    more = spread(SPACE, 20, seed=3)
    assert len(more) == 20
    assert spread(SPACE, 20, seed=3) == more
    few = spread(SPACE, 12, seed=3)
    assert list(few.items()) == list(more.items())[:12]
    assert spread(SPACE, 20, seed=4) != more


def test_no_two_are_alike_and_they_reach_from_none_to_strong() -> None:
    found = spread(SPACE, 20, seed=0)
    candidates = list(found.values())
    assert all(candidates.count(candidate) == 1 for candidate in candidates)
    assert set(SPACE.baselines) <= set(found)
    policies = [candidate.policy for candidate in candidates]
    assert any(policy.num_ops == 0 and policy.mixing is None for policy in policies)
    assert any(policy.num_ops == 3 for policy in policies)
    assert {policy.mixing.kind for policy in policies if policy.mixing} == {"cutmix", "mixup"}
    assert any(candidate.distillation for candidate in candidates)


def test_where_all_candidates_use_a_technique_the_made_ones_do_too() -> None:
    space = Space(SPACE.operations, semi=SemiSpace(("fixmatch",), searched=False))
    made = [one for name, one in spread(space, 12, seed=0).items() if name.startswith("flip + crop, ")]
    assert len(made) == 5
    assert all(one.semi is not None and one.semi.technique == "fixmatch" for one in made)
