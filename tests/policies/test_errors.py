"""What a person is told of bad input is one line, whatever stands in it."""

from __future__ import annotations

import pytest

from augsearch.policies import UserError
from augsearch.policies.errors import first_line


@pytest.mark.parametrize("end", ["\n", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_an_error_is_one_line_whatever_a_strangers_file_has_in_it(end: str) -> None:
    told = str(UserError(f"table.csv: no column 'a{end}b'; give --image-column"))
    assert len(told.splitlines()) == 1
    assert told.startswith("table.csv: no column 'a\\")
    assert told.endswith("b'; give --image-column")


def test_what_a_library_says_is_its_first_line_or_its_kind() -> None:
    assert first_line(ValueError("\n a\u2028b\nc")) == "a"
    assert first_line(MemoryError()) == "MemoryError"
