"""Lengths of time as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsearch.search.settings.durations import duration_flag, duration_in_words, seconds_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("4m", 240),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("0.5h", 1800),
        ("90", 90),
        (90, 90),
        (2.5, 2.5),
        ("4M", 240),
    ],
)
def test_times_are_read_as_people_write_them(written: Any, seconds: float) -> None:
    assert seconds_of(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "m", "4x", "30m1h", "-4m", "0", "0s", "1e3", "inf", True, None, "4m4m"]
)
def test_what_is_no_time_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a time such as 90s, 4m, 2h or 1h30m, got "):
        seconds_of(written)


@given(st.integers(1, 10**6), st.integers(0, 999))
def test_a_flag_says_the_same_time(seconds: int, thousandths: int) -> None:
    exact = round(seconds + thousandths / 1000, 3)
    assert seconds_of(duration_flag(exact)) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.2, "3 s"), (0.1, "1 s"), (59, "1 min"), (232, "3 min 50 s"), (240, "4 min"), (5400, "1 h 30 min")],
)
def test_words_are_as_exact_as_anyone_wants_to_know(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words
