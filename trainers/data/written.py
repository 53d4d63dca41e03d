"""Colours, ranges and expressions as people write them."""

from __future__ import annotations

import re

from augsearch.policies.bands import MOST_BANDS
from augsearch.trainers.data.form import BY_BAND, Bands, Range, ValueRange

NAMED = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "gray": (128, 128, 128)}


def colour_of(written: str) -> tuple[int, int, int]:
    """RGB of ``white``, ``black``, ``grey``, ``#ff8800`` or ``255,136,0``.

    Raises:
        ValueError: it is none of these.
    """
    text = written.strip().lower()
    if text in NAMED:
        return NAMED[text]
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(part.isdecimal() and int(part) <= 255 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    raise ValueError(
        f"must be {', '.join(NAMED)}, #RRGGBB or R,G,B with numbers from 0 to 255, got {written!r}"
    )


def range_of(written: str) -> ValueRange:
    """The two numbers of ``0,4095``; those of each band, as in ``0,4000;200,310``; or ``band``.

    Raises:
        ValueError: they are no two numbers, or not in order, or of more than 16 bands.
    """
    if written.strip().lower() == BY_BAND:
        return BY_BAND
    first, *others = (_pair(part, written) for part in written.split(";"))
    if len(others) >= MOST_BANDS:
        raise ValueError(f"must have a pair for each of at most {MOST_BANDS} bands, got {len(others) + 1}")
    return (first, *others) if others else first


def _pair(part: str, written: str) -> Range:
    try:
        low, high = (float(number) for number in part.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high < float("inf") or low == float("-inf"):
        raise ValueError(
            "must be LOW,HIGH, two numbers of which the first is less, one such pair a band as in "
            f"'0,4000;200,310', or band, got {written!r}"
        )
    return low, high


def bands_of(written: str) -> Bands:
    """``all``, or the numbers of ``4,3,2``.

    Raises:
        ValueError: they are no numbers from 1, or more than 16.
    """
    if written.strip().lower() == "all":
        return "all"
    parts = [part.strip() for part in written.split(",")]
    if len(parts) > MOST_BANDS or not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise ValueError(
            f"must be all, or numbers from 1, at most {MOST_BANDS}, as in 4,3,2, got {written!r}"
        )
    return tuple(int(part) for part in parts)


def check_expression(written: str) -> None:
    """Check that a regular expression is one.

    Raises:
        ValueError: it is none.
    """
    try:
        re.compile(written)
    except re.error as error:
        raise ValueError(f"is no regular expression ({error}), got {written!r}") from None
