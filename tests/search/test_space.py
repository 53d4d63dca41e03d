"""The search space: baselines are points of it, neighbours stay in it."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from augsearch.policies import OPERATIONS, RANDAUGMENT, TRIVIALAUGMENT, Policy
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
