"""What some images of a data set say of how all of them are to be read."""

from __future__ import annotations

from typing import Any

from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.form import Form
from augsearch.trainers.data.sources.base import OpenedSource
from augsearch.trainers.system.names import printable

WHOLE = 65535
"""The largest value of 16 bits."""
_UNLIKE_BEFORE = " (earlier versions took 0 to 65,535: studies made by them don't go on)"
MOST_OF = 0.5
"""The share of the whole range from which on it is taken."""


def as_its_pixels_want(opened: OpenedSource, form: Form) -> tuple[OpenedSource, Form, tuple[str, ...]]:
    """``opened``, read by the range of its own pixels of more than 8 bits where no other is asked for.

    Scans of 12 bits would be nearly black by the whole range. Where the values that 200 images have take up
    half of it or more, it stays the whole one; floating-point values stay as they are if all are in 0..1.

    Returns:
        What was opened, the form with the range that was found, and what is to be said, a line each.
    """
    looks = getattr(opened, "looks", None)
    if looks is None:
        return opened, form, ()
    values, transparent, whole = [], None, float(WHOLE)
    with pillow_without_warnings():
        for file, look in looks():
            if look.values is not None:
                values.append(look.values)
                whole = 1.0 if look.floating else whole
            if look.transparent and transparent is None:
                transparent = file
    notes = []
    if values and form.reading.value_range is None:
        low, high = min(low for low, _ in values), max(high for _, high in values)
        narrow = whole == WHOLE and high - low < MOST_OF * whole
        if low < high and (narrow or low < 0 or high > whole):
            form = form.model_copy(
                update={"reading": form.reading.model_copy(update={"value_range": (low, high)})}
            )
            notes.append(
                f"pixels of more than 8 bits have values from {low:,g} to {high:,g}, which become 0 to "
                "255; --value-range LOW,HIGH takes others" + (_UNLIKE_BEFORE if whole == WHOLE else "")
            )
            reads: Any = opened
            opened = reads.read_as(form.reading)
    if transparent is not None:
        notes.append(
            f"transparent images ({printable(transparent)}, say) are shown on {_colour(form)}; --background "
            "takes another colour (earlier versions left transparency out: studies made by them don't go "
            "on)"
        )
    return opened, form, tuple(notes)


def _colour(form: Form) -> str:
    red, green, blue = form.reading.background
    named = {(255, 255, 255): "white", (0, 0, 0): "black"}
    return named.get((red, green, blue), f"#{red:02x}{green:02x}{blue:02x}")
