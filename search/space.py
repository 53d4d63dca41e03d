"""An Optuna trial ↔ a candidate; and the baselines, which are trials too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from augsearch.policies import MAX_MAGNITUDE, TRIVIALAUGMENT, Distillation, Policy, Transfer

if TYPE_CHECKING:
    import optuna

    from augsearch.trainers.folds import Candidate

MAX_OPS = 4
ON = 0.5
"""The probability of a flip or quarter turn that is switched on."""

BASELINES: dict[str, Policy] = {
    "none": Policy(num_ops=0),
    "flip + crop": Policy(num_ops=0, flip_horizontal=ON, crop=1.0),
    "RandAugment (2, 9)": Policy(num_ops=2, magnitude=9),
    "TrivialAugment": TRIVIALAUGMENT,
}
"""What anyone can have without a search, the simplest first."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a search may choose from."""

    operations: tuple[str, ...]
    teacher_view: Literal["same", "clean"] | None = None
    """What the teacher looks at; None: there is no teacher."""
    transfer: Transfer | Literal["search"] | None = None
    """How the proxies' weights are used: always so, or searched; None: they have none."""


def suggest(trial: optuna.trial.Trial, space: Space) -> Candidate:
    """The candidate that the trial's sampler proposes; a baseline's trial is that baseline, always."""
    from augsearch.trainers.folds import Candidate

    operations = space.operations
    baseline = BASELINES.get(trial.user_attrs.get("baseline", ""))
    if baseline is not None and not set(baseline.operations) <= set(operations):
        # Not a policy that this search could propose: the sampler must not take its score for that of the
        # few operations which are searched, so the trial gets no parameters for them.
        operations = ()
    policy = _suggest_policy(trial, operations)
    return Candidate(
        policy=policy if baseline is None else baseline,
        distillation=_suggest_distillation(trial, space.teacher_view) if space.teacher_view else None,
        transfer=_suggest_transfer(trial) if space.transfer == "search" else space.transfer,
    )


def _suggest_policy(trial: optuna.trial.Trial, operations: tuple[str, ...]) -> Policy:
    fields: dict[str, Any] = {"num_ops": trial.suggest_int("num_ops", 0, MAX_OPS)}
    if fields["num_ops"]:
        # Random magnitudes go with TrivialAugment's wide ranges, fixed ones with RandAugment's.
        if trial.suggest_categorical("magnitudes", ["fixed", "random"]) == "random":
            fields |= {"magnitude": "random", "ranges": "wide"}
        else:
            fields["magnitude"] = trial.suggest_int("magnitude", 0, MAX_MAGNITUDE)
        chosen = [name for name in operations if trial.suggest_categorical(f"op_{name}", [True, False])]
        fields["operations"] = tuple(chosen)
        if not chosen:
            fields = {"num_ops": 0}
    for transform, probability in (
        ("crop", 1.0),
        ("flip_horizontal", ON),
        ("flip_vertical", ON),
        ("quarter_turns", ON),
    ):
        fields[transform] = probability if trial.suggest_categorical(transform, [True, False]) else 0.0
    mixing = trial.suggest_categorical("mixing", ["none", "cutmix", "mixup"])
    if mixing != "none":
        alpha = trial.suggest_float("mixing_alpha", 0.1, 2.0, log=True)
        probability = trial.suggest_float("mixing_probability", 0.1, 1.0)
        fields["mixing"] = {"kind": mixing, "alpha": alpha, "probability": probability}
    return Policy(**fields)


def _suggest_distillation(
    trial: optuna.trial.Trial, teacher_view: Literal["same", "clean"]
) -> Distillation | None:
    if not trial.suggest_categorical("distillation", [True, False]):
        return None
    return Distillation(
        temperature=trial.suggest_float("temperature", 1.0, 20.0, log=True),
        alpha=trial.suggest_float("alpha", 0.0, 1.0),
        teacher_view=teacher_view,
    )


def _suggest_transfer(trial: optuna.trial.Trial) -> Transfer:
    if trial.suggest_categorical("transfer", ["head", "full"]) == "head":
        return Transfer(mode="head")
    return Transfer(
        mode="full",
        backbone_lr_scale=trial.suggest_float("backbone_lr_scale", 0.01, 1.0, log=True),
        layer_decay=trial.suggest_float("layer_decay", 0.6, 1.0),
    )


def baseline_params(policy: Policy, space: Space) -> dict[str, Any]:
    """The trial parameters that make ``suggest`` propose ``policy`` without a teacher, all of it learning."""
    params: dict[str, Any] = {"num_ops": policy.num_ops, "mixing": "none"}
    if policy.num_ops:
        random = policy.magnitude == "random"
        params["magnitudes"] = "random" if random else "fixed"
        params |= {} if random else {"magnitude": policy.magnitude}
        params |= {f"op_{name}": name in policy.operations for name in space.operations}
    for transform in ("crop", "flip_horizontal", "flip_vertical", "quarter_turns"):
        params[transform] = getattr(policy, transform) > 0
    if space.teacher_view:
        params["distillation"] = False
    if space.transfer == "search":
        usual = Transfer(mode="full")
        params |= {
            "transfer": usual.mode,
            "backbone_lr_scale": usual.backbone_lr_scale,
            "layer_decay": usual.layer_decay,
        }
    return params


def neighbour(params: dict[str, Any], space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Trial parameters near ``params``: what a search that knows nothing yet does well to try.

    Drawing all dimensions at random makes nearly every candidate bad, because one mirror or quarter turn
    that destroys labels is enough; so the first candidates are small steps from the best so far.
    """
    near = dict(params)
    near["num_ops"] = int(np.clip(params["num_ops"] + rng.integers(-1, 2), 1, MAX_OPS))
    near.setdefault("magnitudes", "fixed")
    near["magnitude"] = int(np.clip(params.get("magnitude", 9) + rng.integers(-6, 7), 1, MAX_MAGNITUDE))
    for name in space.operations:
        kept = near.get(f"op_{name}", True)
        near[f"op_{name}"] = bool(kept ^ (rng.random() < 0.15))
    for switch, chance in (
        ("crop", 0.3),
        ("flip_horizontal", 0.3),
        ("flip_vertical", 0.1),
        ("quarter_turns", 0.1),
    ):
        near[switch] = bool(params[switch] ^ (rng.random() < chance))
    if rng.random() < 0.4:
        near["mixing"] = str(rng.choice(["none", "cutmix", "mixup"]))
    near.setdefault("mixing_alpha", 1.0)
    near.setdefault("mixing_probability", 0.5)
    if space.teacher_view:
        near["distillation"] = bool(rng.random() < 0.5)
        near["temperature"] = float(np.exp(rng.uniform(np.log(2), np.log(8))))
        near["alpha"] = float(rng.uniform(0.2, 0.8))
    if space.transfer == "search":
        if rng.random() < 0.3:
            near["transfer"] = "head" if params["transfer"] == "full" else "full"
        scale = params.get("backbone_lr_scale", 0.1) * float(np.exp(rng.normal(0, 0.7)))
        near["backbone_lr_scale"] = float(np.clip(scale, 0.01, 1.0))
        near["layer_decay"] = float(np.clip(params.get("layer_decay", 1.0) + rng.normal(0, 0.1), 0.6, 1.0))
    return near


def describe(candidate: Candidate) -> str:
    """A candidate in a few words."""
    policy, parts = candidate.policy, []
    if policy.num_ops:
        strength = "random" if policy.magnitude == "random" else f"M={policy.magnitude}"
        parts.append(f"N={policy.num_ops} {strength} of {len(policy.operations)} ops")
    for transform in ("crop", "flip_horizontal", "flip_vertical", "quarter_turns"):
        if getattr(policy, transform) > 0:
            parts.append(
                {"flip_horizontal": "h-flip", "flip_vertical": "v-flip"}.get(
                    transform, transform.replace("_", " ")
                )
            )
    if policy.mixing:
        parts.append(f"{policy.mixing.kind} α={policy.mixing.alpha:.2f} p={policy.mixing.probability:.2f}")
    if candidate.distillation:
        parts.append(
            f"distil T={candidate.distillation.temperature:.1f} α={candidate.distillation.alpha:.2f}"
        )
    words = ", ".join(parts) or "no augmentation"
    transfer = candidate.transfer
    if transfer is None:
        return words
    if transfer.mode == "head":
        return f"{words}, head only"
    decay = f" decay {transfer.layer_decay:.2f}" if transfer.layer_decay < 1 else ""
    return f"{words}, backbone lr × {transfer.backbone_lr_scale:.2g}{decay}"
