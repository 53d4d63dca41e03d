"""Values of operations in words, as tables, picture sheets and documents show them."""

from __future__ import annotations

from collections.abc import Callable

from augsearch.policies.choices import Choice, in_order, shown_strength
from augsearch.policies.effects import Size
from augsearch.policies.registry import Operation, Ranges

_FORMATS: dict[str, tuple[Callable[[float], str], str]] = {
    "°": (lambda value: f"{value:.3g}", "°"),
    "px": (lambda value: f"{int(value)}", " px"),
    "slope": (lambda value: f"{value:.2g}", ""),
    "± of 1": (lambda value: f"{100 * value:.3g}", " %"),
    "bits": (lambda value: f"{value:.0f}", " bits"),
    "of 255": (lambda value: f"{255 * value:.0f}", " and up"),
    "grey levels": (lambda value: f"{value:.0f}", " levels"),
    "octaves": (lambda value: f"{value:.2g}", " octaves"),
    "of the side": (lambda value: f"{100 * value:.2g}", " % of side"),
    "of the shorter side": (lambda value: f"{100 * value:.2g}", " % of side"),
    "of the area or more": (lambda value: f"≥ {100 * value:.0f}", " %"),
    "of the area or less": (lambda value: f"≤ {100 * value:.0f}", " %"),
    "times": (lambda value: f"{value:.3g}", " times"),
}
"""How a value is written and what follows it, by the unit of its operation; any other unit follows as is."""


def shown_value(operation: Operation, value: float, *, negative: bool = False) -> str:
    """``+9°``: a physical value (see ``Operation.value``) of an operation; empty without a magnitude."""
    if operation.standard is None:
        return ""
    return _signed(operation, value, operation.unit, negative=negative)


def shown_magnitude(operation: Operation, magnitude: int) -> str:
    """``+9°``, ``+14 % of side``: what a magnitude (0–30) means on images of any size."""
    if operation.standard is None:
        return ""
    unit = "of the side" if operation.standard.side else operation.unit
    return _signed(operation, operation.value(magnitude, "standard", Size(1, 1)), unit)


def _signed(operation: Operation, value: float, unit: str, *, negative: bool = False) -> str:
    number, follows = _format(unit)
    sign = "" if not operation.signed else "-" if negative else "+"
    return f"{sign}{number(value)}{follows}"


def _format(unit: str) -> tuple[Callable[[float], str], str]:
    return _FORMATS.get(unit, (lambda value: f"{value:.3g}", f" {unit}"))


def shown_range(operation: Operation, ranges: Ranges) -> str:
    """``0 to ±30°``: what magnitudes 0 and 30 stand for; empty without a magnitude."""
    chosen = operation.wide if ranges == "wide" else operation.standard
    if chosen is None:
        return ""
    number, follows = _format("of the side" if chosen.side else operation.unit)
    sign = "±" if operation.signed else ""
    return f"{number(chosen.weakest)} to {sign}{number(chosen.strongest)}{follows}"


def shown_choice(choice: Choice) -> str:
    """``rotate``, ``rotate -10 to 10``, ``posterize, then rotate``: one of what a policy draws from."""
    return ", then ".join(
        f"{one.name.replace('_', ' ')} {shown_strength(one)}".strip() for one in in_order(choice)
    )
