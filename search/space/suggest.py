"""An Optuna trial → the candidate that its sampler proposes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from augsearch.policies import MAX_MAGNITUDE, Distillation, Policy, Semi, Transfer
from augsearch.policies.training import TECHNIQUES as FIELDS
from augsearch.search.space.space import MAX_OPS, MAX_RATIO, ON, TRANSFORMS, SemiSpace, Space

if TYPE_CHECKING:
    import optuna

    from augsearch.trainers.workspace.candidate import Candidate


OWN = "unlabeled_"
"""Begins the names of the parameters of unlabeled images' own policy."""


def suggest(trial: optuna.trial.Trial, space: Space) -> Candidate:
    """The candidate that the trial's sampler proposes; a baseline's trial is that baseline, always."""
    from augsearch.trainers.workspace.candidate import Candidate

    operations = space.operations
    baseline = space.baselines.get(trial.user_attrs.get("baseline", ""))
    if baseline is not None and not set(baseline.policy.operations) <= set(operations):
        # Not a policy that this search could propose: the sampler must not take its score for that of the
        # few operations which are searched, so the trial gets no parameters for them.
        operations = ()
    policy = _suggest_policy(trial, operations)
    distillation = _suggest_distillation(trial, space.teacher_view) if space.teacher_view else None
    transfer = _suggest_transfer(trial) if space.transfer == "search" else space.transfer
    semi = None
    # Where all candidates use a technique, labels alone are no choice of parameters.
    if space.semi and (baseline is None or baseline.semi or space.semi.searched):
        semi = _suggest_semi(trial, space.semi, space.operations)
    if baseline is not None:
        policy, semi = baseline.policy, baseline.semi
    return Candidate(policy=policy, distillation=distillation, transfer=transfer, semi=semi)


def _suggest_policy(trial: optuna.trial.Trial, operations: tuple[str, ...], of: str = "") -> Policy:
    """A policy; the names of its parameters begin with ``of``."""
    fields: dict[str, Any] = {"num_ops": trial.suggest_int(f"{of}num_ops", 0, MAX_OPS)}
    if fields["num_ops"]:
        # Random magnitudes go with TrivialAugment's wide ranges, fixed ones with RandAugment's.
        if trial.suggest_categorical(f"{of}magnitudes", ["fixed", "random"]) == "random":
            fields |= {"magnitude": "random", "ranges": "wide"}
        else:
            fields["magnitude"] = trial.suggest_int(f"{of}magnitude", 0, MAX_MAGNITUDE)
        chosen = [name for name in operations if trial.suggest_categorical(f"{of}op_{name}", [True, False])]
        fields["operations"] = tuple(chosen)
        if not chosen:
            fields = {"num_ops": 0}
    for transform in TRANSFORMS:
        on = trial.suggest_categorical(f"{of}{transform}", [True, False])
        fields[transform] = (1.0 if transform == "crop" else ON) if on else 0.0
    mixing = trial.suggest_categorical(f"{of}mixing", ["none", "cutmix", "mixup"])
    if mixing != "none":
        alpha = trial.suggest_float(f"{of}mixing_alpha", 0.1, 2.0, log=True)
        probability = trial.suggest_float(f"{of}mixing_probability", 0.1, 1.0)
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


def _suggest_semi(trial: optuna.trial.Trial, space: SemiSpace, operations: tuple[str, ...]) -> Semi | None:
    technique: str = space.techniques[0]
    if space.searched:
        technique = trial.suggest_categorical("semi", ["none", *space.techniques])
        if technique == "none":
            return None
    fixed = dict(space.fixed)
    fields: dict[str, Any] = {"technique": technique}
    if "weight" not in fixed:
        fields["weight"] = trial.suggest_float("unlabeled_weight", 0.1, 4.0, log=True)
    if "ratio" not in fixed:
        fields["ratio"] = trial.suggest_int("unlabeled_ratio", 1, MAX_RATIO)
    own = FIELDS[technique].model_fields
    if "temperature" in own:
        fields["temperature"] = trial.suggest_float("unlabeled_temperature", 1.0, 20.0, log=True)
    if "threshold" in own and "threshold" not in fixed:
        fields["threshold"] = trial.suggest_float("threshold", 0.5, 0.99)
    if "per_class" in own:
        fields["per_class"] = trial.suggest_categorical("per_class", [True, False])
    if "dropout" in own:
        noise = trial.suggest_float("student_noise", 0.0, 0.3)
        fields |= {"dropout": noise, "stochastic_depth": noise}
    if "labels" in own:
        fields["labels"] = trial.suggest_categorical("pseudo_labels", ["hard", "soft"])
    if trial.suggest_categorical("unlabeled_policy", ["same", "own"]) == "own":
        fields["policy"] = _suggest_policy(trial, operations, OWN)
    return Semi.model_validate(fixed | fields)
