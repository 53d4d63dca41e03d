"""Policies that are torchvision's ``AugMix``, as its arguments, and back."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from augsearch.policies.augmix import LONGEST, MOST_SEVERE, augmix_operations
from augsearch.policies.chains import Chains
from augsearch.policies.errors import UserError, explain
from augsearch.policies.policy import Policy

ANY_DEPTH = -1
"""torchvision's word for one to three operations."""

LONGEST_CHAIN = 8
"""What ``num_ops`` may be at most."""

_ARGUMENTS = ("severity", "mixture_width", "chain_depth", "alpha")


def augmix_arguments(policy: Policy) -> dict[str, Any] | None:
    """The arguments by which ``AugMix`` does a policy's operations; None: there are none."""
    chains = policy.chains
    if chains is None or policy.border != "fill" or policy.ranges != "standard":
        return None
    depths = {(1, LONGEST): ANY_DEPTH, (policy.num_ops, policy.num_ops): policy.num_ops}
    depth = depths.get((chains.shortest, policy.num_ops))
    for severity in range(1, MOST_SEVERE + 1):
        same = Policy.model_validate({"operations": augmix_operations(severity)})
        if depth is not None and same.operations == policy.operations:
            return dict(zip(_ARGUMENTS, (severity, chains.width, depth, chains.alpha), strict=True))
    return None


def with_augmix(policy: Policy, arguments: Any) -> Policy:
    """``policy`` with the operations and chains of ``AugMix``.

    Raises:
        UserError: it takes no such arguments, or a policy can't say them.
    """
    if not isinstance(arguments, dict) or arguments.keys() != set(_ARGUMENTS):
        raise UserError(f"AUGMIX must have {', '.join(_ARGUMENTS)} and nothing else")
    severity, width, depth, alpha = (arguments[name] for name in _ARGUMENTS)
    for name, value, least, most in (
        ("severity", severity, 1, MOST_SEVERE),
        ("chain_depth", depth, ANY_DEPTH, LONGEST_CHAIN),
    ):
        if type(value) is not int or not least <= value <= most or not value:
            raise UserError(f"AUGMIX: {name} must be a whole number from {least} to {most}, got {value!r}")
    longest, shortest = (LONGEST, 1) if depth == ANY_DEPTH else (depth, depth)
    try:
        chains = Chains(width=width, shortest=shortest, alpha=alpha)
    except ValidationError as error:
        raise UserError(f"AUGMIX: {explain(error)}") from None
    fields = {"num_ops": longest, "operations": augmix_operations(severity), "chains": chains}
    return Policy.model_validate(dict(policy) | fields)
