"""An Optuna trial → the candidate that its sampler proposes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from augsearch.policies import Distillation, Policy, Semi, Transfer
from augsearch.policies.training import ClassBalance
from augsearch.search.space.borders import DATA_MEAN
from augsearch.search.space.dimension import Dimension
from augsearch.search.space.dimensions import dimensions, policy_dimensions
from augsearch.search.space.per_operation import operation_fields
from augsearch.search.space.ranges import Choice
from augsearch.search.space.space import SemiSpace, Space, fields_of

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from augsearch.trainers.workspace.candidate import Candidate


OWN = "unlabeled_"
"""Begins the names of the parameters of unlabeled images' own policy."""


def suggest(trial: BaseTrial, space: Space) -> Candidate:
    """The candidate that the trial's sampler proposes; a baseline's trial is that baseline, always."""
    from augsearch.trainers.workspace.candidate import Candidate

    operations = space.operations
    baseline = space.baselines.get(trial.user_attrs.get("baseline", ""))
    if baseline is not None and not set(baseline.policy.names) <= set(operations):
        # Not a policy that this search could propose: the sampler must not take its score for that of the
        # few operations which are searched, so the trial gets no parameters for them.
        operations = ()
    if baseline is not None and not can_propose(baseline.policy, space):
        policy = baseline.policy
    else:
        policy = _suggest_policy(trial, space, operations)
    distillation = _suggest_distillation(trial, space.teacher_view) if space.teacher_view else None
    transfer = _suggest_transfer(trial) if space.transfer == "search" else space.transfer
    semi = None
    # Where all candidates use a technique, labels alone are no choice of parameters.
    if space.semi and (baseline is None or baseline.semi or space.semi.searched):
        semi = _suggest_semi(trial, space, space.semi)
    if baseline is not None:
        policy, semi = baseline.policy, baseline.semi
    return Candidate(
        policy=policy,
        distillation=distillation,
        transfer=transfer,
        semi=semi,
        class_balance=_suggest_balance(trial, space),
    )


def policy_params(policy: Policy, space: Space) -> dict[str, Any]:
    """The parameters of a policy, by the names of its dimensions."""
    params: dict[str, Any] = {}
    for dimension in policy_dimensions(space):
        if dimension.applies(params):
            params[dimension.name] = dimension.landing.value(policy)
    return params


def can_propose(policy: Policy, space: Space) -> bool:
    """Whether a policy has parameters; one of a user's own may have values that its dimensions don't have.

    Of the usual baselines all have some, but for operations that are not searched.
    """
    from optuna.trial import FixedTrial

    if policy not in [given for _, given in space.given]:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Optuna warns of a value that is out of a dimension's range
            trial = FixedTrial(policy_params(policy, space))
            return _suggest_policy(trial, space, space.operations) == policy
    except (ValueError, KeyError, TypeError, UserWarning):
        return False


def _suggest_policy(trial: BaseTrial, space: Space, operations: tuple[str, ...], prefix: str = "") -> Policy:
    """A policy; the names of its parameters begin with ``prefix``."""
    declared = policy_dimensions(space, operations)
    chosen = _values(trial, declared, prefix)
    if not any(chosen.get(f"op_{name}") for name in operations):
        # Without operations to draw from it is as though none were drawn.
        chosen["num_ops"] = 0
    fields = _fields(declared, chosen)
    if "operations" in fields:
        chosen_of = {name: own for name, own in fields["operations"].items() if own.pop("on", False)}
        fields |= operation_fields(chosen_of)
    if fields.get("fill") == DATA_MEAN:
        fields["fill"] = space.mean
    return Policy(**fields)


def _suggest_distillation(trial: BaseTrial, teacher_view: Literal["same", "clean"]) -> Distillation | None:
    declared = dimensions("distillation")
    chosen = _values(trial, declared)
    if not chosen["distillation"]:
        return None
    return Distillation(**_fields(declared, chosen), teacher_view=teacher_view)


def _suggest_balance(trial: BaseTrial, space: Space) -> ClassBalance | None:
    if space.class_balance != "search":
        return space.class_balance
    declared = dimensions("balance")
    found: ClassBalance | None = _fields(declared, _values(trial, declared))["class_balance"]
    return found


def _suggest_transfer(trial: BaseTrial) -> Transfer:
    declared = dimensions("transfer")
    return Transfer(**_fields(declared, _values(trial, declared)))


def semi_dimensions(space: SemiSpace) -> list[Dimension]:
    """What may be chosen to learn from unlabeled images; first the technique, one of those in ``space``."""
    technique, *others = dimensions("semi")
    return [replace(technique, range=Choice(("none", *space.techniques))), *others]


def _suggest_semi(trial: BaseTrial, space: Space, semi: SemiSpace) -> Semi | None:
    which, *others = semi_dimensions(semi)
    technique: str = which.suggested(trial) if semi.searched else semi.techniques[0]
    if technique == "none":
        return None
    fixed = dict(semi.fixed)
    searched = fields_of(technique) - fixed.keys()
    declared = [dimension for dimension in others if dimension.landing.names[0] in searched]
    chosen = _values(trial, declared)
    fields = {"technique": technique, **fixed, **_fields(declared, chosen)}
    if chosen["unlabeled_policy"] == "own":
        fields["policy"] = _suggest_policy(trial, space, space.operations, OWN)
    return Semi.model_validate(fields)


def _values(trial: BaseTrial, declared: Iterable[Dimension], prefix: str = "") -> dict[str, Any]:
    """What the trial's sampler chooses of the dimensions that mean something, by their names."""
    chosen: dict[str, Any] = {}
    for dimension in declared:
        if dimension.applies(chosen):
            chosen[dimension.name] = dimension.suggested(trial, prefix)
    return chosen


def _fields(declared: Iterable[Dimension], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the chosen values come to, fields of fields as dictionaries."""
    kept: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for dimension in declared:
        if dimension.name not in chosen or not dimension.applies(kept):
            continue
        kept[dimension.name] = chosen[dimension.name]
        for path, value in dimension.landing.fields(chosen[dimension.name]).items():
            *parents, name = path.split(".")
            place = fields
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
    return fields
