"""A policy's operations and mixing in words."""

from __future__ import annotations

from augsearch.policies import MAX_MAGNITUDE, OperationSequence, Policy


def num_ops_short(policy: Policy) -> str:
    """The drawn operations in a few words."""
    if not policy.num_ops:
        return ""
    chains = f"{policy.chains.width} chains of " if policy.chains else ""
    if not policy.draws_names:
        return f"{chains}N={_how_many(policy)} of {len(policy.operations)} {_choices(policy)}"
    strength = "random" if policy.magnitude == "random" else f"M={policy.magnitude}"
    return f"{chains}N={_how_many(policy)} {strength} of {len(policy.operations)} ops"


def _how_many(policy: Policy) -> str:
    """N, or from what to what it is drawn."""
    least = policy.chains.shortest if policy.chains else policy.num_ops
    return f"{policy.num_ops}" if least == policy.num_ops else f"{least}–{policy.num_ops}"


def _choices(policy: Policy) -> str:
    """What a policy that has more than names draws from."""
    sequences = [isinstance(choice, OperationSequence) for choice in policy.operations]
    return "sequences of operations" if all(sequences) else "operations" if not any(sequences) else "choices"


def num_ops_full(policy: Policy) -> str:
    """The same for a person who does not know what N and M are."""
    if not policy.num_ops:
        return ""
    where = "on every image"
    if policy.chains:
        where = f"in each of {policy.chains.width} chains that are mixed with the image"
    many = _how_many(policy)
    if not policy.draws_names:
        return f"{many} of {len(policy.operations)} {_choices(policy)} {where}, at strengths of their own"
    some = f"{many} random operation{'s' if policy.num_ops > 1 else ''}"
    strength = f"strength {policy.magnitude} of {MAX_MAGNITUDE}"
    if policy.magnitude == "random":
        strength = "a random strength"
    return f"{some} of {len(policy.operations)} {where}, at {strength}"


def mixing_short(policy: Policy) -> str:
    """The mixing in a few words."""
    mixing = policy.mixing
    return f"{mixing.kind} α={mixing.alpha:.2f} p={mixing.probability:.2f}" if mixing else ""


def mixing_full(policy: Policy) -> str:
    """The same in full."""
    if policy.mixing is None:
        return ""
    name = {"cutmix": "CutMix", "mixup": "MixUp"}[policy.mixing.kind]
    return f"{name} in {100 * policy.mixing.probability:.0f} % of batches"


def sampling_words(policy: Policy) -> str:
    """How pixels are read, where it is not the usual way."""
    return "" if policy.interpolation == "nearest" else policy.interpolation


def sampling_in_full(policy: Policy) -> str:
    """The same for a person who does not know the word."""
    words = sampling_words(policy)
    return f"{words} sampling" if words else ""
