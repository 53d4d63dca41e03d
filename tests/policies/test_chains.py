"""Chains that are mixed with their image: AugMix as torchvision has it, the same on arrays and tensors."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from scipy.stats import chisquare, ks_2samp
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from augsearch.policies import Policy, PolicyFile, UserError, read_policy, write_policy
from augsearch.policies.augmix import MOST_SEVERE
from augsearch.policies.chains import Chains
from augsearch.policies.effects import Size
from augsearch.policies.exchange.form import forms, written
from augsearch.policies.planner import DrawnChain
from augsearch.policies.tensor import TensorPolicy
from augsearch.trainers.semi.fixmatch import FixMatch
from tests.policies.draws import drawn
from tests.policies.exchange.drawn import loaded
from tests.policies.test_ready import THEIRS, agree, ours, theirs

pytestmark = pytest.mark.usefixtures("by_torch")

LEAST_P = 1e-4
DRAWS = 2000
SIZE = Size(320, 224)
AUGMIX = Policy.named("augmix")
TORCHVISION = forms()["torchvision"]


def of_one_chain(**fields: Any) -> Policy:
    return AUGMIX.model_copy(update={"chains": Chains(width=1, **fields)})


def photo() -> np.ndarray:
    return np.ascontiguousarray(load_sample_image("flower.jpg")[100:148, 250:314])


@pytest.mark.parametrize("severity", [1, 3, MOST_SEVERE])
def test_has_torchvisions_operations_and_values_at_every_severity(severity: int) -> None:
    transform: Any = v2.AugMix(severity=severity)
    wanted: Counter[tuple[str, float]] = Counter()
    signed = {}
    for name, (values, has_sign) in transform._AUGMENTATION_SPACE.items():
        levels = values(10, *SIZE)
        signed[THEIRS[name]] = has_sign
        for level in range(severity):
            wanted[THEIRS[name], 0.0 if levels is None else round(float(levels[level]), 4)] += 1
    had: Counter[tuple[str, float]] = Counter()
    for own in Policy.named(f"augmix({severity},3)").operations:
        low, high = own.values("standard") or (0.0, 0.0)
        assert low == high
        had[own.name, round(own.operation.own_value(low, "standard", SIZE), 4)] += int(own.weight)
        assert own.negated == signed[own.name]
        assert own.probability == 1
    assert had == wanted


def test_a_chain_draws_what_torchvisions_draws_as_often() -> None:
    mine, its = ours(of_one_chain(), DRAWS), theirs(v2.AugMix(mixture_width=1), DRAWS)
    agree(list(map(len, mine)), list(map(len, its)))
    agree([one for happened in mine for one in happened], [one for happened in its for one in happened])
    firsts = lambda all_of: [tuple(name for name, _ in happened[:2]) for happened in all_of]  # noqa: E731
    agree(firsts(mine), firsts(its))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_shares_are_distributed_as_torchvisions(alpha: float) -> None:
    shares = Chains(alpha=alpha).draw_shares(DRAWS, np.random.default_rng(0))
    assert shares.shape == (DRAWS, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)

    class Told(v2.AugMix):  # type: ignore[misc]
        def _sample_dirichlet(self, params: Tensor) -> Tensor:
            sampled.append(super()._sample_dirichlet(params)[0])
            return torch.ones(1, params.shape[-1])

        def _apply_image_or_video_transform(self, image: Tensor, *_: Any, **__: Any) -> Tensor:
            return image

    sampled: list[Tensor] = []
    torch.manual_seed(0)
    transform = Told(alpha=alpha, chain_depth=1)
    for _ in range(DRAWS):
        transform(torch.zeros(3, 1, 1, dtype=torch.uint8))
    kept, divided = np.stack(sampled[::2]), np.stack(sampled[1::2])
    assert ks_2samp(shares[:, 0], kept[:, 0]).pvalue > LEAST_P
    assert ks_2samp(shares[:, 3], (1 - kept[:, 0]) * divided[:, 2]).pvalue > LEAST_P


@pytest.mark.parametrize(("shortest", "num_ops"), [(1, 3), (2, 2), (2, 5)])
def test_a_chain_has_any_number_of_operations_from_the_shortest_on(shortest: int, num_ops: int) -> None:
    policy = Policy(
        num_ops=num_ops, operations=("invert",), chains=Chains(width=2, shortest=shortest), crop=1.0
    )
    draws = policy.draw(DRAWS, np.random.default_rng(0))
    lengths: Counter[int] = Counter()
    for index in range(DRAWS):
        crop, itself, *chains = draws.operations(index)
        assert (crop.operation, itself.operations, len(chains)) == ("crop", (), 2)
        lengths.update(len(one.operations) for one in chains)
    assert sorted(lengths) == list(range(shortest, num_ops + 1))
    assert len(lengths) == 1 or chisquare([*lengths.values()]).pvalue > LEAST_P


def test_the_result_is_the_sum_of_the_chains_by_their_shares_truncated() -> None:
    policy = Policy.named("flip-crop+augmix(5,2)")
    image, draws = photo(), policy.draw(30, np.random.default_rng(2))
    for index in range(30):
        happened = draws.operations(index)
        begin = [one for one in happened if not isinstance(one, DrawnChain)]
        first = policy.apply(begin, image)
        chains = [one for one in happened if isinstance(one, DrawnChain)]
        parts = [one.share * policy.apply(one.operations, first).astype(float) for one in chains]
        result = policy.apply(happened, image)
        assert np.abs(np.floor(sum(parts) + 0.002) - result).max() <= 1
        assert (result == np.floor(sum(parts) + 0.002)).mean() > 0.99


def test_what_changes_nothing_leaves_the_image_as_it_is() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    policy = Policy(num_ops=2, operations=("identity",), chains=Chains())
    np.testing.assert_array_equal(policy.augment(images, np.random.default_rng(0)), images)


@given(
    shape=st.sampled_from([(5, 1, 7, 3), (4, 24, 24, 1), (3, 33, 20, 3), (2, 170, 161, 3)]),
    severity=st.integers(1, MOST_SEVERE),
    shortest=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_batches_single_images_and_tensors_are_mixed_alike(
    shape: tuple[int, ...], severity: int, shortest: int, seed: int
) -> None:
    policy = Policy.named(f"flip-crop+augmix({severity},2)").model_copy(
        update={"chains": Chains(width=2, shortest=shortest), "interpolation": "nearest"}
    )
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    expected = policy.augment(images, np.random.default_rng(seed))
    draws = policy.draw(len(images), np.random.default_rng(seed))
    for index, image in enumerate(images):
        np.testing.assert_array_equal(policy.apply(draws.operations(index), image), expected[index])
    tensors = TensorPolicy(policy, seed)(torch.from_numpy(images).permute(0, 3, 1, 2))
    again = policy.batch_transform(seed)(images)
    assert np.abs(tensors.permute(0, 2, 3, 1).numpy().astype(int) - again).max() <= 1
    alone, same = policy.transform(seed), policy.transform(seed)
    for image in images:
        picture = np.ascontiguousarray(image)
        result = alone(picture)
        np.testing.assert_array_equal(
            same(torch.from_numpy(picture).permute(2, 0, 1)).permute(1, 2, 0), result
        )


def test_labels_pass_through_and_what_would_have_to_move_is_refused_by_name() -> None:
    image = tv_tensors.Image(torch.from_numpy(photo()).permute(2, 0, 1))
    transform = AUGMIX.transform(seed=0)
    changed, label = transform(image, 3)
    assert (type(changed), label) == (tv_tensors.Image, 3)
    with pytest.raises(UserError, match="chains mix an image with copies that were moved, so no Mask moves"):
        transform(image, tv_tensors.Mask(torch.zeros(48, 64, dtype=torch.uint8)))
    assert transform(PILImage.fromarray(photo())).size == (64, 48)


def test_a_chain_is_told_with_its_share() -> None:
    happened = AUGMIX.draw(1, np.random.default_rng(1)).operations(0)
    told = [AUGMIX.describe(one, Size(64, 64)) for one in happened]
    assert len(told) == 4
    assert told[0].endswith("%: as it was")
    assert all("%: " in line for line in told)
    assert drawn(AUGMIX, 1, SIZE, seed=1)[0]


def test_a_file_says_so_in_version_4(tmp_path: Path) -> None:
    write_policy(PolicyFile(policy=AUGMIX), tmp_path / "policy.json")
    file = read_policy(tmp_path / "policy.json")
    assert (file.version, file.policy) == (4, AUGMIX)
    assert "chains" not in PolicyFile(policy=Policy()).model_dump_json()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chains": {"width": 0}}, "chains.width must be ≥ 1, got 0"),
        ({"chains": {"alpha": 0}}, "chains.alpha must be > 0, got 0"),
        ({"chains": 3}, "chains must be an object, got 3"),
        ({"chains": {"shortest": 3}}, "chains.shortest must be at most num_ops, got 3 and 2"),
        ({"chains": {"depth": 3}}, "chains.depth"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, fields: Any, message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"format": "augsearch-policy", "version": 4, "policy": fields}))
    with pytest.raises(UserError) as caught:
        Policy.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weak_views_have_no_chains() -> None:
    weak = FixMatch().weak_policy(Policy.named("flip-crop+augmix"))
    images = photo()[None]
    plain = Policy.named("flip-crop").augment(images, np.random.default_rng(0))
    np.testing.assert_array_equal(weak.augment(images, np.random.default_rng(0)), plain)


@pytest.mark.parametrize(
    ("severity", "chains", "num_ops", "arguments"),
    [
        (3, Chains(), 3, {"severity": 3, "mixture_width": 3, "chain_depth": -1, "alpha": 1.0}),
        (8, Chains(width=1, shortest=2, alpha=0.5), 2, {"severity": 8, "chain_depth": 2, "alpha": 0.5}),
    ],
)
def test_the_torchvision_module_has_augmix_itself(
    severity: int, chains: Chains, num_ops: int, arguments: dict[str, Any]
) -> None:
    policy = Policy.named(f"flip-resized-crop+augmix({severity},3)").model_copy(
        update={"chains": chains, "num_ops": num_ops, "fill": (9, 8, 7)}
    )
    made = written(PolicyFile(policy=policy), TORCHVISION, approximate=False)
    module = loaded(made.text)
    (augmix,) = [one for one in module.train_transform(24).transforms if isinstance(one, v2.AugMix)]
    assert {name: getattr(augmix, name) for name in arguments} == arguments
    assert (augmix.interpolation, augmix.fill, augmix.all_ops) == (
        v2.InterpolationMode.BILINEAR,
        [9, 8, 7],
        True,
    )
    assert module.train_transform(24)(PILImage.fromarray(photo())).shape == (3, 24, 24)
    assert TORCHVISION.read
    found = TORCHVISION.read(made.text)
    assert (found.policy, found.notes) == (policy, ())


@pytest.mark.parametrize("form", forms().values(), ids=forms())
def test_what_a_form_cannot_say_of_chains_is_refused_by_name(form: Any) -> None:
    others = Policy(chains=Chains()) if form is TORCHVISION else AUGMIX
    with pytest.raises(UserError, match=r"chains") as caught:
        written(PolicyFile(policy=others), form, approximate=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"severity": 3', '"severity": 9', "AUGMIX: severity must be a whole number from 1 to 8, got 9"),
        ('"chain_depth": -1', '"chain_depth": 0', "AUGMIX: chain_depth must be a whole number from -1 to 8"),
        ('"mixture_width": 3', '"mixture_width": 0', "AUGMIX: width must be ≥ 1, got 0"),
        ('"severity": 3, ', "", "AUGMIX must have severity, mixture_width, chain_depth, alpha and nothing"),
    ],
)
def test_changed_arguments_that_mean_nothing_are_one_line(old: str, new: str, line: str) -> None:
    text = written(PolicyFile(policy=AUGMIX), TORCHVISION, approximate=False).text
    assert old in text
    assert TORCHVISION.read
    with pytest.raises(UserError, match=line):
        TORCHVISION.read(text.replace(old, new))
