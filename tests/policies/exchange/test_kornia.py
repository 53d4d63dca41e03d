"""The kornia module: the same operations and draws, for batches, with the real package."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms.v2 import functional

from augsearch.policies import OPERATIONS, Mixing, Policy
from augsearch.policies.effects import Size
from augsearch.policies.exchange.form import Read, forms
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.regions import REGION_NOISE, Erasing, cropped
from tests.policies.draws import Drawn, drawn
from tests.policies.exchange.drawn import (
    agree,
    any_policy,
    assert_policy_or_line,
    loaded,
    made,
    photos,
)
from tests.policies.strategies import lists_of_choices

pytest.importorskip("kornia", reason="kornia is not here; pip install 'augsearch[bench]'")

FORM = forms()["kornia"]
HAS = list(OPERATIONS)
USUAL = Policy(num_ops=2, magnitude=9, crop=1.0, flip_horizontal=0.5)
LEAST_P = 1e-4


def read(text: str) -> Read:
    assert FORM.read
    return FORM.read(text)


def module_of(policy: Policy) -> Any:
    return loaded(made(policy, FORM).text)


def batch(*images: Any) -> torch.Tensor:
    """Images (H, W, C) as a batch in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


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
        values = torch.tensor([module.value_of(name, *case[:2], size) for case in cases])
        noise = torch.tensor([case[2] for case in cases], dtype=torch.float64)
        changed = module.changed(name, batch(*[image] * len(cases)), values, noise)
        theirs = (changed * 255).round().permute(0, 2, 3, 1).numpy().astype(int)
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
        assert share <= 0.03  # ties between two pixels
    else:
        assert worst <= 1


@pytest.mark.parametrize("name", [name for name in HAS if OPERATIONS[name].kind == "warp"])
def test_warps_do_the_same_with_mirrored_borders_and_smooth_ones_inside(name: str) -> None:
    assert compared(Policy(operations=(name,), border="reflect"), name)[1] <= 0.03
    assert compared(Policy(operations=(name,), interpolation="bilinear"), name)[1] <= 0.05


def test_images_of_a_batch_are_changed_each_by_its_own_value() -> None:
    module = module_of(Policy(operations=("rotate", "brightness"), ranges="wide"))
    images = batch(*[photos()[1]] * 3)
    for name, values in (("rotate", [0.0, 90.0, -45.0]), ("brightness", [0.5, -0.5, 0.0])):
        together = module.changed(name, images, torch.tensor(values), torch.zeros(3, 0))
        for row, value in enumerate(values):
            alone = module.changed(name, images[:1], torch.tensor([value]), torch.zeros(1, 0))
            assert torch.equal(together[row], alone[0])


@given(policy=any_policy)
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_any_policy_comes_back_and_augments_batches(policy: Policy) -> None:
    text = made(policy, FORM).text
    assert read(text) == Read(policy, notes=())
    module = loaded(text)
    torch.manual_seed(0)
    levels = torch.randint(256, (3, 3, 9, 12), dtype=torch.uint8)
    for images in (levels, levels / 255, levels[:, :1]):
        before = images.clone()
        changed = module.train_transform()(images)
        assert (changed.shape, changed.dtype) == (images.shape, torch.float32)
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
        assert torch.equal(images, before)


@given(data=st.data(), ranges=st.sampled_from(["standard", "wide"]))
@settings(max_examples=8, deadline=None)
def test_any_choices_come_back(data: Any, ranges: Any) -> None:
    policy = Policy(num_ops=1, ranges=ranges, operations=data.draw(lists_of_choices(ranges)))
    assert read(made(policy, FORM).text) == Read(policy, notes=())


@pytest.mark.parametrize("name", ["flip-crop+randaugment(2,9)", "autoaugment-cifar10"])
def test_each_image_of_a_batch_draws_as_the_policy_does(name: str) -> None:
    policy, module = Policy.named(name), module_of(Policy.named(name))
    happened: list[list[tuple[str, float]]] = []
    size = Size(20, 30)

    def told(name: str, images: torch.Tensor, values: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        for row, value in zip(images[:, 0, 0, 0].long().tolist(), values.tolist(), strict=True):
            shown = math.trunc(value) if name.startswith("translate") else round(value, 4) + 0.0
            happened[row].append((name, shown))
        return images

    module.changed = told
    theirs: list[Drawn] = []
    torch.manual_seed(0)
    images = torch.arange(500.0).reshape(-1, 1, 1, 1).expand(500, 3, *size)
    for _ in range(8):
        happened = [[] for _ in range(500)]
        module.Augment()(images)
        theirs += [tuple(one for one in drawn if one[0] != "identity") for drawn in happened]
    ours = [tuple((name, round(value, 4) + 0.0) for name, value in one) for one in drawn(policy, 4000, size)]
    assert agree([one for each in ours for one in each], [one for each in theirs for one in each]) > LEAST_P
    names = [[tuple(name for name, _ in one) for one in each] for each in (ours, theirs)]
    assert agree(*names) > LEAST_P


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_batches_are_mixed_as_often_and_by_as_much(kind: Any) -> None:
    mixing = Mixing(kind=kind, alpha=0.7, probability=0.4)
    mix = module_of(Policy(num_ops=0, mixing=mixing)).mixing(num_classes=2)
    ours = mixing.batch_transform(classes=2, seed=0)
    torch.manual_seed(0)
    labels = np.array([0, 1])
    array = np.zeros((2, 20, 20, 1), np.uint8)
    array[1] = 255
    first = [float(ours(array, labels)[1][0, 0]) for _ in range(3000)]
    second = []
    for _ in range(3000):
        images, targets = mix(batch(*array), torch.from_numpy(labels))
        second.append(float(targets[0, 0]))
        assert float(images[0].mean()) == pytest.approx(float(targets[0, 1]), abs=1e-5)
    assert agree([int(one * 8) for one in first], [int(one * 8) for one in second]) > LEAST_P


def test_it_needs_kornia_alone_and_goes_where_the_images_are(tmp_path: Path) -> None:
    (tmp_path / "augment.py").write_text(FORM.head(made(USUAL, FORM).text, ["A head."]))
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("augsearch", "torchvision", "cv2", "pydantic", "albumentations"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import torch
from augment import mixing, train_transform, val_transform
images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
augment = train_transform([0.5] * 3, [0.25] * 3)
torch.manual_seed(0)
once = augment(images)
torch.manual_seed(0)
assert torch.equal(once, augment(images)) and once.shape == images.shape
assert torch.equal(val_transform()(images), images / 255)
print("ran", mixing(3)(once, torch.arange(4) % 3)[1].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("ran"), done.stderr


def test_every_tensor_is_made_where_the_images_are() -> None:
    # Tensors "on" a device that is not here, which raises where devices are mixed.
    from torch._subclasses import FakeTensorMode

    module = module_of(Policy(operations=tuple(HAS), fill=(1, 2, 3)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.rand(2, 3, 12, 16, device="cuda")
        for name in HAS:
            if name != "gaussian_blur":  # it asks for the largest value
                values, noise = torch.rand(2), torch.rand(2, OPERATIONS[name].noise)
                assert module.changed(name, images, values, noise).device.type == "cuda", name


def test_wrong_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)"):
        module_of(USUAL).train_transform()(torch.zeros(3, 8, 8))


@given(text=st.text(max_size=40), place=st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_policy_or_one_line(text: str, place: int) -> None:
    assert_policy_or_line(read, text)
    assert_policy_or_line(read, WHOLE[:place] + text + WHOLE[place:])


WHOLE = made(USUAL, FORM).text


def test_parts_are_enlarged_by_kornia_itself_as_often_the_same_ones() -> None:
    policy = Policy.named("flip-resized-crop+randaugment(2,9)")
    written = made(policy, FORM)
    assert read(written.text) == Read(policy, notes=())
    assert any("must be given a size" in note for note in written.notes)
    assert "train_transform(size=224).to(device)" in FORM.head(written.text, [])
    module = loaded(written.text)
    photo = torch.from_numpy(np.stack([photos()[0]] * 3)).permute(0, 3, 1, 2)
    assert module.train_transform(size=24)(photo).shape == (3, 3, 24, 24)
    *_, crop = module.enlarged(24)
    torch.manual_seed(0)
    corners = crop.forward_parameters(torch.Size((3000, 3, 75, 100)))["src"]
    sides = corners[:, 2] - corners[:, 0] + 1
    rng = np.random.default_rng(0)
    noise = rng.random((3000, REGION_NOISE)).tolist()
    own = np.array([cropped(100, 75, 0.08, one, aspect=1.0) for one in noise], float)
    for theirs, ours in zip(torch.cat((corners[:, 0], sides), dim=1).T, own.T, strict=True):
        assert ks_2samp(theirs.numpy(), ours).pvalue > LEAST_P


def test_an_enlarged_part_has_the_pixels_that_torchvision_gives_it() -> None:
    *_, crop = module_of(Policy.named("flip-resized-crop")).enlarged(40)
    images = batch(photos()[0])
    torch.manual_seed(3)
    params = crop.forward_parameters(images.shape)
    (left, top), (right, bottom) = params["src"][0, 0].long().tolist(), params["src"][0, 2].long().tolist()
    part = functional.resized_crop(
        images, top, left, bottom - top + 1, right - left + 1, [40, 40], antialias=False
    )
    assert float((crop(images, params=params) - part).abs().max()) < 1 / 255


def test_erasing_is_as_frequent_and_as_large_as_the_policys() -> None:
    policy = Policy(num_ops=0, erasing=Erasing(probability=0.3, largest=0.25), fill=(250, 0, 0))
    assert read(made(policy, FORM).text).policy.erasing == policy.erasing
    module = module_of(policy)
    torch.manual_seed(0)
    white = np.full((4000, 18, 24, 3), 99, np.uint8)
    theirs = module.train_transform()(torch.from_numpy(white).permute(0, 3, 1, 2)) * 255
    ours = policy.augment(white, np.random.default_rng(0))
    filled = [
        [
            (each[0].min(), each[0].max(), each[1].min(), each[1].max()) if each[0].size else None
            for each in parts
        ]
        for parts in (
            [np.nonzero(image == 250) for image in theirs[:, 0].round().numpy()],
            [np.nonzero(image == 250) for image in ours[..., 0]],
        )
    ]
    assert agree(*[[one is None for one in each] for each in filled]) > 1e-4
    for at in range(4):
        assert agree(*[[one[at] // 4 for one in each if one] for each in filled]) > 1e-4
