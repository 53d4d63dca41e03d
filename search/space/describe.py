"""A candidate in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augsearch.policies import MAX_MAGNITUDE, Policy, Semi, Transfer
from augsearch.search.space.space import TECHNIQUES, TRANSFORMS

if TYPE_CHECKING:
    from augsearch.trainers.workspace.candidate import Candidate


def describe(candidate: Candidate) -> str:
    """A candidate in a few words."""
    parts = _policy_in_words(candidate.policy)
    if candidate.distillation:
        parts.append(
            f"distil T={candidate.distillation.temperature:.1f} α={candidate.distillation.alpha:.2f}"
        )
    words = ", ".join(parts) or "no augmentation"
    if candidate.transfer is not None:
        words += f", {_transfer_in_words(candidate.transfer)}"
    return words if candidate.semi is None else f"{words}; {_semi_in_words(candidate.semi)}"


def _policy_in_words(policy: Policy) -> list[str]:
    parts = []
    if policy.num_ops:
        strength = "random" if policy.magnitude == "random" else f"M={policy.magnitude}"
        parts.append(f"N={policy.num_ops} {strength} of {len(policy.operations)} ops")
    for transform in TRANSFORMS:
        if getattr(policy, transform) > 0:
            parts.append(
                {"flip_horizontal": "h-flip", "flip_vertical": "v-flip"}.get(
                    transform, transform.replace("_", " ")
                )
            )
    if policy.mixing:
        parts.append(f"{policy.mixing.kind} α={policy.mixing.alpha:.2f} p={policy.mixing.probability:.2f}")
    return parts


def _transfer_in_words(transfer: Transfer) -> str:
    if transfer.mode == "head":
        return "head only"
    decay = f" decay {transfer.layer_decay:.2f}" if transfer.layer_decay < 1 else ""
    return f"backbone lr × {transfer.backbone_lr_scale:.2g}{decay}"


def _semi_in_words(semi: Semi) -> str:
    parts = [f"{TECHNIQUES[semi.technique]} λ={semi.weight:.2g} μ={semi.ratio:.2g}"]
    fields = semi.model_dump()
    if "temperature" in fields:
        parts.append(f"T={fields['temperature']:.1f}")
    if "threshold" in fields:
        parts.append(f"τ={fields['threshold']:.2f}{' per class' if fields.get('per_class') else ''}")
    if fields.get("labels") == "soft":
        parts.append("soft")
    if "dropout" in fields:
        parts.append(f"noise {fields['dropout']:.2g}")
    if semi.policy:
        parts.append(f"own policy: {', '.join(_policy_in_words(semi.policy)) or 'no augmentation'}")
    return " ".join(parts)


_BASIC_IN_FULL = {
    "crop": "a random crop",
    "flip_horizontal": "a horizontal flip",
    "flip_vertical": "a vertical flip",
    "quarter_turns": "a quarter turn",
}


def explain(candidate: Candidate) -> str:
    """A candidate in full words, for a person who does not know what N and M are."""
    policy = candidate.policy
    parts = []
    if policy.num_ops:
        some = f"{policy.num_ops} random operation{'s' if policy.num_ops > 1 else ''}"
        strength = f"strength {policy.magnitude} of {MAX_MAGNITUDE}"
        if policy.magnitude == "random":
            strength = "a random strength"
        parts.append(f"{some} of {len(policy.operations)} on every image, at {strength}")
    for transform in TRANSFORMS:
        if probability := getattr(policy, transform):
            often = "" if probability == 1 else f" in {100 * probability:.0f} % of images"
            parts.append(f"{_BASIC_IN_FULL[transform]}{often}")
    if policy.mixing:
        name = {"cutmix": "CutMix", "mixup": "MixUp"}[policy.mixing.kind]
        parts.append(f"{name} in {100 * policy.mixing.probability:.0f} % of batches")
    words = ", ".join(parts) or "images as they are, without augmentation"
    if (distillation := candidate.distillation) is not None:
        words += (
            f"; learning {100 * distillation.alpha:.0f} % from a teacher, at temperature "
            f"{distillation.temperature:.1f}"
        )
    if candidate.transfer is not None:
        layers = "only a new last layer" if candidate.transfer.mode == "head" else "all layers"
        words += f"; of the network with weights, {layers} learn{'s' if 'only' in layers else ''}"
    if candidate.semi is not None:
        words += f"; unlabeled images by {TECHNIQUES[candidate.semi.technique]}"
    return words
