"""Parts that are enlarged and parts that are erased: drawn as torchvision draws them, the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision import tv_tensors
from torchvision.transforms import RandomResizedCrop, v2

from augsearch.policies import Policy, PolicyFile, UserError, read_policy, write_policy
from augsearch.policies.regions import REGION_NOISE, Erasing, ResizedCrop, cropped, erased
from augsearch.policies.tensor import TensorPolicy
from augsearch.trainers.semi.fixmatch import FixMatch

pytestmark = pytest.mark.usefixtures("by_torch")

DRAWS = 3000
LEAST_P = 1e-4
CROPS = Policy(num_ops=0, resized_crop=ResizedCrop(smallest=0.2))
ERASES = Policy(num_ops=0, erasing=Erasing(probability=1.0, largest=0.4), fill=(9, 200, 30))
BOTH = Policy(num_ops=0, resized_crop=ResizedCrop(smallest=0.3), erasing=Erasing(probability=0.5), crop=1.0)

sides = st.integers(1, 60)
noises = st.lists(st.floats(0, 1, exclude_max=True), min_size=REGION_NOISE, max_size=REGION_NOISE)


long_sides = st.one_of(st.integers(1, 40), st.integers(1, 5000))

Box = tuple[int, int, int, int]


def random_box(width: int, height: int, smallest: float, rng: np.random.Generator) -> Box:
    """Left, top, right and bottom of a part that becomes a square."""
    left, top, across, down = cropped(width, height, smallest, rng.random(REGION_NOISE).tolist(), aspect=1.0)
    return left, top, left + across, top + down


def alike(ours: Any, theirs: Any) -> None:
    for name, one, other in zip(("left", "top", "width", "height"), ours.T, theirs.T, strict=True):
        assert ks_2samp(one, other).pvalue > LEAST_P, name


def fits(box: Box, width: int, height: int, smallest: float) -> bool:
    """Whether its area and ratio are in range, to within the rounding of its sides."""
    across, down = box[2] - box[0], box[3] - box[1]
    return (
        (across + 0.5) * (down + 0.5) >= smallest * width * height
        and (across - 0.5) / (down + 0.5) <= 4 / 3
        and (across + 0.5) / (down - 0.5) >= 3 / 4
    )


def in_the_centre(box: Box, width: int, height: int) -> bool:
    """Whether it is the largest part in the centre whose ratio is in range, as in torchvision."""
    left, top, right, bottom = box
    centred = abs(left - (width - right)) <= 1 and abs(top - (height - bottom)) <= 1
    if width / height < 3 / 4:
        return centred and (right - left, bottom - top) == (width, round(width * 4 / 3))
    if width / height > 4 / 3:
        return centred and (right - left, bottom - top) == (round(height * 4 / 3), height)
    return (left, top, right, bottom) == (0, 0, width, height)


@settings(max_examples=400)
@given(long_sides, long_sides, st.floats(0.01, 1.0), st.integers(0, 2**32))
@example(1, 1, 0.35, 0)
@example(1, 1000, 0.35, 0)
@example(1000, 1, 0.35, 0)
@example(1, 1, 0.01, 0)
@example(5000, 5000, 1.0, 0)
def test_a_random_part_lies_inside_and_has_the_size_and_shape_that_are_promised(
    width: int, height: int, smallest: float, seed: int
) -> None:
    box = random_box(width, height, smallest, np.random.default_rng(seed))
    left, top, right, bottom = box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert all(isinstance(edge, int) for edge in box)
    assert fits(box, width, height, smallest) or in_the_centre(box, width, height)
    assert random_box(width, height, smallest, np.random.default_rng(seed)) == box


@pytest.mark.parametrize(("width", "height"), [(500, 375), (64, 64), (200, 600), (900, 100)])
def test_random_parts_are_distributed_as_torchvisions(width: int, height: int) -> None:
    draws, smallest = 3000, 0.35
    rng = np.random.default_rng(0)
    own = np.array([random_box(width, height, smallest, rng) for _ in range(draws)], float)
    blank = torch.empty(1, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ratios = [3 / 4, 4 / 3]
        theirs = np.array(
            [RandomResizedCrop.get_params(blank, [smallest, 1.0], ratios) for _ in range(draws)], float
        )
    top, left, down, across = theirs.T
    own_left, own_top, right, bottom = own.T
    for mine, other in (
        ((right - own_left) * (bottom - own_top), across * down),
        ((right - own_left) / (bottom - own_top), across / down),
        (own_left, left),
        (own_top, top),
        (right, left + across),
    ):
        assert ks_2samp(mine, other).pvalue > 1e-3


def test_a_part_is_erased_as_by_torchvision() -> None:
    theirs: Any = v2.RandomErasing(1.0, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
    torch.manual_seed(0)
    drawn = [theirs.make_params([torch.zeros(3, 120, 200)]) for _ in range(DRAWS)]
    noise = np.random.default_rng(0).random((DRAWS, REGION_NOISE)).tolist()
    ours = np.array([part for one in noise if (part := erased(200, 120, 0.4, one)) is not None])
    found = [[one["j"], one["i"], one["w"], one["h"]] for one in drawn if one["v"] is not None]
    alike(ours, np.array(found))


@given(width=sides, height=sides, smallest=st.floats(0.01, 1), noise=noises, square=st.booleans())
def test_any_part_lies_in_its_image(
    width: int, height: int, smallest: float, noise: list[float], square: bool
) -> None:
    left, top, across, down = cropped(width, height, smallest, noise, 1.0 if square else None)
    assert 0 <= left < left + across <= width
    assert 0 <= top < top + down <= height
    hole = erased(width, height, max(smallest, 0.03), noise)
    if hole is not None:
        assert 0 <= hole.left < hole.left + hole.width <= width
        assert 0 <= hole.top < hole.top + hole.height <= height


@pytest.mark.parametrize("border", ["fill", "reflect"])
def test_an_enlarged_part_has_nothing_from_outside_the_image(border: Any) -> None:
    white = np.full((24, 33, 3), 255, np.uint8)
    policy = CROPS.model_copy(update={"border": border})
    for seed in range(20):
        assert (policy.transform(seed)(white) == 255).all()


def test_an_enlarged_part_is_the_part_that_torchvision_enlarges() -> None:
    smooth = np.add.outer(np.arange(48) * 3, np.arange(64) * 2)[..., None].repeat(3, 2).astype(np.uint8)
    noise = np.random.default_rng(4).random(REGION_NOISE).tolist()
    part = cropped(64, 48, 0.2, noise)
    (drawn,) = CROPS.draw(1, np.random.default_rng(0)).operations(0)
    ours = CROPS.apply([drawn._replace(noise=tuple(noise))], smooth)
    theirs = v2.functional.resized_crop(
        torch.from_numpy(smooth).permute(2, 0, 1), part.top, part.left, part.height, part.width, [48, 64]
    )
    differ = np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy())
    assert differ[2:-2, 2:-2].max() <= 2  # OpenCV counts 32 places between two pixels


def test_what_is_erased_has_the_policys_colour_and_is_a_rectangle() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    for seed in range(10):
        hole = ERASES.transform(seed)(image)
        rows, columns = np.nonzero(hole[..., 1])
        inside = hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (inside == (9, 200, 30)).all()
        assert len(rows) == inside[..., 0].size <= 0.45 * 1600


@given(seed=st.integers(0, 99), size=st.sampled_from([(1, 7), (24, 24), (33, 20)]))
@settings(max_examples=30)
def test_tensors_have_the_same_parts(seed: int, size: tuple[int, int]) -> None:
    height, width = size
    images = np.random.default_rng(seed).integers(0, 256, (12, height, width, 3), dtype=np.uint8)
    result = TensorPolicy(BOTH, seed=seed)(torch.from_numpy(images).permute(0, 3, 1, 2))
    expected = BOTH.batch_transform(seed=seed)(images)
    # OpenCV has 32 places between two pixels, torch has all.
    differ = np.abs(result.permute(0, 2, 3, 1).numpy().astype(int) - expected)
    assert differ.max() <= 255 / 16
    assert differ.mean() < 3


def test_what_lies_in_an_image_is_enlarged_with_it() -> None:
    spot = torch.zeros(40, 60, dtype=torch.uint8)
    spot[10:30, 20:40] = 1
    box = tv_tensors.BoundingBoxes(torch.tensor([[20.0, 10, 40, 30]]), format="XYXY", canvas_size=(40, 60))
    for seed in range(10):
        image = tv_tensors.Image(spot.repeat(3, 1, 1) * 200)
        changed, mask, moved = CROPS.transform(seed)(image, tv_tensors.Mask(spot), box)
        assert set(mask.unique().tolist()) <= {0, 1}
        assert ((changed[0] > 100) == (mask > 0)).float().mean() > 0.95
        rows, columns = np.nonzero(mask.numpy())
        if len(rows):
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            np.testing.assert_allclose(np.asarray(moved)[0], seen, atol=2)


def test_a_file_says_so_in_version_3_and_others_stay_as_they_are(tmp_path: Path) -> None:
    for policy, version in ((Policy(), 1), (Policy(fuse_warps=False), 2), (CROPS, 3), (ERASES, 3)):
        path = tmp_path / "policy.json"
        write_policy(PolicyFile(policy=policy), path)
        file = read_policy(path)
        assert (file.policy, file.version) == (policy, version)
        text = path.read_text()
        assert ("resized_crop" in text) == (policy is CROPS)
        assert ("erasing" in text) == (policy is ERASES)
    own = FixMatch(policy=CROPS)
    assert PolicyFile.model_validate({"policy": {}, "training": {"semi": own.model_dump()}}).version == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resized_crop": {"smallest": 0}}, "resized_crop.smallest must be > 0, got 0"),
        ({"resized_crop": 0.5}, "resized_crop must be an object, got 0.5"),
        ({"erasing": {"largest": 0.01}}, "erasing.largest must be > 0.02, got 0.01"),
        ({"erasing": {"probability": 2}}, "erasing.probability must be ≤ 1, got 2"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, fields: Any, message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"format": "augsearch-policy", "version": 3, "policy": fields}))
    with pytest.raises(UserError) as caught:
        Policy.load(path)
    assert message in str(caught.value)


def test_weak_views_keep_the_crop_and_erase_nothing() -> None:
    policy = Policy(resized_crop=ResizedCrop(), erasing=Erasing(), flip_horizontal=0.5)
    weak = FixMatch().weak_policy(policy)
    assert weak == Policy(num_ops=0, resized_crop=ResizedCrop(), flip_horizontal=0.5)
