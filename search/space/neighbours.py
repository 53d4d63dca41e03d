"""Small steps from a candidate, as trial parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from augsearch.search.space.dimension import Dimension
from augsearch.search.space.dimensions import dimensions, policy_dimensions
from augsearch.search.space.params import semi_params
from augsearch.search.space.space import SemiSpace, Space
from augsearch.search.space.suggest import OWN, semi_dimensions


def neighbour(params: dict[str, Any], space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Trial parameters near ``params``: what a search that knows nothing yet does well to try.

    Drawing all dimensions at random makes nearly every candidate bad, because one mirror or quarter turn
    that destroys labels is enough; so the first candidates are small steps from the best so far. All
    dimensions move, those too that mean nothing beside what the others came to: what is drawn for one does
    not hang on where another went.
    """
    near = params | _moved(policy_dimensions(space), params, rng)
    if space.teacher_view:
        near |= _moved(dimensions("distillation"), params, rng)
    if space.transfer == "search":
        near |= _moved(dimensions("transfer"), params, rng)
    if space.class_balance == "search":
        near |= _moved(dimensions("balance"), params, rng)
    if space.semi:
        near |= _near_semi(params, space, space.semi, rng)
    return near


def _moved(
    declared: Iterable[Dimension], params: Mapping[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    ordered = sorted(declared, key=lambda dimension: dimension.moves_last)
    return {dimension.name: dimension.moved(params, rng) for dimension in ordered}


def _near_semi(
    params: dict[str, Any], space: Space, semi: SemiSpace, rng: np.random.Generator
) -> dict[str, Any]:
    usual = semi_params(semi.usual(semi.techniques[0]), semi)
    near = _moved(semi_dimensions(semi), usual | params, rng)
    own = {name.removeprefix(OWN): value for name, value in params.items() if name.startswith(OWN)}
    start = own if "num_ops" in own else params
    policy = _moved(policy_dimensions(space), start, rng)
    return near | {f"{OWN}{name}": value for name, value in policy.items()}
