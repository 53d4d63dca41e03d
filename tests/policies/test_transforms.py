"""A policy as a transform in other people's code: types, streams, workers, and what it refuses."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PILImage
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from augsearch.policies import OPERATIONS, TRIVIALAUGMENT, Policy, PolicyFile, UserError, write_policy
from augsearch.policies.backends.opencv.warps import LONGEST_SIDE
from augsearch.policies.planner import Draws, encode
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling
from augsearch.policies.tensor import TensorPolicy
from augsearch.policies.transforms import BatchTransform, ImageTransform

POLICY = Policy(num_ops=3, operations=tuple(OPERATIONS), crop=1.0, flip_horizontal=0.5, border="reflect")


def photo_like(height: int = 20, width: int = 14, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


ways_in_and_out: dict[str, tuple[Callable[[np.ndarray], Any], Callable[[Any], np.ndarray]]] = {
    "NumPy": (lambda a: a, lambda a: a),
    "PIL": (PILImage.fromarray, np.asarray),
    "torch uint8": (
        lambda a: torch.from_numpy(a).permute(2, 0, 1),
        lambda t: t.permute(1, 2, 0).numpy(),
    ),
    "torch float": (
        lambda a: torch.from_numpy(a).permute(2, 0, 1) / 255,
        lambda t: (t * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(),
    ),
    "torch float64": (
        lambda a: torch.from_numpy(a).permute(2, 0, 1).double() / 255,
        lambda t: (t * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(),
    ),
    "tv_tensor": (
        lambda a: tv_tensors.Image(torch.from_numpy(a).permute(2, 0, 1)),
        lambda t: t.permute(1, 2, 0).numpy(),
    ),
}


@pytest.mark.parametrize("way", ways_in_and_out)
def test_gives_the_type_it_takes_and_the_same_pixels_in_each(way: str) -> None:
    into, out = ways_in_and_out[way]
    image = photo_like()
    given_image, transform, reference = into(image), POLICY.transform(seed=3), POLICY.transform(seed=3)
    for _ in range(30):
        result, expected = transform(given_image), reference(image)
        assert type(result) is type(given_image)
        assert getattr(result, "dtype", None) == getattr(given_image, "dtype", None)
        np.testing.assert_array_equal(out(result), expected)
    np.testing.assert_array_equal(out(given_image), image)


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (1, 1), (1, 40, 3), (0, 5, 3)])
def test_keeps_the_shape_of_grey_colour_thin_and_empty_arrays(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    transform = POLICY.transform(seed=5)
    for _ in range(20):
        assert transform(image).shape == shape


def test_grey_pil_and_flat_tensors_work() -> None:
    transform = POLICY.transform(seed=5)
    assert transform(PILImage.new("L", (6, 9), 40)).mode == "L"
    assert transform(torch.zeros(9, 6, dtype=torch.uint8)).shape == (9, 6)
    assert transform(torch.zeros(1, 9, 6)).dtype == torch.float32


def test_images_of_any_sizes_in_turn() -> None:
    transform = POLICY.transform(seed=0)
    for side in (3, 50, 7, 333, 1):
        assert transform(photo_like(side, side + 1)).shape == (side, side + 1, 3)


@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]))),
    seed=st.integers(0, 99),
    layout=st.sampled_from(["strided", "reversed", "fortran", "read-only"]),
)
@settings(max_examples=100)
def test_memory_layout_does_not_matter_and_the_input_is_never_changed(
    image: np.ndarray, seed: int, layout: str
) -> None:
    if layout == "strided":
        other = np.repeat(image, 2, axis=1)[:, ::2]
    elif layout == "reversed":
        other = np.ascontiguousarray(image[::-1])[::-1]
    else:
        other = np.asfortranarray(image) if layout == "fortran" else image.copy()
    if layout == "read-only":
        other.flags.writeable = False
    expected = POLICY.transform(seed)(image)
    np.testing.assert_array_equal(POLICY.transform(seed)(other), expected)
    batch = POLICY.batch_transform(seed)(np.stack([image] * 3))
    np.testing.assert_array_equal(POLICY.batch_transform(seed)(np.stack([other] * 3)), batch)
    np.testing.assert_array_equal(other, image)


def test_the_result_shares_no_memory_with_the_image_even_when_nothing_happens() -> None:
    image = photo_like()
    for policy in (Policy(num_ops=0), Policy(operations=("identity",))):
        result = policy.transform(seed=0)(image)
        np.testing.assert_array_equal(result, image)
        assert not np.shares_memory(result, image)


def test_pickles_in_the_middle_of_its_stream() -> None:
    image, batch = photo_like(), np.stack([photo_like()] * 4)
    for transform, data in ((POLICY.transform(7), image), (POLICY.batch_transform(7), batch)):
        transform(data)
        copy = pickle.loads(pickle.dumps(transform))
        for _ in range(5):
            np.testing.assert_array_equal(transform(data), copy(data))


class Photos(Dataset[torch.Tensor]):
    """The same image again and again, so that equal results betray equal streams."""

    def __init__(self) -> None:
        self.transform = TRIVIALAUGMENT.transform(seed=0)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.transform(photo_like()))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_have_streams_of_their_own_and_repeat_themselves(persistent: bool) -> None:
    def two_epochs() -> list[np.ndarray]:
        loader = DataLoader(
            Photos(),
            batch_size=6,
            num_workers=2,
            persistent_workers=persistent,
            generator=torch.Generator().manual_seed(11),
        )
        return [torch.cat(list(loader)).numpy() for _ in range(2)]

    first, second = two_epochs()
    # Batches alternate between the two workers: neither they nor the epochs may be alike.
    assert not np.array_equal(first[:6], first[6:12])
    assert not np.array_equal(first, second)
    for epoch, again in zip((first, second), two_epochs(), strict=True):
        np.testing.assert_array_equal(epoch, again)


def test_a_policy_is_loaded_from_its_file(tmp_path: Any) -> None:
    write_policy(PolicyFile(policy=POLICY), tmp_path / "policy.json")
    assert Policy.load(tmp_path / "policy.json") == POLICY
    assert Policy.load(str(tmp_path / "policy.json")) == POLICY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": {"magnitude": 45}}, "policy.magnitude: must be a whole number from 0 to 30"),
        ({"policy": None}, "policy must be an object, got None"),
        ({"format": "onnx"}, "not a policy file"),
        ({"version": 5}, "format version 5"),
    ],
)
def test_a_policy_that_is_not_valid_is_not_loaded(tmp_path: Any, change: Any, message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"format": "augsearch-policy", "version": 1, "policy": {}, **change}))
    with pytest.raises(UserError) as caught:
        Policy.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    with pytest.raises(UserError, match=r"no\.json: no such file"):
        Policy.load(tmp_path / "no.json")


def test_a_policy_is_loaded_whatever_its_file_says_of_the_training(tmp_path: Any) -> None:
    path = tmp_path / "policy.json"
    document = {"format": "augsearch-policy", "version": 1, "policy": {"num_ops": 1}, "training": {"new": 1}}
    path.write_text(json.dumps(document))
    assert Policy.load(path) == Policy(num_ops=1)


class Inverting:
    """No ``Policy``, but all that a transform asks of one: it inverts every image."""

    ranges: Ranges = "standard"
    sampling = Sampling()

    def draw(self, count: int, rng: np.random.Generator) -> Draws:
        return Draws(np.tile(encode(["invert"]), (count, 1)), None)

    def augment(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return 255 - images


def test_transforms_take_whatever_draws_as_a_policy_does() -> None:
    image = photo_like()
    np.testing.assert_array_equal(ImageTransform(Inverting(), seed=0)(image), 255 - image)
    np.testing.assert_array_equal(BatchTransform(Inverting(), seed=0)(image[None]), 255 - image[None])
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert torch.equal(TensorPolicy(Inverting(), seed=0)(tensor), 255 - tensor)


def test_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from augsearch.policies import Policy\n"
        "Policy(crop=1.0).transform(seed=0)(np.zeros((8, 8, 3), np.uint8))\n"
        "Policy().batch_transform(seed=0)(np.zeros((4, 8, 8, 3), np.uint8))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_import_brings_what_the_folder_needs_and_no_more() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import augsearch.policies\n"
        "packages = {name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "print(*(name for name in packages if not name.startswith('_')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needed = {"augsearch", "numpy", "cv2", "pydantic", "PIL", "stringzilla", "array_api_compat"}
    of_pydantic = {"pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    assert set(done.stdout.split()) <= needed | of_pydantic


wrong_images = {
    "whole numbers of 32 bits": (
        np.zeros((8, 8, 3), np.int32),
        r"uint16 or floating.* got int32 \(8, 8, 3\)",
    ),
    "floats of 0 to 255": (np.full((8, 8, 3), 255.0), r"must lie in \[0, 1\], got 255 to 255; scale it"),
    "a float that is none": (np.full((8, 8, 3), np.nan), r"must lie in \[0, 1\], got nan"),
    "32 bits": (
        PILImage.new("I", (4, 4), 70000),
        "mode I must have values from 0 to 65,535, got 70000 to 70000",
    ),
    "a float of grey levels": (PILImage.new("F", (4, 4), 255), r"must lie in \[0, 1\], got 255"),
    "channels first": (np.zeros((3, 32, 32), np.uint8), r"C 1 to 16, got uint8 \(3, 32, 32\)"),
    "a batch": (np.zeros((2, 8, 8, 3), np.uint8), r"got uint8 \(2, 8, 8, 3\)"),
    "a line": (np.zeros(8, np.uint8), r"got uint8 \(8,\)"),
    "objects": (np.zeros((2, 2), object), r"got object \(2, 2\)"),
    "a list": ([[1, 2]], "must be a NumPy array, a PIL image or a torch tensor, got list"),
    "a path": ("cat.jpg", "got str"),
    "nothing": (None, "got NoneType"),
    "a palette": (PILImage.new("P", (4, 4)), r'got P; convert it first: image\.convert\("RGB"\)'),
    "transparency": (PILImage.new("RGBA", (4, 4)), "got RGBA"),
    "a channels-last tensor": (
        torch.zeros(32, 32, 3),
        r"must be \(C, H, W\) .* got torch.float32 \(32, 32, 3\)",
    ),
    "whole numbers": (
        torch.zeros(3, 8, 8, dtype=torch.int64),
        "must be uint8, uint16 or floating, got torch.int64",
    ),
    "a normalised tensor": (torch.full((3, 4, 4), -1.5), "got -1.5 to -1.5; augment before normalising"),
    "not a number": (torch.full((3, 4, 4), torch.nan), r"must lie in \[0, 1\], got nan"),
    "another device": (torch.zeros(3, 4, 4, device="meta"), "the image is on meta; .*TensorPolicy"),
}


@pytest.mark.parametrize("what", wrong_images)
def test_refuses_other_images_in_one_line(what: str) -> None:
    image, message = wrong_images[what]
    with pytest.raises(UserError, match=message) as caught:
        POLICY.transform(seed=0)(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 4, 4), "TensorPolicy"),
        ([np.zeros((4, 4, 3), np.uint8)], "images must be an array .* got list"),
        (np.zeros((4, 4, 3), np.uint8), r"got uint8 \(4, 4, 3\)"),
    ],
)
def test_refuses_other_batches_in_one_line(images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        POLICY.batch_transform(seed=0)(images)


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
def test_refuses_other_seeds(seed: Any) -> None:
    for make in (POLICY.transform, POLICY.batch_transform):
        with pytest.raises(UserError, match="seed must be a whole number ≥ 0, got"):
            make(seed)


def test_an_image_too_long_for_opencv_is_refused_only_where_it_must_be() -> None:
    image = np.zeros((2, LONGEST_SIDE + 1, 3), np.uint8)
    assert Policy(num_ops=1, operations=("flip_horizontal",)).transform(seed=0)(image).shape == image.shape
    with pytest.raises(UserError, match="too long to be warped: OpenCV takes sides up to 32,766 pixels"):
        Policy(num_ops=1, operations=("rotate",)).transform(seed=0)(image)
    shorter = np.zeros((2, LONGEST_SIDE, 3), np.uint8)
    assert Policy(num_ops=1, operations=("rotate",)).transform(seed=0)(shorter).shape == shorter.shape
