"""The numbers of folds at which a confirmation is looked at, and the error that they spend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsearch.search.statistics.looks import Look, cut_short, planned_looks, with_reserve


def numbers(looks: list[Look]) -> list[int]:
    return [look.folds for look in looks]


def test_looks_are_at_doubling_numbers_and_at_the_end() -> None:
    assert numbers(planned_looks(32)) == [8, 16, 32]
    assert numbers(planned_looks(100)) == [8, 16, 32, 64, 100]
    assert numbers(planned_looks(8)) == [8]
    assert numbers(planned_looks(3)) == [3]


@given(st.lists(st.integers(2, 1000), min_size=1, max_size=6))
def test_however_often_folds_are_added_no_look_moves_and_one_error_in_twenty_is_all(folds: list[int]) -> None:
    looks = planned_looks(folds[0])
    for more in folds[1:]:
        longer = with_reserve(looks, more)
        assert longer[: len(looks)] == looks
        assert numbers(longer) == sorted(set(numbers(longer)))
        assert longer[-1].folds == max(more, looks[-1].folds)
        looks = longer
    assert sum(look.level for look in looks) <= 0.05 + 1e-12
    assert all(look.level > 0 for look in looks)


def test_out_of_time_the_last_look_is_at_the_folds_that_are_run() -> None:
    looks = planned_looks(32)
    short = cut_short(looks, 11)
    assert numbers(short) == [8, 11]
    assert (short[-1].level, short[-1].tail) == (looks[-1].level, looks[-1].tail)
    assert numbers(cut_short(looks, 8)) == [8]
    longer = with_reserve(looks, 84)
    assert numbers(cut_short(longer, 70)) == [8, 16, 32, 64, 70]
    assert sum(look.level for look in cut_short(longer, 70)) <= 0.05


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_who_confirmed_on_the_same_images_before_has_a_share_of_the_error(share: float) -> None:
    looks = with_reserve(planned_looks(32, share), 64, share)
    assert sum(look.level for look in looks) <= 0.05 * share
