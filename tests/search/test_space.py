"""The search space: baselines are points of it, neighbours stay in it."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT, TRIVIALAUGMENT, Policy
from augsearch.search.space import BASELINES, baseline_params, describe, neighbour, suggest
from augsearch.search.studies import seed_sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_the_baselines_are_none_flip_crop_randaugment_and_trivialaugment() -> None:
    assert list(BASELINES) == ["none", "flip + crop", "RandAugment (2, 9)", "TrivialAugment"]
    assert BASELINES["none"] == Policy(num_ops=0)
    assert BASELINES["RandAugment (2, 9)"] == Policy(num_ops=2, magnitude=9)
    assert BASELINES["TrivialAugment"] == TRIVIALAUGMENT


@pytest.mark.parametrize("with_teacher", [True, False])
@pytest.mark.parametrize("name", BASELINES)
def test_an_enqueued_baseline_comes_out_as_itself(name: str, with_teacher: bool) -> None:
    study = optuna.create_study()
    study.enqueue_trial(baseline_params(BASELINES[name], RANDAUGMENT, with_teacher=with_teacher))
    candidate = suggest(study.ask(), RANDAUGMENT, with_teacher=with_teacher)
    assert candidate.policy == BASELINES[name]
    assert candidate.distillation is None


FEW = [("cutout",), ("rotate", "hue"), OPERATION_SETS["colour"]]
"""Searches in which RandAugment and TrivialAugment could not be proposed."""


def enqueued(name: str, operations: tuple[str, ...]) -> optuna.trial.Trial:
    study = optuna.create_study()
    params = baseline_params(BASELINES[name], operations, with_teacher=True)
    study.enqueue_trial(params, user_attrs={"baseline": name})
    return study.ask()


@pytest.mark.parametrize("operations", [*FEW, OPERATION_SETS["wide"]])
@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_itself_whatever_is_searched(name: str, operations: tuple[str, ...]) -> None:
    trial = enqueued(name, operations)
    assert suggest(trial, operations, with_teacher=True).policy == BASELINES[name]
    assert trial.params["num_ops"] == BASELINES[name].num_ops


@pytest.mark.parametrize("operations", FEW)
@pytest.mark.parametrize("name", ["RandAugment (2, 9)", "TrivialAugment"])
def test_the_score_of_a_baseline_is_not_taken_for_that_of_the_few_operations_searched(
    name: str, operations: tuple[str, ...]
) -> None:
    trial = enqueued(name, operations)
    suggest(trial, operations, with_teacher=True)
    assert not [param for param in trial.params if param.startswith("op_")]
    inside = enqueued(name, OPERATION_SETS["wide"])
    suggest(inside, OPERATION_SETS["wide"], with_teacher=True)
    chosen = {param for param, value in inside.params.items() if param.startswith("op_") and value}
    assert chosen == {f"op_{operation}" for operation in RANDAUGMENT}


@pytest.mark.parametrize("operations", FEW)
@pytest.mark.parametrize("name", BASELINES)
def test_a_neighbour_of_a_baseline_tries_what_is_searched(name: str, operations: tuple[str, ...]) -> None:
    trial = enqueued(name, operations)
    suggest(trial, operations, with_teacher=True)
    used = set()
    augmented = 0
    for seed in range(40):
        study = optuna.create_study()
        rng = np.random.default_rng(seed)
        study.enqueue_trial(neighbour(trial.params, operations, with_teacher=True, rng=rng))
        policy = suggest(study.ask(), operations, with_teacher=True).policy
        used |= set(policy.operations) if policy.num_ops else set()
        augmented += policy.num_ops > 0
    assert used == set(operations)
    assert augmented > 25


def test_every_sampled_candidate_is_valid_and_all_dimensions_vary() -> None:
    study = optuna.create_study()
    seen = []
    for number in range(150):
        seed_sampler(study, number)
        trial = study.ask()
        candidate = suggest(trial, tuple(OPERATIONS), with_teacher=True)
        assert describe(candidate)
        seen.append(candidate)
        study.tell(trial, float(np.random.default_rng(number).random()))
    assert {c.policy.num_ops for c in seen} == {0, 1, 2, 3, 4}
    assert {c.policy.mixing.kind if c.policy.mixing else None for c in seen} == {None, "cutmix", "mixup"}
    assert {c.policy.flip_vertical for c in seen} == {0.0, 0.5}
    assert {c.policy.magnitude == "random" for c in seen} == {True, False}
    temperatures = [c.distillation.temperature for c in seen if c.distillation]
    assert 1 <= min(temperatures) < 3 < 10 < max(temperatures) <= 20
    assert {name for c in seen for name in c.policy.operations} == set(OPERATIONS)


@pytest.mark.parametrize("name", BASELINES)
def test_a_neighbour_is_a_small_valid_step(name: str) -> None:
    params = baseline_params(BASELINES[name], RANDAUGMENT, with_teacher=True)
    for seed in range(30):
        near = neighbour(params, RANDAUGMENT, with_teacher=True, rng=np.random.default_rng(seed))
        study = optuna.create_study()
        study.enqueue_trial(near)
        policy = suggest(study.ask(), RANDAUGMENT, with_teacher=True).policy
        assert abs(policy.num_ops - BASELINES[name].num_ops) <= 1 or not policy.num_ops
        if policy.num_ops and policy.magnitude != "random" and BASELINES[name].num_ops:
            assert abs(policy.magnitude - 9) <= 6
    # The same seed takes the same step.
    assert near == neighbour(params, RANDAUGMENT, with_teacher=True, rng=np.random.default_rng(29))
