"""What some images of a data set say of how all of them are to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from augsearch.policies import UserError
from augsearch.policies.errors import some
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.form import BY_BAND, Form, Range, Reading, ValueRange
from augsearch.trainers.data.levels import MOST_OF_16_BITS
from augsearch.trainers.data.looks import NOTHING, Look
from augsearch.trainers.data.no_data import colour_in_words
from augsearch.trainers.data.sources.base import OpenedSource
from augsearch.trainers.system.names import printable

WHOLE = float(MOST_OF_16_BITS)
"""The largest value of 16 bits."""
_UNLIKE_BEFORE = " (earlier versions took 0 to 65,535: studies made by them don't go on)"
MOST_OF = 0.5
"""The share of a range from which on it is taken: the whole one, and one for bands of narrower ones too."""
MOST_SAID = 6
"""Bands whose ranges a line names."""


def as_its_pixels_want(opened: OpenedSource, form: Form) -> tuple[OpenedSource, Form, tuple[str, ...]]:
    """``opened``, read by the range of its own pixels of more than 8 bits where no other is asked for.

    Scans of 12 bits would be nearly black by the whole range. Where the values that 200 images have take up
    half of it or more, it stays the whole one; floating-point values stay as they are if all are in 0..1.
    Bands of which one would be left with less than half of the grey values have each its own.

    Returns:
        What was opened, the form with the range that was found, and what is to be said, a line each.

    Raises:
        UserError: a range a band is asked for, and can't be found in such a data set.
    """
    looks = getattr(opened, "looks", None)
    asked = form.reading.value_range
    if looks is None:
        if asked == BY_BAND:
            raise UserError(
                "--value-range band can't be found in such a data set: give LOW,HIGH, or a pair for each "
                "band as in '0,4000;200,310'"
            )
        return opened, form, ()
    with pillow_without_warnings():
        seen: list[tuple[str, Look]] = list(looks())
    notes: tuple[str, ...] = ()
    if asked is None or asked == BY_BAND:
        found, notes = _range_of([look for _, look in seen if look.ranges], form.reading)
        if found != asked:
            form = form.model_copy(update={"reading": form.reading.model_copy(update={"value_range": found})})
            reads: Any = opened
            opened = reads.read_as(form.reading)
    transparent = next((file for file, look in seen if look.transparent), None)
    if transparent is not None:
        notes += (
            f"transparent images ({printable(transparent)}, say) are shown on "
            f"{colour_in_words(form.reading)}; --background takes another colour (earlier versions left "
            "transparency out: studies made by them don't go on)",
        )
    return opened, form, notes


def _range_of(looks: Sequence[Look], reading: Reading) -> tuple[ValueRange | None, tuple[str, ...]]:
    """The range that images of more than 8 bits are read by, and what is to be said of it."""
    bands = _bands_of(looks)
    low, high = min(low for low, _ in bands), max(high for _, high in bands)
    if not low < high:
        return None, ()
    whole = 1.0 if any(look.floating for look in looks) else WHOLE
    narrow = whole == WHOLE and high - low < MOST_OF * whole
    own = narrow or low < 0 or high > whole
    common = (low, high) if own else (0.0, whole)
    asked = reading.value_range == BY_BAND
    if len(bands) > 1 and (asked or (looks[0].of_bands and _differ(bands, common))):
        found = tuple(band if band[0] < band[1] else common for band in bands)
        return found, (_bands_in_words(bands, asked=asked),)
    if not own and not asked:
        return None, ()
    if asked:
        common = (low, high)
    return common, (
        f"pixels of more than 8 bits have values from {low:,g} to {high:,g}, which become 0 to "
        "255; --value-range LOW,HIGH takes others" + (_UNLIKE_BEFORE if whole == WHOLE and not asked else ""),
    )


def _bands_of(looks: Sequence[Look]) -> list[Range]:
    """The range of each band, of as many as the first image has; of images with others all together."""
    if not looks:
        return [NOTHING]
    count = len(looks[0].ranges)
    if looks[0].of_bands:
        # An image with other bands than the first is told, and left out, when it is decoded.
        looks = [look for look in looks if len(look.ranges) == count]
    elif any(len(look.ranges) != count for look in looks):
        return [_spanned([band for look in looks for band in look.ranges])]
    return [_spanned([look.ranges[band] for look in looks]) for band in range(count)]


def _spanned(ranges: Sequence[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _differ(bands: Sequence[Range], common: Range) -> bool:
    """Whether by the ``common`` range a band would be left with less than half of the grey values."""
    whole = common[1] - common[0]
    return any(0 < high - low < MOST_OF * whole for low, high in bands)


def _bands_in_words(bands: Sequence[Range], *, asked: bool) -> str:
    said = [f"{low:,g} to {high:,g}" if low <= high else "none" for low, high in bands]
    why = "" if asked else "values of very different ranges, "
    return (
        f"bands have {why}{some(said, MOST_SAID)}, and each becomes 0 to 255 by its own; "
        "--value-range LOW,HIGH takes one for all"
    )
