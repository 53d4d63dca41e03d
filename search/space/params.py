"""A baseline → the trial parameters by which it would be suggested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augsearch.policies import Policy, Semi, Transfer
from augsearch.policies.training import FORMERLY_COMMON
from augsearch.search.space.space import MAX_RATIO, TRANSFORMS, Baseline, Space

if TYPE_CHECKING:
    pass


def baseline_params(baseline: Baseline, space: Space) -> dict[str, Any]:
    """The trial parameters by which ``suggest`` proposes ``baseline``: no teacher, and all layers learn."""
    params = _params_of(baseline.policy, space.operations)
    if space.teacher_view:
        params["distillation"] = False
    if space.transfer == "search":
        usual = Transfer(mode="full")
        params |= {
            "transfer": usual.mode,
            "backbone_lr_scale": usual.backbone_lr_scale,
            "layer_decay": usual.layer_decay,
        }
    if space.semi:
        semi = baseline.semi
        params |= params_of_semi(semi) if semi else {"semi": "none"}
    return params


def _params_of(policy: Policy, operations: tuple[str, ...]) -> dict[str, Any]:
    params: dict[str, Any] = {"num_ops": policy.num_ops, "mixing": "none"}
    if policy.num_ops:
        random = policy.magnitude == "random"
        params["magnitudes"] = "random" if random else "fixed"
        params |= {} if random else {"magnitude": policy.magnitude}
        params |= {f"op_{name}": name in policy.operations for name in operations}
    for transform in TRANSFORMS:
        params[transform] = getattr(policy, transform) > 0
    return params


def params_of_semi(semi: Semi) -> dict[str, Any]:
    """The trial parameters by which ``semi`` would be suggested."""
    # Those of other techniques too, at their defaults.
    fields = FORMERLY_COMMON | semi.model_dump()
    return {
        "semi": semi.technique,
        "unlabeled_weight": semi.weight,
        "unlabeled_ratio": min(max(round(semi.ratio), 1), MAX_RATIO),
        "unlabeled_temperature": fields["temperature"],
        "threshold": min(max(fields["threshold"], 0.5), 0.99),
        "per_class": fields["per_class"],
        "pseudo_labels": fields["labels"],
        "student_noise": fields["dropout"],
        "unlabeled_policy": "same",
    }
