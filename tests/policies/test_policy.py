"""Policies: validation, drawing, fusing, mixing."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from augsearch.policies import OPERATIONS, RANDAUGMENT, TRIVIALAUGMENT, Mixing, Policy, UserError, draw_mix
from augsearch.policies.backends.opencv.prepared import CACHE_BYTES
from augsearch.policies.backends.opencv.runner import run
from augsearch.policies.effects import Size, Tables, Warp, fuse
from augsearch.policies.errors import explain
from augsearch.policies.planner import DrawnOperation, effect_of
from augsearch.policies.sampling import Sampling


def noise_images(count: int = 16, side: int = 12, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


policies = st.builds(
    Policy,
    num_ops=st.integers(0, 4),
    magnitude=st.one_of(st.integers(0, 30), st.just("random")),
    ranges=st.sampled_from(["standard", "wide"]),
    operations=st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, unique=True).map(tuple),
    crop=st.sampled_from([0.0, 0.5, 1.0]),
    flip_horizontal=st.sampled_from([0.0, 0.5]),
    flip_vertical=st.sampled_from([0.0, 0.5]),
    quarter_turns=st.sampled_from([0.0, 0.5]),
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    border=st.sampled_from(["fill", "reflect"]),
    fill=st.tuples(*[st.integers(0, 255)] * 3),
)


@given(
    policy=policies,
    seed=st.integers(0, 99),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=150)
def test_any_policy_works_on_any_batch_and_repeats_itself(
    policy: Policy, seed: int, height: int, width: int, channels: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (5, height, width, channels), dtype=np.uint8)
    before = images.copy()
    first = policy.augment(images, np.random.default_rng(seed))
    second = policy.augment(images, np.random.default_rng(seed))
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(images, before)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


def drawn_recipes(policy: Policy, count: int, seed: int) -> list[tuple[DrawnOperation, ...]]:
    draws = policy.draw(count, np.random.default_rng(seed))
    return [draws.operations(index) for index in range(count)]


@given(policy=policies, seed=st.integers(0, 99), channels=st.sampled_from([1, 3]))
@settings(max_examples=150)
def test_a_batch_gets_what_each_image_would_get_alone(policy: Policy, seed: int, channels: int) -> None:
    """Many images at a time, remembered steps and unfused tables change nothing."""
    images = noise_images(24, seed=seed, channels=channels)
    images[0] = 77  # of one grey value
    images[1] = np.arange(12, dtype=np.uint8)[:, None, None] * 23  # and with all extremes
    recipes = drawn_recipes(policy, 24, seed)
    alone = [policy.apply(recipe, image) for recipe, image in zip(recipes, images, strict=True)]
    np.testing.assert_array_equal(policy.augment(images, np.random.default_rng(seed)), alone)


def test_large_images_get_what_small_ones_get() -> None:
    """They take another way through the engine."""
    side = int((CACHE_BYTES / 3) ** 0.5) + 1
    images = noise_images(12, side=side)
    policy = Policy(num_ops=3, operations=tuple(OPERATIONS), crop=1.0)
    recipes = drawn_recipes(policy, 12, seed=4)
    alone = [policy.apply(recipe, image) for recipe, image in zip(recipes, images, strict=True)]
    np.testing.assert_array_equal(policy.augment(images, np.random.default_rng(4)), alone)


def test_the_default_is_randaugment_2_9_and_draws_its_operations_uniformly() -> None:
    policy = Policy()
    recipes = drawn_recipes(policy, 14_000, seed=0)
    counts = Counter(drawn.operation for recipe in recipes for drawn in recipe)
    counts["identity"] = 28_000 - counts.total()  # leaves no trace
    assert set(counts) == set(RANDAUGMENT)
    assert len(RANDAUGMENT) == 14
    assert all(abs(count - 2000) < 5 * np.sqrt(2000) for count in counts.values())
    assert max(len(recipe) for recipe in recipes) == 2
    with_magnitude = [d for recipe in recipes for d in recipe if OPERATIONS[d.operation].standard]
    assert {drawn.magnitude for drawn in with_magnitude} == {9}
    signed = [drawn.negative for drawn in with_magnitude if OPERATIONS[drawn.operation].signed]
    assert abs(np.mean(signed) - 0.5) < 0.02


def test_trivialaugment_draws_one_operation_of_any_magnitude() -> None:
    recipes = drawn_recipes(TRIVIALAUGMENT, 9_000, seed=0)
    assert {len(recipe) for recipe in recipes} == {0, 1}  # the identity leaves no trace
    counts = Counter(d.magnitude for (d,) in filter(None, recipes) if OPERATIONS[d.operation].standard)
    assert set(counts) == set(range(31))


def test_basic_transforms_come_with_their_probability_and_before_the_operations() -> None:
    policy = Policy(operations=("invert",), crop=1.0, flip_horizontal=0.25, quarter_turns=0.6)
    recipes = drawn_recipes(policy, 10_000, seed=1)
    assert all(recipe[-2:] == (DrawnOperation("invert", 0, False, ()),) * 2 for recipe in recipes)
    assert all(recipe[0].operation == "crop" for recipe in recipes)
    shares = Counter(drawn.operation for recipe in recipes for drawn in recipe[:-2])
    assert abs(shares["flip_horizontal"] / 10_000 - 0.25) < 0.02
    assert "flip_vertical" not in shares
    for turn in ("rotate_90", "rotate_180", "rotate_270"):
        assert abs(shares[turn] / 10_000 - 0.2) < 0.02


def test_no_operations_and_no_transforms_is_no_augmentation() -> None:
    images = noise_images()
    np.testing.assert_array_equal(Policy(num_ops=0).augment(images, np.random.default_rng(0)), images)


def one_by_one(recipe: tuple[DrawnOperation, ...], image: np.ndarray) -> np.ndarray:
    for drawn in recipe:
        effect = effect_of(drawn, "standard", Size(*image.shape[:2]))
        if effect is not None:
            image = run(fuse([effect]), image, Sampling())
    return image


@given(
    names=st.lists(
        st.sampled_from([name for name, op in OPERATIONS.items() if op.kind == "table"]),
        min_size=1,
        max_size=4,
    ),
    magnitude=st.integers(0, 30),
    seed=st.integers(0, 999),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=150)
def test_fused_tables_equal_tables_one_by_one(
    names: list[str], magnitude: int, seed: int, channels: int
) -> None:
    image = noise_images(1, seed=seed, channels=channels)[0] // 2 + 40
    recipe = tuple(
        DrawnOperation(name, magnitude, OPERATIONS[name].signed and seed % 2 == 1, ()) for name in names
    )
    fused = Policy().apply(recipe, image)
    np.testing.assert_array_equal(fused, one_by_one(recipe, image))


def test_neighbouring_tables_and_warps_become_one_step_each() -> None:
    names = ("rotate", "shear_x", "flip_horizontal", "solarize", "equalize", "invert", "auto_contrast")
    effects = [effect_of(DrawnOperation(name, 9, False, ()), "standard", Size(32, 32)) for name in names]
    assert [type(step) for step in fuse(filter(None, effects))] == [Warp, Tables]


@given(
    names=st.lists(
        st.sampled_from(["flip_horizontal", "flip_vertical", "rotate_90", "rotate_180", "rotate_270"]),
        min_size=1,
        max_size=5,
    ),
    side=st.integers(1, 17),
)
def test_fused_flips_and_turns_equal_numpys(names: list[str], side: int) -> None:
    image = noise_images(1, side=side)[0]
    numpys = {
        "flip_horizontal": lambda a: a[:, ::-1],
        "flip_vertical": lambda a: a[::-1],
        "rotate_90": np.rot90,
        "rotate_180": lambda a: np.rot90(a, 2),
        "rotate_270": lambda a: np.rot90(a, 3),
    }
    expected = image
    for name in names:
        expected = numpys[name](expected)
    fused = Policy().apply(tuple(DrawnOperation(name, 0, False, ()) for name in names), image)
    np.testing.assert_array_equal(fused, expected)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"magnitude": 31}, "magnitude: must be a whole number from 0 to 30 or 'random', got 31"),
        ({"num_ops": -1}, "num_ops must be ≥ 0, got -1"),
        ({"operations": ["rotate", "spin"]}, "operations: unknown operation 'spin'; known are identity, "),
        ({"operations": ["rotate", "rotate"]}, "operations: each operation may stand there once"),
        ({"operations": []}, "operations must not be empty when num_ops is 2"),
        ({"crop": float("nan")}, "crop must be"),
        ({"crop": 1.5}, "crop must be ≤ 1, got 1.5"),
        ({"mixing": {"kind": "cutmix", "alpha": 0}}, "mixing.alpha must be > 0, got 0"),
        ({"fill": [0, 0, 256]}, "fill: must be three grey levels from 0 to 255"),
        ({"strength": 3}, "strength is not a known field"),
    ],
)
def test_a_bad_field_is_named_with_rule_and_value(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate(settings_)
    assert explain(caught.value).startswith(message)
    assert "\n" not in explain(caught.value)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 8, 8, 3), np.int16),
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 3, 32, 32), np.uint8),
    ],
)
def test_other_arrays_are_refused_by_name(images: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"images must be an array .* uint8, uint16 or floating"):
        Policy().augment(images, np.random.default_rng(0))


def test_strided_read_only_and_empty_batches_work() -> None:
    images = noise_images(8, side=24)
    images.flags.writeable = False
    strided = images[::2, ::2, ::-2]
    copied = np.ascontiguousarray(strided)
    for policy in (Policy(num_ops=4, crop=1.0), TRIVIALAUGMENT):
        np.testing.assert_array_equal(
            policy.augment(strided, np.random.default_rng(3)),
            policy.augment(copied, np.random.default_rng(3)),
        )
    assert Policy().augment(images[:0], np.random.default_rng(0)).shape == (0, 24, 24, 3)


@pytest.mark.parametrize("name", ["flip-crop+randaugment(2,9)", "augmix", "none"])
@pytest.mark.parametrize(
    "images",
    [noise_images(7, side=24), noise_images(7, side=24)[..., :1], np.zeros((3, 9, 12, 4), np.uint8)],
    ids=["RGB", "grey", "bands"],
)
def test_a_batch_goes_into_memory_that_is_there(name: str, images: np.ndarray) -> None:
    for batch in (images, (images / 255).astype(np.float32)):
        policy, out = Policy.named(name), np.ones_like(batch)
        before = batch.copy()
        result = policy.batch_transform(seed=3)(batch, out)
        assert result is out
        np.testing.assert_array_equal(out, policy.batch_transform(seed=3)(batch))
        np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (
            np.zeros((4, 8, 8, 1), np.uint8),
            r"out must be an array to write to, C-contiguous, uint8 \(4, 8, 8, 3\)",
        ),
        (np.zeros((4, 8, 8, 3), np.float32), "out must be an array to write to"),
        (np.zeros((4, 8, 8, 3), np.uint8)[:, ::-1], "out must be an array to write to"),
        ([1], "out must be an array to write to"),
    ],
)
def test_memory_that_a_batch_does_not_fit_into_is_refused(out: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Policy().augment(np.zeros((4, 8, 8, 3), np.uint8), np.random.default_rng(0), out)


def test_a_batch_is_not_written_over_itself() -> None:
    images = noise_images(4, side=8)
    with pytest.raises(UserError, match="out must have memory of its own"):
        Policy().augment(images, np.random.default_rng(0), images)


def test_single_image_transform_takes_grey_and_colour_and_survives_pickling_of_its_policy() -> None:
    policy = pickle.loads(pickle.dumps(Policy(crop=1.0)))
    for shape in [(9, 7), (9, 7, 1), (9, 7, 3)]:
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        first = [policy.transform(seed=5)(image) for _ in range(2)]
        assert first[0].shape == shape
        np.testing.assert_array_equal(*first)


def test_mixing_happens_with_its_probability() -> None:
    rng = np.random.default_rng(0)
    mixing = Mixing(kind="mixup", probability=0.3)
    share = np.mean([draw_mix(mixing, 4, (8, 8), rng) is not None for _ in range(4000)])
    assert abs(share - 0.3) < 0.03
    assert draw_mix(None, 4, (8, 8), rng) is None
