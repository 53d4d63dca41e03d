"""What a candidate is made of, part by part: the same candidate without each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augsearch.policies import Policy
from augsearch.policies.describe import shown_choice

if TYPE_CHECKING:
    from augsearch.trainers.workspace.candidate import Candidate

_BASIC = {
    "crop": "random crop",
    "flip_horizontal": "horizontal flip",
    "flip_vertical": "vertical flip",
    "quarter_turns": "quarter turns",
}
"""The basic transforms, by their field, and what people call them."""

ALL_OPERATIONS = "all operations"


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a candidate has and could do without."""

    name: str
    without: Candidate
    """The candidate without it, and otherwise as it is."""


def parts_of(candidate: Candidate) -> list[Part]:
    """The parts of ``candidate``; none where there is nothing to remove.

    Of several operations each is a part: without it the others are drawn the more often. So are all of them
    together, which no sum of single ones stands for. How weights are transferred is no part: that belongs to
    the network.
    """
    changes = [*_operations(candidate.policy), *_other_fields(candidate.policy)]
    parts = [
        Part(name, candidate.model_copy(update={"policy": candidate.policy.model_copy(update=fields)}))
        for name, fields in changes
    ]
    if candidate.distillation is not None:
        parts.append(Part("distillation", candidate.model_copy(update={"distillation": None})))
    if candidate.class_balance is not None:
        name = f"class balance by {candidate.class_balance}"
        parts.append(Part(name, candidate.model_copy(update={"class_balance": None})))
    if candidate.semi is not None:
        if candidate.semi.policy is not None:
            shared = candidate.semi.model_copy(update={"policy": None})
            parts.append(
                Part("own policy of unlabeled images", candidate.model_copy(update={"semi": shared}))
            )
        parts.append(Part("unlabeled images", candidate.model_copy(update={"semi": None})))
    return parts


Change = tuple[str, dict[str, Any]]
"""A part's name, and the policy's fields without it."""


def _operations(policy: Policy) -> Iterator[Change]:
    if not policy.num_ops:
        return
    yield ALL_OPERATIONS, {"num_ops": 0}
    if len(policy.operations) > 1:
        seen: Counter[str] = Counter()
        for place, choice in enumerate(policy.operations):
            others = policy.operations[:place] + policy.operations[place + 1 :]
            name = shown_choice(choice)
            seen[name] += 1
            yield name if seen[name] == 1 else f"{name} ({seen[name]})", {"operations": others}


def _other_fields(policy: Policy) -> Iterator[Change]:
    for field, name in _BASIC.items():
        if getattr(policy, field):
            yield name, {field: 0.0}
    if policy.chains is not None and policy.num_ops:
        yield "chains", {"chains": None}
    if policy.resized_crop is not None:
        yield "resized crop", {"resized_crop": None}
    if policy.erasing is not None:
        yield "erasing", {"erasing": None}
    if policy.mixing is not None:
        yield {"cutmix": "CutMix", "mixup": "MixUp"}[policy.mixing.kind], {"mixing": None}
    for field in ("border", "interpolation", "fill"):
        value, usual = getattr(policy, field), Policy.model_fields[field].default
        if value == usual or (field == "fill" and policy.border != "fill"):
            continue  # with another border the fill says nothing
        shown = f"RGB {value}" if isinstance(value, tuple) else f"{value}"
        yield f"{'sampling' if field == 'interpolation' else field} {shown}", {field: usual}
