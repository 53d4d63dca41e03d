"""Lengths of time as people write them: ``90s``, ``4m``, ``1h30m``."""

from __future__ import annotations

import math
import re
from typing import Any

_UNITS = {"h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds_of(written: Any) -> float:
    """The seconds of ``90s``, ``4m``, ``2h``, ``1h30m`` or a plain number.

    Raises:
        ValueError: it is no length of time, or none above zero.
    """
    text = str(written).strip().lower().replace(" ", "")
    match = _WRITTEN.fullmatch(text)
    if text and match is not None:
        amounts = zip(match.groups(), _UNITS.values(), strict=True)
        seconds = sum(float(amount) * unit for amount, unit in amounts if amount is not None)
        if 0 < seconds < math.inf:
            return float(seconds)
    raise ValueError(f"must be a time such as 90s, 4m, 2h or 1h30m, got {written!r}")


def duration_flag(seconds: float) -> str:
    """``1h30m``: what ``seconds_of`` takes, to a thousandth of a second."""
    whole, rest = int(seconds), round(seconds % 1, 3)
    if rest:
        return f"{seconds:.3f}".rstrip("0") + "s"
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount)


def duration_in_words(seconds: float) -> str:
    """``3 min 50 s``, to some five seconds, and from ten minutes on to the minute."""
    if seconds < 20:
        return f"{max(1, round(seconds))} s"
    if seconds < 600:
        minutes, rest = divmod(5 * round(seconds / 5), 60)
        parts = ((minutes, "min"), (rest, "s"))
        return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
