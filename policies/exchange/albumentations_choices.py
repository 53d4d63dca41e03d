"""Choices that are more than names, as transforms of Albumentations: by weight, in order, of any strength.

``OneOf`` takes its transforms' ``p`` for weights and then applies the one it picked; what has a probability
of its own stands in a ``Sequential``, whose transforms are applied by theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

from augsearch.policies.choices import Choice, OwnOperation, in_order, shown_strength
from augsearch.policies.exchange.albumentations_nodes import NODES, UNIT, Node, choice_of, one_of
from augsearch.policies.exchange.form import Difference
from augsearch.policies.policy import Policy
from augsearch.policies.registry import MAX_MAGNITUDE

STEPS = 31
"""Equally likely strengths that stand in for those between."""

EVEN = frozenset(
    {"rotate", "brightness", "color", "contrast", "solarize", "brightness_shift", "hue", "translate_x"}
    | {"translate_y"}
)
"""Operations whose transform draws evenly from a range of the same unit."""


def choice_node(choice: Choice, policy: Policy, heaviest: float) -> Node:
    """A choice as one of the transforms of a ``OneOf``; ``heaviest``: the largest weight among them."""
    weight = 1.0 if isinstance(choice, str) else choice.weight
    nodes = [_entry(own, policy) for own in in_order(choice)]
    if len(nodes) == 1 and nodes[0]["p"] == 1:
        return nodes[0] | {"p": weight / heaviest}
    return {"__class_fullname__": "Sequential", "p": weight / heaviest, "transforms": nodes}


def stepped(choices: tuple[Choice, ...], policy: Policy) -> Iterator[Difference]:
    """What is drawn in steps, of choices that are drawn otherwise."""
    for own in (own for choice in choices for own in in_order(choice)):
        if own.sd is not None:
            words = f"{own.name} about {shown_strength(own)} with sd {own.sd:g}"
        elif own.span[0] != own.span[1] and not _is_even(own, policy):
            words = f"{own.name} of {shown_strength(own)}"
        else:
            continue
        yield Difference(words.replace("_", " "), f"drawn in {STEPS} steps")


def _is_even(own: OwnOperation, policy: Policy) -> bool:
    pixels = own.name.startswith("translate") and policy.ranges == "wide"
    return own.name in EVEN and not pixels


def _entry(own: OwnOperation, policy: Policy) -> Node:
    """An operation of its own, with its probability."""
    return _strengths(own, policy) | {"p": own.probability}


def _strengths(own: OwnOperation, policy: Policy) -> Node:
    values = own.values(policy.ranges)
    if values is None:
        if own.signed is False and own.operation.signed:
            policy_values = _values_of(policy, own)
            return _any_of([_node(own, value, policy) for value in policy_values])
        return choice_of(own.name, policy.magnitude, policy.ranges, policy.sampling)
    low, high = values
    if own.sd is None and low != high and _is_even(own, policy):
        ends = [(low, high), (-high, -low)] if own.negated else [(low, high)]
        ranges = [between(_node(own, first, policy), _node(own, last, policy)) for first, last in ends]
        return _any_of(ranges)
    drawn = [low] if own.sd is None and low == high else _steps(own, policy)
    signs = (1, -1) if own.negated else (1,)
    return _any_of([_node(own, sign * value, policy) for value in drawn for sign in signs])


def _values_of(policy: Policy, own: OwnOperation) -> list[float]:
    every = range(MAX_MAGNITUDE + 1) if policy.magnitude == "random" else (policy.magnitude,)
    return [own.operation.value(magnitude, policy.ranges, UNIT) for magnitude in every]


def _steps(own: OwnOperation, policy: Policy) -> list[float]:
    """Equally likely values in place of a range, or of a normal draw."""
    values = own.values(policy.ranges)
    assert values is not None
    low, high = values
    shares = [(step + 0.5) / STEPS for step in range(STEPS)]
    if own.sd is None:
        return [low + (high - low) * share for share in shares]
    sd, (least, most) = own.sd, own.operation.limits(policy.ranges)
    if own.magnitude is not None:
        ends = [own.operation.value_between(end, policy.ranges) for end in (0, MAX_MAGNITUDE)]
        sd, least, most = sd * abs(ends[1] - ends[0]) / MAX_MAGNITUDE, min(ends), max(ends)
    normal = NormalDist(low, sd)
    return [min(max(normal.inv_cdf(share), least), most) for share in shares]


def _node(own: OwnOperation, value: float, policy: Policy) -> Node:
    settled = own.operation.own_value(value, policy.ranges, UNIT)
    if own.name not in NODES:  # one that somebody added
        return NODES["identity"](0, policy.ranges, policy.sampling)
    return NODES[own.name](settled + 0.0, policy.ranges, policy.sampling)


def _any_of(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else one_of(nodes)


def between(one: Any, other: Any) -> Any:
    """Two transforms alike but for their values, each given as from-to, as one that draws between them."""
    if isinstance(one, dict):
        return {key: between(one[key], other[key]) for key in one}
    if isinstance(one, list) and len(one) == 2:
        return sorted([*one, *other])[:: len(one) + 1]
    return one
