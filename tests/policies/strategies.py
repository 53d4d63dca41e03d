"""Hypothesis strategies for what a policy may draw from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from augsearch.policies import OPERATIONS, OperationSequence, OwnOperation
from augsearch.policies.registry import Ranges

names = st.sampled_from(list(OPERATIONS))


@st.composite
def own_operations(draw: Any, ranges: Ranges = "standard", *, weights: bool = True) -> OwnOperation:
    """An operation with some things of its own."""
    name = draw(names)
    fields: dict[str, Any] = {"name": name, "probability": draw(st.sampled_from([0.0, 0.3, 1.0]))}
    if weights:
        fields["weight"] = draw(st.floats(0.01, 100))
    kind = draw(st.sampled_from(["none", "magnitude", "value"])) if OPERATIONS[name].standard else "none"
    if kind != "none":
        low, high = (0, 30) if kind == "magnitude" else OPERATIONS[name].limits(ranges)
        ends = sorted(draw(st.tuples(st.floats(low, high), st.floats(low, high))))
        way = draw(st.sampled_from(["fixed", "uniform", "normal"]))
        fields[kind] = ends if way == "uniform" else ends[0]
        if way == "normal":
            fields["sd"] = draw(st.floats(0.01, 20))
    if OPERATIONS[name].signed:
        fields["signed"] = draw(st.sampled_from([None, True, False]))
    return OwnOperation(**fields)


def choices(ranges: Ranges = "standard") -> st.SearchStrategy[Any]:
    """A name, an operation with things of its own, or a sequence."""
    inside = st.one_of(names, own_operations(ranges, weights=False))
    return st.one_of(
        names,
        own_operations(ranges),
        st.builds(
            OperationSequence,
            sequence=st.lists(inside, min_size=1, max_size=3).map(tuple),
            weight=st.floats(0.01, 100),
        ),
    )


def lists_of_choices(ranges: Ranges = "standard") -> st.SearchStrategy[tuple[Any, ...]]:
    """What a policy may draw from: plain names each once, other choices as often as one likes."""
    return st.lists(
        choices(ranges),
        min_size=1,
        max_size=6,
        unique_by=lambda one: one if isinstance(one, str) else id(one),
    ).map(tuple)
