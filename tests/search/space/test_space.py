"""The search space: baselines are points of it, neighbours stay in it."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import optuna
import pytest

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT, TRIVIALAUGMENT, Policy, Transfer
from augsearch.policies.planner import encode
from augsearch.policies.policy import CROP_MAGNITUDE
from augsearch.policies.training import ClassBalance
from augsearch.search.space.describe import describe, explain
from augsearch.search.space.dimensions import policy_dimensions
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import BASELINE_POLICIES, USUAL, Baseline, SemiSpace, Space
from augsearch.search.space.suggest import suggest
from augsearch.search.studies.samplers import seed_sampler
from augsearch.search.studies.study import open_storage, open_study
from augsearch.trainers.workspace.candidate import Candidate

optuna.logging.set_verbosity(optuna.logging.ERROR)


FULL, HEAD = Transfer(mode="full", backbone_lr_scale=0.3, layer_decay=0.8), Transfer(mode="head")
SPACES: dict[str, Space] = {
    "policy": Space(RANDAUGMENT),
    "teacher": Space(RANDAUGMENT, "same"),
    "clean teacher": Space(RANDAUGMENT, "clean"),
    "transfer": Space(RANDAUGMENT, transfer="search"),
    "everything": Space(RANDAUGMENT, "same", "search"),
    "full": Space(RANDAUGMENT, transfer=FULL),
    "balance": Space(RANDAUGMENT, class_balance="search"),
    "per operation": Space(RANDAUGMENT, name="per-operation"),
    "head": Space(RANDAUGMENT, "same", HEAD),
}


def proposed(params: dict[str, Any], space: Space, **attributes: Any) -> tuple[Candidate, dict[str, Any]]:
    """The candidate that a trial with these parameters is, and the parameters that it keeps."""
    study = optuna.create_study()
    study.enqueue_trial(params, user_attrs=attributes)
    trial = study.ask()
    return suggest(trial, space), trial.params


def test_the_baselines_are_randaugment_and_trivialaugment_alone_and_after_flip_and_crop() -> None:
    assert list(BASELINE_POLICIES) == [
        "none",
        "flip + crop",
        "RandAugment (2, 9)",
        "TrivialAugment",
        "RandAugment (2, 9) after flip + crop",
        "TrivialAugment after flip + crop",
    ]
    assert BASELINE_POLICIES["none"] == Policy(num_ops=0)
    assert BASELINE_POLICIES["RandAugment (2, 9)"] == Policy(num_ops=2, magnitude=9)
    assert BASELINE_POLICIES["TrivialAugment"] == TRIVIALAUGMENT
    for name in ("RandAugment (2, 9)", "TrivialAugment"):
        after = BASELINE_POLICIES[f"{name} after flip + crop"]
        assert after == Policy(**dict(BASELINE_POLICIES[name]) | {"flip_horizontal": 0.5, "crop": 1.0})
        # First the crop and the flip, then what is drawn, as in torchvision's reference training.
        first, second, *drawn = after.draw(64, np.random.default_rng(0)).codes.T
        assert set(first) == {encode(("crop",))[0] + 2 * CROP_MAGNITUDE}
        assert set(second) == {0, encode(("flip_horizontal",))[0]}
        assert len(drawn) == after.num_ops
    assert BASELINE_POLICIES[USUAL] == Policy(num_ops=2, magnitude=9, flip_horizontal=0.5, crop=1.0)


def test_a_study_of_the_first_edition_keeps_its_baselines_and_dimensions() -> None:
    first = Space(RANDAUGMENT, edition=1)
    assert list(first.baselines) == list(BASELINE_POLICIES)[:4]
    new = {"border", "interpolation"}
    for space, there in ((first, set()), (Space(RANDAUGMENT), new)):
        assert {one.name for one in policy_dimensions(space)} & new == there
        assert neighbour({}, space, np.random.default_rng(0)).keys() & new == there
    semi = SemiSpace(("fixmatch",), searched=False)
    old = Space(RANDAUGMENT, semi=semi, edition=1).baselines
    assert list(old) == [*first.baselines, "RandAugment (2, 9), labels alone"]
    assert list(Space(RANDAUGMENT, semi=semi).baselines)[-1] == f"{USUAL}, labels alone"


def test_borders_and_sampling_are_searched_where_they_have_an_effect() -> None:
    space = Space(RANDAUGMENT, mean=(120, 110, 90))
    fills = {}
    for candidate, params in sampled(space, 200):
        policy = candidate.policy
        assert ("interpolation" in params) == (params["num_ops"] > 0)
        assert ("border" in params) == (params["num_ops"] > 0 or params["crop"])
        if policy.num_ops or policy.crop:
            fills[params["border"]] = policy.border, policy.fill
    assert fills == {
        "black": ("fill", (0, 0, 0)),
        "white": ("fill", (255, 255, 255)),
        "mean": ("fill", (120, 110, 90)),
        "reflect": ("reflect", (0, 0, 0)),
    }
    (border,) = (one for one in policy_dimensions(space) if one.name == "border")
    for name, (kind, fill) in fills.items():  # what is read from a policy is what was written
        assert border.landing.value(Policy(border=kind, fill=fill)) == name


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(num_ops=0, crop=1.0), "crop"),
        (Policy(num_ops=0, crop=1.0, border="reflect"), "crop, reflected border"),
        (Policy(num_ops=0, crop=1.0, fill=(255, 255, 255)), "crop, white border"),
        (Policy(num_ops=0, crop=1.0, fill=(9, 8, 7)), "crop, border of the mean colour"),
        (Policy(interpolation="bilinear"), "N=2 M=9 of 14 ops, bilinear"),
    ],
)
def test_borders_and_sampling_are_told_where_they_are_unusual(policy: Policy, words: str) -> None:
    assert describe(Candidate(policy=policy)) == words


def test_neighbours_of_no_operations_may_have_none_and_others_may_lose_theirs() -> None:
    space = SPACES["teacher"]
    start = baseline_params(Baseline(BASELINE_POLICIES["flip + crop"]), space)
    near = [proposed(neighbour(start, space, np.random.default_rng(seed)), space)[0] for seed in range(60)]
    without = [one for one in near if not one.policy.num_ops]
    assert 8 < len(without) < 40
    assert any(one.distillation and one.policy.crop and one.policy.flip_horizontal for one in without)
    one_op = start | {"num_ops": 1}
    found = {neighbour(one_op, space, np.random.default_rng(seed))["num_ops"] for seed in range(40)}
    assert found == {0, 1, 2}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", BASELINE_POLICIES)
def test_an_enqueued_baseline_comes_out_as_itself(name: str, space: Space) -> None:
    params = baseline_params(Baseline(BASELINE_POLICIES[name]), space)
    for attributes in ({}, {"baseline": name}):
        candidate, kept = proposed(params, space, **attributes)
        assert candidate.policy == BASELINE_POLICIES[name]
        assert candidate.distillation is None
        # Where it is searched how weights are used, a baseline uses them as anyone would.
        assert candidate.transfer == (Transfer(mode="full") if space.transfer == "search" else space.transfer)
        # Everything that is asked for was said, so no sampler has a word in it.
        assert kept.items() <= params.items()


def test_a_balance_of_classes_is_searched_or_the_same_for_all() -> None:
    space = SPACES["balance"]
    params = baseline_params(Baseline(BASELINE_POLICIES["none"]), space)
    near = [proposed(neighbour(params, space, np.random.default_rng(seed)), space)[0] for seed in range(40)]
    assert {one.class_balance for one in near} == {None, *get_args(ClassBalance)}
    assert proposed(params, space)[0].class_balance is None
    always = Space(RANDAUGMENT, class_balance="loss")
    for attributes in ({}, {"baseline": "none"}):
        assert proposed(params, always, **attributes)[0].class_balance == "loss"
    told = Candidate(policy=Policy(num_ops=0), class_balance="logit-adjustment")
    assert describe(told) == "no augmentation, balance by logit-adjustment"
    assert "logits are adjusted" in explain(told)


FEW = [("cutout",), ("rotate", "hue"), OPERATION_SETS["colour"]]
"""Searches in which RandAugment and TrivialAugment could not be proposed."""


def enqueued(name: str, operations: tuple[str, ...]) -> optuna.trial.Trial:
    study = optuna.create_study()
    params = baseline_params(Baseline(BASELINE_POLICIES[name]), Space(operations, "same"))
    study.enqueue_trial(params, user_attrs={"baseline": name})
    return study.ask()


@pytest.mark.parametrize("operations", [*FEW, OPERATION_SETS["wide"]])
@pytest.mark.parametrize("name", BASELINE_POLICIES)
def test_a_baseline_is_itself_whatever_is_searched(name: str, operations: tuple[str, ...]) -> None:
    trial = enqueued(name, operations)
    assert suggest(trial, Space(operations, "same")).policy == BASELINE_POLICIES[name]
    assert trial.params["num_ops"] == BASELINE_POLICIES[name].num_ops


@pytest.mark.parametrize("operations", FEW)
@pytest.mark.parametrize("name", ["RandAugment (2, 9)", "TrivialAugment"])
def test_the_score_of_a_baseline_is_not_taken_for_that_of_the_few_operations_searched(
    name: str, operations: tuple[str, ...]
) -> None:
    trial = enqueued(name, operations)
    suggest(trial, Space(operations, "same"))
    assert not [param for param in trial.params if param.startswith("op_")]
    inside = enqueued(name, OPERATION_SETS["wide"])
    suggest(inside, Space(OPERATION_SETS["wide"], "same"))
    chosen = {param for param, value in inside.params.items() if param.startswith("op_") and value}
    assert chosen == {f"op_{operation}" for operation in RANDAUGMENT}


@pytest.mark.parametrize("operations", FEW)
@pytest.mark.parametrize("name", BASELINE_POLICIES)
def test_a_neighbour_of_a_baseline_tries_what_is_searched(name: str, operations: tuple[str, ...]) -> None:
    trial = enqueued(name, operations)
    suggest(trial, Space(operations, "same"))
    used = set()
    augmented = 0
    for seed in range(40):
        space = Space(operations, "same")
        near = neighbour(trial.params, space, np.random.default_rng(seed))
        policy = proposed(near, space)[0].policy
        used |= set(policy.operations) if policy.num_ops else set()
        augmented += policy.num_ops > 0
    assert used == set(operations)
    assert augmented > 15


def sampled(space: Space, trials: int) -> list[tuple[Candidate, dict[str, Any]]]:
    """Candidates as a study asks for them, with the parameters of each."""
    study = optuna.create_study()
    seen = []
    for number in range(trials):
        seed_sampler(study, "tpe", number, startup=12)
        trial = study.ask()
        candidate = suggest(trial, space)
        assert describe(candidate)
        seen.append((candidate, trial.params))
        study.tell(trial, float(np.random.default_rng(number).random()))
    return seen


def test_every_sampled_candidate_is_valid_and_all_dimensions_vary() -> None:
    seen = [candidate for candidate, _ in sampled(Space(tuple(OPERATIONS), "clean", "search"), 150)]
    assert {c.policy.num_ops for c in seen} == {0, 1, 2, 3, 4}
    assert {c.policy.mixing.kind if c.policy.mixing else None for c in seen} == {None, "cutmix", "mixup"}
    assert {c.policy.flip_vertical for c in seen} == {0.0, 0.5}
    assert {c.policy.magnitude == "random" for c in seen} == {True, False}
    temperatures = [c.distillation.temperature for c in seen if c.distillation]
    assert 1 <= min(temperatures) < 3 < 10 < max(temperatures) <= 20
    assert {c.distillation.teacher_view for c in seen if c.distillation} == {"clean"}
    assert {name for c in seen for name in c.policy.operations} == set(OPERATIONS)
    transfers = [c.transfer for c in seen if c.transfer]
    assert len(transfers) == len(seen)
    assert {transfer.mode for transfer in transfers} == {"head", "full"}
    scales = [transfer.backbone_lr_scale for transfer in transfers if transfer.mode == "full"]
    assert 0.01 <= min(scales) < 0.03 < 0.4 < max(scales) <= 1
    decays = [transfer.layer_decay for transfer in transfers if transfer.mode == "full"]
    assert 0.6 <= min(decays) < 0.7 < 0.9 < max(decays) <= 1


def test_parameters_that_mean_nothing_are_not_asked_for() -> None:
    for candidate, params in sampled(Space(RANDAUGMENT, "same", "search"), 60):
        full = candidate.transfer is not None and candidate.transfer.mode == "full"
        assert ("backbone_lr_scale" in params) == ("layer_decay" in params) == full
        assert ("temperature" in params) == ("alpha" in params) == (candidate.distillation is not None)
        assert ("mixing_alpha" in params) == (candidate.policy.mixing is not None)
        assert ("magnitudes" in params) == any(name.startswith("op_") for name in params)
        assert ("interpolation" in params) == ("magnitudes" in params)
        assert ("magnitude" in params) == (params.get("magnitudes") == "fixed")


@pytest.mark.parametrize("name", ["policy", "full", "head"])
def test_what_is_not_searched_is_the_same_for_all(name: str) -> None:
    space = SPACES[name]
    for candidate, params in sampled(space, 10):
        assert candidate.transfer == space.transfer
        assert not {"transfer", "backbone_lr_scale", "layer_decay"} & params.keys()
        assert ("distillation" in params) == (space.teacher_view is not None)


@pytest.mark.parametrize("name", BASELINE_POLICIES)
def test_a_neighbour_is_a_small_valid_step(name: str) -> None:
    space = SPACES["teacher"]
    params = baseline_params(Baseline(BASELINE_POLICIES[name]), space)
    for seed in range(30):
        near = neighbour(params, space, np.random.default_rng(seed))
        policy = proposed(near, space)[0].policy
        assert abs(policy.num_ops - BASELINE_POLICIES[name].num_ops) <= 1 or not policy.num_ops
        if policy.num_ops and policy.magnitude != "random" and BASELINE_POLICIES[name].num_ops:
            assert abs(policy.magnitude - 9) <= 6
    # The same seed takes the same step.
    assert near == neighbour(params, space, np.random.default_rng(29))


def test_steps_from_a_teacher_keep_it_and_change_how_it_is_listened_to() -> None:
    space = SPACES["teacher"]
    alone = baseline_params(Baseline(BASELINE_POLICIES["RandAugment (2, 9)"]), space)
    taught = alone | {"distillation": True, "temperature": 19.0, "alpha": 0.95}
    rngs = [np.random.default_rng(seed) for seed in range(200)]
    first = [proposed(neighbour(alone, space, rng), space)[0].distillation for rng in rngs]
    assert 120 < sum(one is not None for one in first) < 160
    kept = [proposed(neighbour(taught, space, rng), space)[0].distillation for rng in rngs]
    there = [one for one in kept if one is not None]
    assert 150 < len(there) < 190
    assert np.median([one.temperature for one in there]) > 12
    assert np.median([one.alpha for one in there]) > 0.7
    assert len({(one.temperature, one.alpha) for one in there}) > 100


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_neighbours_of_neighbours_stay_in_the_space(space: Space) -> None:
    rng = np.random.default_rng(0)
    params = baseline_params(Baseline(BASELINE_POLICIES["RandAugment (2, 9)"]), space)
    transfers = []
    for _ in range(150):
        near = neighbour(params, space, rng)
        candidate, params = proposed(near, space)
        # Optuna draws anew what is out of bounds: what was enqueued is what is tried.
        assert params.items() <= near.items()
        assert (space.teacher_view is None) <= (candidate.distillation is None)
        if space.transfer == "search":
            transfers.append(candidate.transfer)
        else:
            assert candidate.transfer == space.transfer
    if transfers:
        assert {transfer.mode for transfer in transfers} == {"head", "full"}
        full = [transfer for transfer in transfers if transfer.mode == "full"]
        for values in ([t.backbone_lr_scale for t in full], [t.layer_decay for t in full]):
            assert len(set(values)) > 20


def test_a_neighbour_of_a_frozen_backbone_may_thaw_it() -> None:
    space = SPACES["transfer"]
    params = baseline_params(Baseline(BASELINE_POLICIES["none"]), space) | {"transfer": "head"}
    _, params = proposed(params, space)
    assert "backbone_lr_scale" not in params
    modes = set()
    for seed in range(20):
        candidate, _ = proposed(neighbour(params, space, np.random.default_rng(seed)), space)
        assert candidate.transfer is not None
        modes.add(candidate.transfer.mode)
        assert candidate.transfer.layer_decay <= 1
    assert modes == {"head", "full"}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_study_begins_with_the_baselines_once(space: Space) -> None:
    storage = open_storage("sqlite:///studies.db")
    for _ in range(2):
        study = open_study(storage, "s", {"data": "x"}, space)
    assert [trial.user_attrs["baseline"] for trial in study.trials] == list(BASELINE_POLICIES)
    assert [suggest(study.ask(), space).policy for _ in BASELINE_POLICIES] == list(BASELINE_POLICIES.values())


@pytest.mark.parametrize(
    ("transfer", "words"),
    [
        (None, "no augmentation"),
        (HEAD, "no augmentation, head only"),
        (FULL, "no augmentation, backbone lr × 0.3 decay 0.80"),
        (Transfer(mode="full"), "no augmentation, backbone lr × 0.1"),
    ],
)
def test_a_candidate_is_told_in_few_words(transfer: Transfer | None, words: str) -> None:
    assert describe(Candidate(policy=Policy(num_ops=0), transfer=transfer)) == words
