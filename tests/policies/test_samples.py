"""A policy among torchvision's transforms: samples, and what moves with an image."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from augsearch.policies import OPERATIONS, Policy, UserError

HEIGHT, WIDTH = 24, 36
MIRROR = Policy(num_ops=0, flip_horizontal=1.0)
WARPS = tuple(name for name, one in OPERATIONS.items() if one.kind == "warp" and name != "resized_crop")
"""Those that read single pixels of an image."""
ALL = Policy(num_ops=3, magnitude="random", operations=tuple(OPERATIONS), crop=0.5, quarter_turns=0.5)


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def image() -> Any:
    return tv_tensors.Image(torch.from_numpy(picture()).permute(2, 0, 1))


def boxes(numbers: Any = ((4, 6, 20, 16),), form: str = "XYXY", **rest: Any) -> Any:
    return tv_tensors.BoundingBoxes(torch.tensor(numbers), format=form, canvas_size=(HEIGHT, WIDTH), **rest)


def key_points(numbers: Any = ((3.0, 5.0),)) -> Any:
    return tv_tensors.KeyPoints(torch.tensor(numbers), canvas_size=(HEIGHT, WIDTH))


def test_stands_between_other_transforms_and_passes_labels_through() -> None:
    pipeline = v2.Compose(
        [
            v2.Resize(30),
            ALL.transform(seed=0),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ]
    )
    label = torch.tensor(7)
    for given_image in (image(), v2.functional.to_pil_image(image())):
        result, same = v2.Compose([ALL.transform(seed=0)])(given_image, label)
        assert type(result) is type(given_image)
        assert same is label
    result, same = pipeline(image(), label)
    assert (type(result), same) == (tv_tensors.Image, label)
    alone = pipeline(image())
    assert isinstance(alone, tv_tensors.Image)
    assert "transform(seed=0)" in repr(pipeline)


Named = namedtuple("Named", ["picture", "label"])


@pytest.mark.parametrize(
    "sample",
    [
        (image(), 3),
        [image(), "cat"],
        {"image": image(), "label": 3, "more": {"id": None, "boxes": [torch.tensor([1.0, 2.0])]}},
        Named(image(), torch.tensor([0.2, 0.8])),
        (v2.functional.to_pil_image(image()), np.array([1, 2])),
        (torch.from_numpy(picture()).permute(2, 0, 1), torch.tensor(3)),
        (picture(), 3),
        (3, picture()),
    ],
    ids=["tuple", "list", "nested", "namedtuple", "PIL", "tensor", "array", "label first"],
)
def test_any_sample_comes_back_as_it_was_with_its_image_changed(sample: Any) -> None:
    result = MIRROR.transform(seed=0)(sample)
    assert type(result) is type(sample)

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [one for inner in value.values() for one in leaves(inner)]
        return (
            [one for inner in value for one in leaves(inner)] if isinstance(value, list | tuple) else [value]
        )

    before, after = leaves(sample), leaves(result)
    changed = [
        place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one is not other
    ]
    (place,) = changed
    array, mirrored = np.asarray(before[place]), np.asarray(after[place])
    axis = -1 if isinstance(before[place], Tensor) else 1
    np.testing.assert_array_equal(mirrored, np.flip(array, axis))


def test_all_images_of_a_sample_have_one_draw() -> None:
    transform = ALL.transform(seed=0)
    for _ in range(10):
        first, second = transform(image(), image())
        assert torch.equal(first, second)


def test_a_sample_draws_what_an_image_alone_draws() -> None:
    one, other = ALL.transform(seed=4), ALL.transform(seed=4)
    for _ in range(10):
        assert torch.equal(one(image(), 3)[0], other(image()))


def rare_policies() -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        num_ops=st.integers(0, 3),
        magnitude=st.just("random"),
        operations=st.just((*WARPS, "invert", "cutout")),
        crop=st.sampled_from([0.0, 1.0]),
        flip_horizontal=st.sampled_from([0.0, 1.0]),
        quarter_turns=st.sampled_from([0.0, 1.0]),
        border=st.sampled_from(["fill", "reflect"]),
    )


@given(policy=rare_policies(), seed=st.integers(0, 500))
@settings(max_examples=60)
def test_a_mask_moves_as_the_image_does(policy: Policy, seed: int) -> None:
    # An image whose colours are a mask's labels: without the table and the patch they stay such.
    policy = policy.model_copy(update={"operations": WARPS})
    labels = np.random.default_rng(seed).integers(1, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    as_image = np.repeat(labels[:, :, None], 3, axis=2)
    mask = tv_tensors.Mask(torch.from_numpy(labels).to(torch.int64))
    stack = tv_tensors.Mask(torch.from_numpy(np.stack([labels, labels > 100])))
    changed, moved, moved_stack = policy.transform(seed)(as_image, mask, stack)
    np.testing.assert_array_equal(moved.numpy(), changed[:, :, 0])
    np.testing.assert_array_equal(moved_stack[0].numpy(), changed[:, :, 0])
    assert (type(moved), moved.dtype, moved_stack.shape) == (tv_tensors.Mask, torch.int64, (2, HEIGHT, WIDTH))


@given(policy=rare_policies(), seed=st.integers(0, 500), x=st.integers(8, 27), y=st.integers(6, 17))
@settings(max_examples=60)
def test_a_key_point_and_a_box_move_as_the_mask_does(policy: Policy, seed: int, x: int, y: int) -> None:
    policy = policy.model_copy(update={"border": "fill"})
    spot = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    spot[y - 1 : y + 2, x - 1 : x + 2] = True
    box = boxes(((float(x - 1), float(y - 1), float(x + 2), float(y + 2)),))
    point = key_points(((float(x), float(y)),))
    _, mask, moved_box, moved_point = policy.transform(seed)(image(), tv_tensors.Mask(spot), box, point)
    assert (type(moved_box), type(moved_point)) == (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)
    rows, columns = np.nonzero(mask.numpy())
    left, top, right, bottom = moved_box[0].tolist()
    assert 0 <= left <= right <= WIDTH
    assert 0 <= top <= bottom <= HEIGHT
    if len(rows):  # nearest sampling may be half a pixel off, and a perspective reads far away
        assert left - 1 <= columns.min() <= columns.max() + 1 <= right + 1
        assert top - 1 <= rows.min() <= rows.max() + 1 <= bottom + 1
    inside = 3 < moved_point[0, 0] < WIDTH - 4 and 3 < moved_point[0, 1] < HEIGHT - 4
    if inside and len(rows):
        assert columns.min() - 1.5 <= moved_point[0, 0] <= columns.max() + 1.5
        assert rows.min() - 1.5 <= moved_point[0, 1] <= rows.max() + 1.5


TURNED = {
    "flip_horizontal": functional.horizontal_flip,
    "flip_vertical": functional.vertical_flip,
    "rotate_180": lambda thing: functional.rotate(thing, 180),
}


@pytest.mark.parametrize("name", TURNED)
@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_and_key_points_are_where_torchvision_puts_them(name: str, form: str) -> None:
    policy = Policy(num_ops=1, operations=(name,))
    numbers = functional.convert_bounding_box_format(boxes(((4, 6, 20, 16), (1, 2, 3, 5))), new_format=form)
    given_boxes = boxes(numbers.tolist(), form)
    points = key_points(((3.0, 5.0), (0.0, 0.0)))
    _, moved, moved_points = policy.transform(seed=0)(image(), given_boxes, points)
    assert (moved.format, moved.dtype, moved.canvas_size) == (
        given_boxes.format,
        torch.int64,
        (HEIGHT, WIDTH),
    )
    assert torch.equal(moved, TURNED[name](given_boxes))
    if name != "rotate_180":  # torchvision turns key points about half a pixel beside the centre
        assert torch.allclose(moved_points.as_subclass(Tensor), TURNED[name](points).as_subclass(Tensor))


def test_boxes_are_clamped_unless_they_say_otherwise() -> None:
    policy = Policy(num_ops=1, operations=({"name": "translate_x", "value": 0.5, "signed": False},))
    _, clamped = policy.transform(seed=0)(image(), boxes())
    assert clamped.tolist() == [[22, 6, 36, 16]]
    _, free = policy.transform(seed=0)(image(), boxes(clamping_mode=None))
    assert free.tolist() == [[22, 6, 38, 16]]
    _, point = policy.transform(seed=0)(image(), key_points(((30.0, 5.0),)))
    assert point.tolist() == [[48, 5]]  # outside it can be told from those inside


def test_no_boxes_stay_none() -> None:
    none = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(HEIGHT, WIDTH))
    assert ALL.transform(seed=0)(image(), none)[1].shape == (0, 4)


refused: dict[str, tuple[tuple[Any, ...], str]] = {
    "a video": ((tv_tensors.Video(torch.zeros(2, 3, 8, 8)),), "a Video can't be augmented"),
    "a video beside an image": ((image(), tv_tensors.Video(torch.zeros(2, 3, 8, 8))), "a Video can't be"),
    "boxes alone": ((boxes(),), "BoundingBoxes without an image can't be augmented; give both together"),
    "a mask alone": ((tv_tensors.Mask(torch.zeros(8, 8)),), "Mask without an image"),
    "a mask of another size": (
        (image(), tv_tensors.Mask(torch.zeros(8, 9))),
        "Mask of 8 × 9 pixels, but the image has 24 × 36",
    ),
    "an unmarked mask": (
        (image(), torch.zeros(HEIGHT, WIDTH)),
        r"beside the image there is torch.float32 \(24, 36\), of the same height and width; a mask must be",
    ),
    "an unmarked array": ((picture(), np.zeros((HEIGHT, WIDTH))), "beside the image there is float64"),
    "no image": (
        (3, "cat"),
        "an image must be a NumPy array, a PIL image or a torch tensor, got int, str",
    ),
    "nothing": ((), "got nothing"),
}
if hasattr(tv_tensors.BoundingBoxFormat, "XYWHR"):  # torchvision from 0.23 on
    rotated = tv_tensors.BoundingBoxes(
        torch.tensor([[1.0, 2, 3, 4, 30]]), format="XYWHR", canvas_size=(HEIGHT, WIDTH)
    )
    refused["rotated boxes"] = (
        (image(), rotated),
        "boxes of format XYWHR can't be moved; give XYXY, XYWH or CXCYWH",
    )


@pytest.mark.parametrize("what", refused)
def test_what_cannot_move_is_refused_by_name(what: str) -> None:
    sample, message = refused[what]
    with pytest.raises(UserError, match=message) as caught:
        Policy(num_ops=1).transform(seed=0)(*sample)
    assert "\n" not in str(caught.value)


def test_large_coordinates_are_read_right() -> None:
    wide = np.zeros((3, 700, 3), np.uint8)
    columns = tv_tensors.Mask(torch.arange(700).expand(3, 700).clone())
    _, moved = MIRROR.transform(seed=0)(wide, columns)
    assert moved[0].tolist() == list(range(699, -1, -1))


def test_an_image_alone_may_still_be_a_pil_image_of_a_sample() -> None:
    assert isinstance(MIRROR.transform(seed=0)(PILImage.new("L", (4, 4))), PILImage.Image)
