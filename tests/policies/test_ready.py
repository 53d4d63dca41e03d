"""Ready policies: found by name where a policy file is, and the same as torchvision's where it has them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import chi2, chisquare, kstest
from torch import Tensor
from torchvision.transforms import v2

from augsearch.policies import Policy, UserError, read_policy, ready_names
from augsearch.policies.choices import in_order
from augsearch.policies.effects import Size
from augsearch.policies.policy import TRIVIALAUGMENT
from augsearch.policies.regions import ResizedCrop
from augsearch.policies.registry import OPERATIONS
from tests.policies.draws import drawn

DRAWS = 10_000
LEAST_P = 1e-4
"""With fixed seeds a test ends always alike; this is what a right sampler misses once in 10,000 seeds."""

THEIRS = {
    "Identity": "identity",
    "AutoContrast": "auto_contrast",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    **{name.capitalize(): name for name in ("rotate", "brightness", "color", "contrast", "sharpness")},
    **{name.capitalize(): name for name in ("posterize", "solarize", "equalize", "invert")},
}
"""torchvision's names of operations, and ours."""

SIZE = Size(320, 224)

Happened = tuple[tuple[str, float], ...]
"""Operations in order, each with its value; 0 where it has none."""


def rounded(value: float) -> float:
    return float(f"{value:.5g}") + 0.0  # no −0


def ours(policy: Policy, count: int = DRAWS) -> list[Happened]:
    """What the policy drew for each image, without what leaves it as it is."""
    return [tuple((name, rounded(value)) for name, value in one) for one in drawn(policy, count, SIZE)]


def theirs(transform: Any, count: int = DRAWS) -> list[Happened]:
    """The same of a transform of torchvision's, told which operations it would do."""
    happened: list[tuple[str, float]] = []

    class Told(type(transform)):  # type: ignore[misc]
        def _apply_image_or_video_transform(
            self, image: Tensor, transform_id: str, magnitude: float, **_: Any
        ) -> Tensor:
            if transform_id != "Identity":
                # torchvision cuts translations to whole pixels as it applies them.
                value = math.trunc(magnitude) if transform_id.startswith("Translate") else magnitude
                happened.append((THEIRS[transform_id], rounded(value)))
            return image

    transform.__class__ = Told
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    torch.manual_seed(0)
    results = []
    for _ in range(count):
        happened.clear()
        transform(image)
        results.append(tuple(happened))
    return results


def agree(first: list[Hashable], second: list[Hashable]) -> None:
    """Two samples of one distribution: what one has at all often the other has too, about as often."""
    one, other = Counter(first), Counter(second)
    often = [what for what in one | other if one[what] + other[what] >= 10]
    assert len(often) > 1
    rest = [sum(counts[what] for what in counts if what not in often) for counts in (one, other)]
    assert sum(rest) < 0.2 * len(first)
    share = len(first) / (len(first) + len(second))
    statistic, cells = 0.0, 0
    for mine, its in [*((one[what], other[what]) for what in often), (rest[0], rest[1])]:
        if mine + its:
            both = mine + its
            statistic += (mine - both * share) ** 2 / (both * share)
            statistic += (its - both * (1 - share)) ** 2 / (both * (1 - share))
            cells += 1
    assert chi2.sf(statistic, cells - 1) > LEAST_P


TORCHVISIONS = {
    "randaugment(2,9)": lambda: v2.RandAugment(num_ops=2, magnitude=9),
    "randaugment(1,14)": lambda: v2.RandAugment(num_ops=1, magnitude=14),
    "trivialaugment": v2.TrivialAugmentWide,
    "autoaugment-cifar10": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "autoaugment-svhn": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.SVHN),
    "autoaugment-imagenet": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
}


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_draws_what_torchvisions_draws_as_often(name: str) -> None:
    mine, its = ours(Policy.named(name)), theirs(TORCHVISIONS[name]())
    agree(list(map(len, mine)), list(map(len, its)))
    # Each operation with its value, and which follow one another.
    agree([one for happened in mine for one in happened], [one for happened in its for one in happened])
    names_of = lambda all_of: [tuple(name for name, _ in happened) for happened in all_of]  # noqa: E731
    agree(names_of(mine), names_of(its))


@pytest.mark.parametrize(("name", "ranges"), [("randaugment", "standard"), ("trivialaugment", "wide")])
def test_has_torchvisions_operations_and_ranges(name: str, ranges: Any) -> None:
    transform: Any = v2.RandAugment() if ranges == "standard" else v2.TrivialAugmentWide()
    policy = Policy.named(name)
    assert policy.ranges == ranges
    assert {THEIRS[one] for one in transform._AUGMENTATION_SPACE} == set(policy.operations)
    for their_name, (values, signed) in transform._AUGMENTATION_SPACE.items():
        operation = OPERATIONS[THEIRS[their_name]]
        expected = values(31, *SIZE)
        assert operation.signed == signed
        assert (expected is None) == (operation.standard is None)
        if expected is not None:
            own = [operation.value(magnitude, ranges, SIZE) for magnitude in range(31)]
            assert own == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("table", list(v2.AutoAugmentPolicy))
def test_autoaugment_has_torchvisions_sub_policies(table: Any) -> None:
    transform: Any = v2.AutoAugment(table)
    policy = Policy.named(f"autoaugment-{table.value}")
    assert policy.num_ops == 1
    for mine, its in zip(policy.operations, transform._policies, strict=True):
        for own, (name, probability, magnitude) in zip(in_order(mine), its, strict=True):
            values, signed = transform._AUGMENTATION_SPACE[name]
            assert (own.name, own.probability, own.weight) == (THEIRS[name], probability, 1)
            assert own.negated == signed
            spaced = values(10, *SIZE)
            assert (spaced is None) == (own.magnitude is None)
            if spaced is not None:
                low, high = own.values("standard") or (math.nan, math.nan)
                assert low == high
                its_value = pytest.approx(float(spaced[magnitude]), rel=1e-6, abs=1e-6)
                assert own.operation.own_value(low, "standard", SIZE) == its_value


def test_uniformaugment_does_each_of_two_operations_in_half_of_the_images() -> None:
    happened = ours(Policy.named("uniformaugment"))
    counts = Counter(map(len, happened))
    assert chisquare([counts[0], counts[1], counts[2]], [2_500, 5_000, 2_500]).pvalue > LEAST_P
    values = [value for one in happened for name, value in one if name == "posterize"]
    bits = Counter(values)
    assert sorted(bits) == [4, 5, 6, 7]
    assert chisquare([*bits.values()]).pvalue > LEAST_P


def test_three_augment_does_one_of_three_and_then_jitters_in_any_order() -> None:
    happened = ours(Policy.named("3-augment"))
    first = Counter(one[0][0] for one in happened)
    assert sorted(first) == ["gaussian_blur", "grey", "solarize"]
    assert chisquare([*first.values()]).pvalue > LEAST_P
    orders = Counter(tuple(name for name, _ in one[1:]) for one in happened)
    assert len(orders) == 6
    assert chisquare([*orders.values()]).pvalue > LEAST_P
    jitter: Any = v2.ColorJitter(0.3, 0.3, 0.3)
    low, high = jitter.brightness
    changes = [1 + value for one in happened for name, value in one if name == "brightness"]
    assert kstest(changes, "uniform", (low, high - low)).pvalue > LEAST_P


@pytest.mark.parametrize("shown", ready_names())
def test_every_ready_policy_is_taken_alone_and_after_flip_and_crop(shown: str) -> None:
    alone, after = Policy.named(shown), None
    if shown not in ("flip-crop", "flip-resized-crop"):
        after = Policy.named(f"flip-crop+{shown}")
        resized = Policy.named(f"flip-resized-crop+{shown}")
        assert resized == Policy(**dict(alone) | {"flip_horizontal": 0.5, "resized_crop": ResizedCrop()})
    assert read_policy(shown).policy == Policy.load(shown) == alone
    assert read_policy(shown).provenance == {"ready_policy": shown}
    if after is not None:
        assert after == alone.model_copy(update={"flip_horizontal": 0.5, "crop": 1.0})


def test_names_may_be_written_with_spaces_and_capitals() -> None:
    assert Policy.named("Flip-Crop + RandAugment(3, 12)") == Policy(
        num_ops=3, magnitude=12, flip_horizontal=0.5, crop=1.0
    )
    assert Policy.named("randaugment") == Policy(num_ops=2, magnitude=9)
    assert Policy.named("trivialaugment") == TRIVIALAUGMENT
    assert Policy.named("none") == Policy(num_ops=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trivalaugment", "trivalaugment: no such file, and no ready policy has that name; did you mean "),
        ("flip-crop+augment", "flip-crop+augment: no such file, and no ready policy has that name"),
        ("randaugment(2)", "randaugment takes 2 whole numbers; write randaugment(2,9)"),
        ("randaugment(2,-1)", "randaugment takes 2 whole numbers"),
        ("randaugment(2,99)", "randaugment(2,99): magnitude: must be a whole number from 0 to 30"),
        ("randaugment(9,9)", "randaugment(9,9): num_ops must be ≤ 8, got 9"),
        ("none(1)", "none takes no numbers; write none"),
        ("randaugment+flip-crop", "only flip-crop or flip-resized-crop may stand before the +"),
        ("flip-crop+flip-crop", "only flip-crop or flip-resized-crop may stand before the +, and once"),
        ("flip-crop+", "no ready policy has that name"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line(name: str, message: str) -> None:
    for read in (Policy.named, Policy.load, read_policy):
        with pytest.raises(UserError) as caught:
            read(name)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_of_a_ready_policys_name_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none").write_text('{"format": "augsearch-policy", "version": 1, "policy": {"num_ops": 3}}')
    assert read_policy("none").policy.num_ops == Policy.load("none").num_ops == 3
