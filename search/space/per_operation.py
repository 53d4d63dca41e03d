"""What ``--space per-operation`` chooses of each operation, instead of one magnitude for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from augsearch.policies import MAX_MAGNITUDE, OPERATIONS, OwnOperation, Policy
from augsearch.search.space.dimension import Dimension, Given, Landing, told_by
from augsearch.search.space.ranges import Choice, Real
from augsearch.search.space.space import PER_OPERATION
from augsearch.search.space.steps import Flip, Normal

_DIGITS = 3
"""After the point, in a policy."""


def _own(policy: Policy, name: str) -> OwnOperation:
    """What ``policy`` says of an operation; what a plain name means where it says nothing else."""
    for choice in policy.operations:
        if isinstance(choice, OwnOperation) and choice.name == name:
            return choice
    return OwnOperation(name=name)


def _magnitudes(policy: Policy, name: str) -> tuple[float, float]:
    """From which to which magnitude an operation is drawn."""
    own = _own(policy, name)
    if own.magnitude is not None:
        return own.span
    if policy.magnitude == "random":
        return 0.0, float(MAX_MAGNITUDE)
    return float(policy.magnitude), float(policy.magnitude)


def _share(policy: Policy, name: str) -> float:
    low, high = _magnitudes(policy, name)
    return low / high if high else 1.0


def _of_operation(
    what: str, name: str, range_: Real, default: float, step: Normal, read: Callable[[Policy, str], float]
) -> Dimension:
    meanings = {
        "weight": "how often the operation is drawn, beside the others",
        "strongest": "the highest magnitude at which it is drawn",
        "weakest": "the lowest, as a share of the highest; all between are as likely",
    }
    return Dimension(
        f"{what}_{name}",
        range_,
        default=default,
        step=step,
        when=Given(f"op_{name}", (True,)),
        lands=Landing(
            ("operations",),
            lambda value: {f"operations.{name}.{what}": round(value, _DIGITS)},
            lambda policy: range_.nearest(read(policy, name)),
        ),
        words=told_by("num_ops", meanings[what]),
        space=PER_OPERATION,
    )


def weight(name: str) -> Dimension:
    """How often the operation ``name`` is drawn."""
    read: Callable[[Policy, str], float] = lambda policy, one: _own(policy, one).weight  # noqa: E731
    return _of_operation("weight", name, Real(0.1, 10.0, log=True), 1.0, Normal(0.5), read)


def strongest(name: str) -> Dimension | None:
    """Up to which magnitude; None: it has no strength."""
    if _has_no_strength(name):
        return None
    range_ = Real(0.0, float(MAX_MAGNITUDE))
    return _of_operation(
        "strongest", name, range_, 9.0, Normal(4.0), lambda policy, one: _magnitudes(policy, one)[1]
    )


def weakest(name: str) -> Dimension | None:
    """From which magnitude; None: it has no strength."""
    if _has_no_strength(name):
        return None
    return _of_operation("weakest", name, Real(0.0, 1.0), 1.0, Normal(0.2), _share)


def _has_no_strength(name: str) -> bool:
    return name in OPERATIONS and OPERATIONS[name].standard is None


def operation_fields(chosen: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The fields of a policy by what was chosen of each operation that is on.

    Where all are alike it is the plain policy that says so: RandAugment, or TrivialAugment with its whole
    magnitudes.
    """
    if not any(chosen.values()):
        return {"operations": tuple(chosen)}
    operations = tuple(_own_operation(name, own) for name, own in chosen.items())
    spans = {one["magnitude"] for one in operations if "magnitude" in one} or {(9.0, 9.0)}
    if {one["weight"] for one in operations} == {1.0} and len(spans) == 1:
        ((low, high),) = spans
        if (low, high) == (0, MAX_MAGNITUDE):
            return {"operations": tuple(chosen), "magnitude": "random"}
        if low == high == int(low):
            return {"operations": tuple(chosen), "magnitude": int(low)}
    return {"operations": operations}


def _own_operation(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": name, "weight": own["weight"]}
    if "strongest" in own:
        high = own["strongest"]
        fields["magnitude"] = (round(high * own["weakest"], _DIGITS), high)
    return fields


RANGES = Dimension(
    "ranges",
    Choice(("standard", "wide")),
    default="standard",
    step=Flip(0.1),
    when=Given("num_ops", (1, 2, 3, 4)),
    words=told_by("num_ops", "whether magnitudes mean RandAugment's values or TrivialAugment's"),
    space=PER_OPERATION,
)
