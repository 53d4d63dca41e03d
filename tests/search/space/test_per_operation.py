"""``--space per-operation``: a weight and a range for each operation; baselines stay what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from augsearch.policies import RANDAUGMENT, OwnOperation, Policy, PolicyFile
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import describe, explain
from augsearch.search.space.dimensions import policy_dimensions
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import Space
from augsearch.search.space.suggest import policy_params, suggest

OWN = Space(("rotate", "posterize", "equalize"), name="per-operation")
PLAIN = Space(OWN.operations)


def proposed(params: dict[str, Any], space: Space = OWN, **attributes: Any) -> Policy:
    study = optuna.create_study()
    study.enqueue_trial(params, user_attrs=attributes)
    return suggest(study.ask(), space).policy


def test_there_are_a_weight_and_a_range_for_each_operation_and_no_magnitude_for_all() -> None:
    own = {one.name for one in policy_dimensions(OWN)}
    plain = {one.name for one in policy_dimensions(PLAIN)}
    assert plain - own == {"magnitudes", "magnitude"}
    assert own - plain == {
        "ranges",
        *("weight_rotate", "weight_posterize", "weight_equalize"),
        *("strongest_rotate", "strongest_posterize", "weakest_rotate", "weakest_posterize"),
    }


def test_a_trial_is_the_policy_that_its_parameters_say() -> None:
    params = {
        **dict.fromkeys(("op_rotate", "op_equalize", "flip_horizontal"), True),
        "num_ops": 3,
        "op_posterize": False,
        "ranges": "wide",
        "weight_rotate": 2.5,
        "strongest_rotate": 20.0,
        "weakest_rotate": 0.25,
        "weight_equalize": 0.5,
    }
    policy = proposed(baseline_params(OWN.baselines["none"], OWN) | params)
    assert (policy.num_ops, policy.ranges, policy.flip_horizontal) == (3, "wide", 0.5)
    assert policy.operations == (
        OwnOperation(name="rotate", weight=2.5, magnitude=(5.0, 20.0)),
        OwnOperation(name="equalize", weight=0.5),
    )
    assert PolicyFile(policy=policy).version == 2
    back = policy_params(policy, OWN)
    assert {name: back[name] for name in params} == params


@pytest.mark.parametrize("name", list(Space(RANDAUGMENT).baselines))
def test_baselines_are_what_they_are_and_steps_begin_at_their_strength(name: str) -> None:
    space = Space(RANDAUGMENT, name="per-operation")
    baseline = space.baselines[name]
    params = baseline_params(baseline, space)
    assert proposed(params, space, baseline=name) == baseline.policy
    if baseline.policy.num_ops:
        strength = {"strongest_rotate": 9.0, "weakest_rotate": 1.0}
        if "TrivialAugment" in name:
            strength = {"strongest_rotate": 30.0, "weakest_rotate": 0.0}
        assert params | strength | {"weight_rotate": 1.0} == params
    rng = np.random.default_rng(0)
    near = [proposed(neighbour(params, space, rng), space) for _ in range(20)]
    strengths = {choice for policy in near if policy.num_ops for choice in policy.operations}
    assert all(isinstance(choice, OwnOperation) for choice in strengths)
    assert len(strengths) > 20


def test_a_candidate_is_told_without_a_magnitude() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        candidate = suggest(study.ask(), OWN)
        if candidate.policy.num_ops:
            count = len(candidate.policy.operations)
            assert f"N={candidate.policy.num_ops} of {count} operations" in describe(candidate)
            assert "at strengths of their own" in explain(candidate)


def test_the_setting_says_which_space() -> None:
    assert Settings.of().space.name == "randaugment"
    assert Settings.of(space="per-operation").space.name == "per-operation"
