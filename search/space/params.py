"""A baseline → the trial parameters by which it would be suggested."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from augsearch.policies import Semi
from augsearch.search.space.dimension import Dimension
from augsearch.search.space.dimensions import dimensions
from augsearch.search.space.space import Baseline, SemiSpace, Space, fields_of
from augsearch.search.space.suggest import can_propose, policy_params


def baseline_params(baseline: Baseline, space: Space) -> dict[str, Any]:
    """The trial parameters by which ``suggest`` proposes ``baseline``: no teacher, and all layers learn.

    Without those of its policy where that is none that the search could propose.
    """
    params = policy_params(baseline.policy, space) if can_propose(baseline.policy, space) else {}
    if space.teacher_view:
        params |= _default_params(dimensions("distillation"))
    if space.transfer == "search":
        params |= _default_params(dimensions("transfer"))
    if space.class_balance == "search":
        params |= _default_params(dimensions("balance"))
    if space.semi:
        params |= semi_params(baseline.semi, space.semi) if baseline.semi else {"semi": "none"}
    return params


def _default_params(declared: Iterable[Dimension]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for dimension in declared:
        if dimension.applies(params):
            params[dimension.name] = dimension.default
    return params


def semi_params(semi: Semi, space: SemiSpace) -> dict[str, Any]:
    """The trial parameters by which ``semi`` would be suggested, and those of the other techniques."""
    fields = dict(space.fixed) | {name: getattr(semi, name) for name in fields_of(semi.technique)}
    settings = SimpleNamespace(**fields)
    return {
        one.name: one.landing.value(settings) if one.landing.names[0] in fields else one.default
        for one in dimensions("semi")
    }
