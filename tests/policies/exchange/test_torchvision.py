"""The torchvision module: the same operations, the same draws, and nothing needed but torchvision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from torchvision import tv_tensors

from augsearch.policies import OPERATIONS, Mixing, Policy, UserError
from augsearch.policies.exchange.code import code_of
from augsearch.policies.exchange.form import Read, forms
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.regions import Erasing
from tests.policies.exchange.drawn import (
    DRAWS,
    agree,
    any_policy,
    assert_policy_or_line,
    loaded,
    made,
    photos,
)

FORM = forms()["torchvision"]
USUAL = Policy(num_ops=2, magnitude=9, crop=1.0, flip_horizontal=0.5)
SETTINGS_ALONE = made(USUAL, FORM).text.split("def train_transform")[0]


def read(text: str) -> Read:
    assert FORM.read
    return FORM.read(text)


def module_of(policy: Policy) -> Any:
    return loaded(made(policy, FORM).text)


def compared(policy: Policy, name: str) -> tuple[int, float]:
    """The largest difference in grey levels, and the largest share of pixels that differ by more than one."""
    module, operation = module_of(policy), OPERATIONS[name]
    rng, worst, share = np.random.default_rng(0), 0, 0.0
    for image in photos():
        for magnitude in (0, 9, 15, 30):
            for negative in (False, True) if operation.signed else (False,):
                noise = tuple(rng.random(operation.noise).tolist())
                ours = policy.apply((DrawnOperation(name, magnitude, negative, noise),), image)
                picture = PILImage.fromarray(image)
                value = module.value_of(name, magnitude, negative, picture.size)
                theirs = np.asarray(module.CHANGES[name](picture, value, list(noise)))
                differ = np.abs(ours.astype(int) - theirs).max(axis=2)
                worst, share = max(worst, int(differ.max())), max(share, float((differ > 1).mean()))
    return worst, share


@pytest.mark.parametrize("ranges", ["standard", "wide"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_does_the_same_to_photos(name: str, ranges: Any) -> None:
    worst, share = compared(Policy(operations=(name,), ranges=ranges, fill=(10, 20, 200)), name)
    kind = OPERATIONS[name].kind
    assert worst <= {"table": 0, "patch": 0, "colour": 1, "kernel": 1, "warp": 255}[kind]
    # Of warps, ties between two pixels; of enlarged parts, the 32 places that OpenCV has between two.
    assert share <= (0.05 if name == "resized_crop" else 0.03)


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.kind == "warp"])
def test_warps_do_the_same_with_mirrored_borders_and_smooth_ones_inside(name: str) -> None:
    most = 0.05 if name == "resized_crop" else 0.03
    assert compared(Policy(operations=(name,), border="reflect"), name)[1] <= most
    # Along the border PIL and OpenCV blend otherwise; of 64 pixels a side that is one in thirty.
    assert compared(Policy(operations=(name,), interpolation="bilinear"), name)[1] <= 0.05


@given(policy=any_policy)
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read_as_the_same_policy(policy: Policy) -> None:
    found = read(made(policy, FORM).text)
    assert found.policy == policy
    assert found.notes == ()


@pytest.mark.parametrize("fill", [(0, 0, 0), (9, 9, 200)])
def test_parts_are_enlarged_and_erased_by_torchvision_itself(fill: tuple[int, int, int]) -> None:
    policy = Policy.named("flip-resized-crop+randaugment(2,9)").model_copy(
        update={"erasing": Erasing(probability=1.0, largest=0.3), "fill": fill}
    )
    written = made(policy, FORM)
    assert read(written.text).policy == policy
    assert read(written.text).notes == ()
    assert any("given a size" in note for note in written.notes)
    module = loaded(written.text)
    crop, _, _, _, erasing, *_ = module.train_transform(size=24).transforms
    assert (crop.size, crop.scale, crop.ratio) == ((24, 24), (0.08, 1.0), (3 / 4, 4 / 3))
    assert (erasing.p, erasing.scale) == (1.0, (0.02, 0.3))
    torch.manual_seed(0)
    assert module.train_transform(size=24)(PILImage.fromarray(photos()[0])).shape == (3, 24, 24)
    with pytest.raises(ValueError, match=r"give one, as in train_transform\(size=224\)"):
        module.train_transform()


@pytest.mark.parametrize("policy", ["augmix(3,3)", "flip-crop"])
def test_what_fills_holes_stays_among_the_levels_of_floating_images(policy: str) -> None:
    grey = {"erasing": Erasing(probability=1.0, largest=0.3), "fill": (128, 128, 128)}
    module = module_of(Policy.named(policy).model_copy(update=grey))
    levels = torch.randint(256, (3, 32, 32), dtype=torch.uint8)
    for image in (PILImage.fromarray(photos()[0]), levels, levels / 255, levels[:1] / 255):
        torch.manual_seed(0)
        out = module.train_transform()(image)
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
    coloured = Policy.named(policy).model_copy(update=grey | {"fill": (128, 10, 128)})
    assert any("v2.RGB()" in note for note in made(coloured, FORM).notes)


def test_without_such_parts_the_module_says_nothing_of_them() -> None:
    text = made(USUAL, FORM).text
    assert not any(word in text for word in ("RESIZED_CROP", "ERASING", "enlarged", "def erase"))


@given(policy=any_policy)
@settings(max_examples=10, deadline=None)
def test_any_policy_augments_pictures_and_tensors(policy: Policy) -> None:
    module = module_of(policy)
    torch.manual_seed(0)
    picture = PILImage.fromarray(photos()[0])
    assert module.Augment()(picture).size == picture.size
    assert module.train_transform(size=24)(picture).shape == (3, 24, 24)
    assert module.val_transform()(picture.convert("L")).shape == (1, 64, 96)
    levels = torch.randint(256, (3, 9, 12), dtype=torch.uint8)
    for image in (levels, levels / 255, tv_tensors.Image(levels[:1])):
        result = module.Augment()(image)
        assert type(result) is type(image)
        assert (result.shape, result.dtype) == (image.shape, image.dtype)


@pytest.mark.parametrize(
    "policy",
    [
        USUAL,
        Policy(num_ops=1, magnitude="random", ranges="wide", quarter_turns=0.5, flip_vertical=0.25),
        Policy(num_ops=3, magnitude=4, operations=("crop", "flip_vertical", "invert", "solarize"), crop=0.5),
    ],
)
def test_it_draws_what_the_policy_draws(policy: Policy) -> None:
    module = module_of(policy)
    torch.manual_seed(1)
    draws = policy.draw(DRAWS, np.random.default_rng(1))
    ours = [[(one[0], one[1], one[2]) for one in draws.operations(index)] for index in range(DRAWS)]
    theirs = [
        [
            # Without a strength the magnitude says nothing, and the identity is left out of ours.
            (
                name,
                magnitude if "weakest" in module.OPERATIONS.get(name, {}) or name == "crop" else 0,
                negative,
            )
            for name, magnitude, negative, _ in module.draw()
            if name != "identity"
        ]
        for _ in range(DRAWS)
    ]
    assert agree([one for drawn in ours for one in drawn], [one for drawn in theirs for one in drawn]) > 0.001
    assert agree([len(drawn) for drawn in ours], [len(drawn) for drawn in theirs]) > 0.001
    firsts = (
        [drawn[0][0] if drawn else "" for drawn in ours],
        [drawn[0][0] if drawn else "" for drawn in theirs],
    )
    assert agree(*firsts) > 0.001


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_batches_are_mixed_as_often_and_by_as_much(kind: Any) -> None:
    mixing = Mixing(kind=kind, alpha=0.7, probability=0.4)
    mix = module_of(Policy(num_ops=0, mixing=mixing)).mixing(num_classes=4)
    ours = mixing.batch_transform(classes=4, seed=0)
    torch.manual_seed(0)
    images, labels = torch.rand(2, 1, 20, 20), torch.tensor([0, 1])
    array, classes = np.zeros((2, 20, 20, 1), np.uint8), np.array([0, 1])

    def kept(share: float) -> int:
        return int(max(share, 1 - share) * 8)  # their partner may be the image itself

    theirs = [kept(float(mix(images, labels)[1][0, 0])) for _ in range(1500)]
    other = [float(ours(array, classes)[1][0, 0]) for _ in range(3000)]
    # Half of our pairs of two mix an image with itself; those are left out on both sides.
    assert agree([kept(one) for one in other if one < 1], [one for one in theirs if one < 8]) > 0.001
    assert np.mean([one < 8 for one in theirs]) == pytest.approx(0.4, abs=0.06)
    unmixed = module_of(Policy(num_ops=0)).mixing(num_classes=4)
    assert unmixed(images, labels)[1].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_it_needs_torchvision_alone_and_works_in_a_loader(tmp_path: Path) -> None:
    (tmp_path / "augment.py").write_text(FORM.head(made(USUAL, FORM).text, ["A head."]))
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("augsearch", "cv2", "pydantic", "albumentations"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import torch
from torchvision.datasets import FakeData
from torch.utils.data import DataLoader
from augment import mixing, train_transform
data = FakeData(8, (3, 16, 16), 3, transform=train_transform())
def first():
    torch.manual_seed(0)
    return torch.cat([images for images, _ in DataLoader(data, 4, num_workers=2)])
images = first()
assert images.shape == (8, 3, 16, 16) and images.dtype == torch.float32
assert torch.equal(images, first())
print("ran", mixing(3)(images, torch.arange(8) % 3)[1].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("ran"), done.stderr


def test_labels_pass_through_and_what_would_have_to_move_along_is_refused() -> None:
    augment = module_of(USUAL).Augment()
    image = tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.uint8))
    assert augment(image, 3)[1] == 3
    with pytest.raises(TypeError, match="Mask"):
        augment(image, tv_tensors.Mask(torch.zeros(8, 8)))
    with pytest.raises(ValueError, match="mode RGBA"):
        augment(PILImage.new("RGBA", (4, 4)))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("NUM_OPS = 2", "NUM_OPS = 9", "num_ops must be ≤ 8, got 9"),
        ("NUM_OPS = 2", "NUM_OPS = len('ab')", "NUM_OPS is no plain value"),
        ("NUM_OPS = 2", "", "has no setting NUM_OPS"),
        ("NUM_OPS = 2", "NUM_OPS = 2\nNUM_OPS = 3", "NUM_OPS is set twice"),
        ('"strongest": 30.0', '"strongest": 20.0', "rotate has .*20.0.* can only have .*30.0"),
        ('"rotate":', '"turn":', "unknown operation 'turn'"),
        ('"crop": 1.0,', "", "look at crop"),
        ('"crop": 1.0,', '"crop": 2.0,', "crop must be ≤ 1, got 2.0"),
        ("MIXING = None", 'MIXING = {"kind": "cut"}', "MIXING: kind must be 'cutmix' or 'mixup'"),
        ("OPERATIONS = {", "OPERATIONS = 3 or {", "OPERATIONS is no plain value"),
        ("import math", "import (math", "not valid Python"),
    ],
)
def test_a_file_that_says_something_else_is_refused_in_one_line(old: str, new: str, line: str) -> None:
    text = made(USUAL, FORM).text
    assert old in text
    with pytest.raises(UserError, match=line) as caught:
        read(text.replace(old, new))
    assert "\n" not in str(caught.value)


def test_changed_settings_are_read_and_changed_code_is_said_and_never_run() -> None:
    text = made(USUAL, FORM).text
    changed = read(text.replace("MAGNITUDE = 9", "MAGNITUDE = 12"))
    assert changed.policy == USUAL.model_copy(update={"magnitude": 12})
    assert changed.notes == ()
    (note,) = read(text.replace("return F.invert", "return 1 / 0") + "\n1 / 0\n").notes
    assert "only the settings were read" in note
    assert code_of(text, set()) != code_of(text + "\n1 / 0\n", set())


@given(text=st.text() | st.binary().map(lambda content: content.decode("latin-1")))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_policy_or_one_line(text: str) -> None:
    for one in (text, SETTINGS_ALONE.replace("9", text, 1)):
        assert_policy_or_line(read, one)
