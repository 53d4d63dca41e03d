"""Candidates that are the same training, though they are written otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augsearch.policies import OPERATIONS, Policy

if TYPE_CHECKING:
    from augsearch.trainers.workspace.candidate import Candidate

_PLAIN = Policy()


def in_effect(candidate: Candidate) -> Candidate:
    """``candidate`` with the usual value wherever a value changes nothing; equal for equal trainings."""
    semi = candidate.semi
    if semi is not None and semi.policy is not None:
        semi = semi.model_copy(update={"policy": _policy(semi.policy)})
    return candidate.model_copy(update={"policy": _policy(candidate.policy), "semi": semi})


def _policy(policy: Policy) -> Policy:
    drawn = [name for name in OPERATIONS if name in policy.names] if policy.num_ops else []
    kinds = {OPERATIONS[name].kind for name in drawn}
    # The order of choices of which some have more than a name is left as it is written.
    choices = policy.operations if drawn and not policy.draws_names else tuple(drawn)
    updates: dict[str, Any] = {"operations": choices or _PLAIN.operations}
    if not drawn:
        updates["chains"] = None
    if all(OPERATIONS[name].standard is None for name in drawn):
        updates |= {"magnitude": _PLAIN.magnitude, "ranges": _PLAIN.ranges}
    if "warp" not in kinds:
        # A crop moves by whole pixels.
        updates["interpolation"] = _PLAIN.interpolation
        if not policy.crop:
            updates["border"] = _PLAIN.border
    filled = "patch" in kinds or policy.erasing is not None
    if not filled and updates.get("border", policy.border) == "reflect":
        updates["fill"] = _PLAIN.fill
    if not policy.crop and not filled and "warp" not in kinds:
        updates["fill"] = _PLAIN.fill
    return policy.model_copy(update=updates)
