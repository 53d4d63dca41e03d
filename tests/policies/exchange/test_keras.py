"""The Keras module: a layer that does and draws what the policy does, with the real package on torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from augsearch.policies import OPERATIONS, Mixing, Policy
from augsearch.policies.effects import Size
from augsearch.policies.exchange.form import Read, forms
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.regions import REGION_NOISE, Erasing, ResizedCrop, cropped, erased
from tests.policies.draws import Drawn, drawn
from tests.policies.exchange.drawn import agree, any_policy, assert_policy_or_line, loaded, made, photos
from tests.policies.exchange.test_torchvision_choices import EVERYTHING
from tests.policies.strategies import lists_of_choices

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not here; pip install 'augsearch[others]'")

# Of Keras, which asks torch's tensors for what NumPy 2 wants otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FORM = forms()["keras"]
HAS = list(OPERATIONS)
USUAL = Policy(num_ops=2, magnitude=9, crop=1.0, flip_horizontal=0.5)
LEAST_P = 1e-4


def read(text: str) -> Read:
    assert FORM.read
    return FORM.read(text)


def module_of(policy: Policy) -> Any:
    return loaded(made(policy, FORM).text)


def changed(module: Any, name: str, images: Any, values: Any, noise: Any) -> Any:
    levels, count = keras.ops.convert_to_tensor(np.stack(images).astype(np.float32)), len(images)
    padded = np.zeros((count, REGION_NOISE), np.float32)
    padded[:, : np.shape(noise)[1]] = noise
    which = keras.ops.zeros((count,), "int32")
    tensors = [keras.ops.convert_to_tensor(np.asarray(one, np.float32)) for one in (values, padded)]
    return keras.ops.convert_to_numpy(module.changed(levels, (name,), which, *tensors))


def compared(policy: Policy, name: str) -> tuple[int, float]:
    """The largest difference in grey levels, and the largest share of pixels that differ by more than one."""
    module, operation = module_of(policy), OPERATIONS[name]
    rng, worst, share = np.random.default_rng(0), 0, 0.0
    for image in photos():
        size = (image.shape[1], image.shape[0])
        cases = [
            (magnitude, negative, tuple(rng.random(operation.noise).tolist()))
            for magnitude in (0, 9, 15, 30)
            for negative in ((False, True) if operation.signed else (False,))
        ]
        table = module.magnitudes_of({"name": name}, size) if policy.num_ops else np.full(31, 0.125)
        values = [(-1 if negative else 1) * table[magnitude] for magnitude, negative, _ in cases]
        theirs = changed(module, name, [image] * len(cases), values, [case[2] for case in cases])
        for case, one in zip(cases, theirs, strict=True):
            ours = policy.apply((DrawnOperation(name, *case),), image).astype(int)
            differ = np.abs(ours - one).max(axis=2)
            worst, share = max(worst, int(differ.max())), max(share, float((differ > 1).mean()))
    return worst, share


@pytest.mark.parametrize("ranges", ["standard", "wide"])
@pytest.mark.parametrize("name", HAS)
def test_every_operation_does_the_same_to_photos(name: str, ranges: Any) -> None:
    worst, share = compared(Policy(operations=(name,), ranges=ranges, fill=(10, 20, 200)), name)
    if OPERATIONS[name].kind == "warp":
        # Ties between two pixels; of an enlarged part OpenCV has 32 places between two, Keras all.
        assert share <= (0.05 if name == "resized_crop" else 0.03)
    else:
        assert worst <= 1


@pytest.mark.parametrize("name", [name for name in HAS if OPERATIONS[name].kind == "warp"])
def test_warps_do_the_same_with_mirrored_borders_and_smooth_ones_inside(name: str) -> None:
    most = 0.05 if name == "resized_crop" else 0.03
    assert compared(Policy(operations=(name,), border="reflect"), name)[1] <= most
    assert compared(Policy(operations=(name,), interpolation="bilinear"), name)[1] <= 0.05


def drawn_by(module: Any, count: int, size: Size) -> list[Drawn]:
    """What the module draws for each image: operations in order, each with its value."""
    happened: list[list[tuple[str, float]]] = [[] for _ in range(count)]
    generator = keras.random.SeedGenerator(0)
    for names, which, values, _ in module.draw(count, size.width, size.height, generator):
        plain = (keras.ops.convert_to_numpy(one).tolist() for one in (which, values))
        for row, (at, value) in enumerate(zip(*plain, strict=True)):
            if at >= 0 and names[int(at)] != "identity":
                name = names[int(at)]
                shown = np.trunc(value) if name.startswith("translate") else value
                happened[row].append((name, float(shown)))
    return [tuple(one) for one in happened]


def rounded(draws: list[Drawn]) -> list[Any]:
    return [(name, float(f"{value:.4g}") + 0.0) for one in draws for name, value in one]


@pytest.mark.parametrize("name", ["flip-crop+randaugment(2,9)", "trivialaugment", "autoaugment-cifar10"])
def test_each_image_draws_as_the_policy_does(name: str) -> None:
    policy, size = Policy.named(name), Size(224, 320)
    ours, theirs = drawn(policy, 10_000, size), drawn_by(module_of(policy), 10_000, size)
    assert agree(rounded(ours), rounded(theirs)) > LEAST_P
    names = [[tuple(name for name, _ in one) for one in each] for each in (ours, theirs)]
    assert agree(*names) > LEAST_P


def test_choices_of_their_own_are_drawn_as_often_and_as_strongly() -> None:
    size = Size(224, 320)
    ours, theirs = drawn(EVERYTHING, 10_000, size), drawn_by(module_of(EVERYTHING), 10_000, size)
    names = [[tuple(name for name, _ in one) for one in each] for each in (ours, theirs)]
    assert agree(*names) > LEAST_P
    for name in {name for one in ours for name, _ in one}:
        first, second = (
            [value for one in each for at, value in one if at == name] for each in (ours, theirs)
        )
        assert ks_2samp(np.round(first, 4), np.round(second, 4)).pvalue > LEAST_P, name


def part_of(noise: Any, name: str, value: float, size: Size) -> Any:
    """What the module makes of random numbers (N, 22): rows of left, top, width and height."""
    module = module_of(Policy(num_ops=0, resized_crop=ResizedCrop(), erasing=Erasing()))
    tensor = keras.ops.convert_to_tensor(np.asarray(noise, np.float32))
    values = keras.ops.full((len(noise),), value)
    found = getattr(module, name)(values, tensor, (size.width, size.height))
    if name == "resized_crop":
        return np.stack([keras.ops.convert_to_numpy(one) for one in found], axis=1).astype(int)
    rows = []
    for covered in keras.ops.convert_to_numpy(found):
        y, x = np.nonzero(covered)
        rows.append((x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1) if len(x) else (0, 0, 0, 0))
        assert covered.sum() == rows[-1][2] * rows[-1][3]
    return np.array(rows)


@pytest.mark.parametrize("size", [Size(96, 64), Size(30, 200), Size(9, 9), Size(1, 7)])
@pytest.mark.parametrize("value", [0.02, 0.08, 0.3333, 0.9])
def test_parts_follow_from_the_same_numbers(size: Size, value: float) -> None:
    noise = np.random.default_rng(0).random((300, REGION_NOISE)).astype(np.float32)
    ours = [cropped(size.width, size.height, value, row.tolist()) for row in noise]
    theirs = part_of(noise, "resized_crop", value, size)
    # Sides that lie exactly between two numbers fall to either, by the last bit.
    assert (np.array(ours) == theirs).all(axis=1).mean() >= 0.98
    holes = [erased(size.width, size.height, value, row.tolist()) or (0, 0, 0, 0) for row in noise]
    assert (np.array(holes) == part_of(noise, "erase", value, size)).all(axis=1).mean() >= 0.98


def test_parts_are_drawn_for_as_many_images_and_in_their_order() -> None:
    policy = Policy.named("flip-resized-crop+randaugment(2,9)").model_copy(
        update={"erasing": Erasing(probability=0.3, largest=0.5), "fill": (9, 200, 30)}
    )
    text = made(policy, FORM).text
    assert read(text) == Read(policy, notes=())
    module, size = loaded(text), Size(224, 320)
    ours, theirs = drawn(policy, 10_000, size), drawn_by(module, 10_000, size)
    names = [[tuple(name for name, _ in one) for one in each] for each in (ours, theirs)]
    for each in names:
        assert all(one[0] == "resized_crop" for one in each)
        assert all(one[-1] == "erase" for one in each if "erase" in one)
    assert agree(*names) > LEAST_P
    assert agree(*(["erase" in one for one in each] for each in names)) > LEAST_P
    white = np.full((40, 24, 32, 3), 255, np.uint8)
    erasing = loaded(made(policy.model_copy(update={"num_ops": 0}), FORM).text).Augment(seed=1)
    result = keras.ops.convert_to_numpy(erasing(white, training=True))
    assert {tuple(level) for level in result.reshape(-1, 3).astype(int)} == {(255,) * 3, (9, 200, 30)}


def test_without_such_parts_the_module_is_what_it_was() -> None:
    text = made(USUAL, FORM).text
    assert "MOST_NOISE = 8\n" in text
    words = ("RESIZED_CROP", "ERASING", "enlarged", "def erase", "def tried", "draw_part", "PARTS")
    assert not any(word in text for word in words)


@given(policy=any_policy)
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_any_policy_comes_back_and_augments_batches(policy: Policy) -> None:
    text = made(policy, FORM).text
    assert read(text) == Read(policy, notes=())
    layer = loaded(text).Augment(seed=0)
    levels = np.random.default_rng(0).integers(0, 256, (3, 9, 12, 3), dtype=np.uint8)
    for images in (levels, levels[..., :1]):
        result = keras.ops.convert_to_numpy(layer(images, training=True))
        assert (result.shape, result.dtype) == (images.shape, np.float32)
        assert 0 <= result.min() <= result.max() <= 255
        assert np.array_equal(keras.ops.convert_to_numpy(layer(images, training=False)), images)


@given(data=st.data(), ranges=st.sampled_from(["standard", "wide"]))
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_any_choices_come_back(data: Any, ranges: Any) -> None:
    policy = Policy(num_ops=1, ranges=ranges, operations=data.draw(lists_of_choices(ranges)))
    assert read(made(policy, FORM).text) == Read(policy, notes=())


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_batches_are_mixed_as_often_and_by_as_much(kind: Any) -> None:
    mixing = Mixing(kind=kind, alpha=0.7, probability=0.4)
    mix = module_of(Policy(num_ops=0, mixing=mixing)).Mix(seed=0)
    ours = mixing.batch_transform(classes=2, seed=0)
    labels, array = np.array([0, 1]), np.zeros((2, 20, 20, 1), np.uint8)
    array[1] = 1
    first = [float(ours(array, labels)[1][0, 0]) for _ in range(4000)]
    second = []
    for _ in range(400):
        images, targets = map(keras.ops.convert_to_numpy, mix(array, np.eye(2)))
        second.append(float(targets[0, 0]))
        assert float(images[0].mean()) == pytest.approx(float(targets[0, 1]), abs=1e-4)
    assert agree([int(one * 8) for one in first], [int(one * 8) for one in second]) > LEAST_P


def test_it_needs_keras_alone_and_goes_into_a_model(tmp_path: Path) -> None:
    (tmp_path / "augment.py").write_text(FORM.head(made(USUAL, FORM).text, ["A head."]))
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("augsearch", "torchvision", "cv2", "pydantic", "albumentations"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import keras, numpy as np
from augment import Augment, Mix
images = np.random.default_rng(0).random((8, 16, 16, 3)).astype("float32")
augment = Augment(value_range=(0, 1), seed=3)
once = keras.ops.convert_to_numpy(augment(images, training=True))
again = keras.ops.convert_to_numpy(Augment.from_config(augment.get_config())(images, training=True))
assert (once == again).all() and not (once == images).all()
layers = [keras.layers.Input((16, 16, 3)), augment, keras.layers.Flatten(), keras.layers.Dense(2)]
model = keras.Sequential(layers)
model.compile("sgd", "mse")
model.fit(images, np.zeros((8, 2)), verbose=0)
assert model.predict(images, verbose=0).shape == (8, 2)
print("ran", Mix()(images, np.eye(2)[np.arange(8) % 2])[1].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("ran"), done.stderr


def test_wrong_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(B, H, W, C\)"):
        module_of(USUAL).Augment()(np.zeros((2, 3, 8, 8)), training=True)


WHOLE = made(USUAL, FORM).text


@given(text=st.text(max_size=40), place=st.integers(0, 3000))
@settings(max_examples=40, deadline=None)
def test_any_text_is_a_policy_or_one_line(text: str, place: int) -> None:
    assert_policy_or_line(read, text)
    assert_policy_or_line(read, WHOLE[:place] + text + WHOLE[place:])
