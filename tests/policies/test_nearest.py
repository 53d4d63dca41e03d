"""Nearest sampling is the same on every processor and by both backends; warps fuse unless they may not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from augsearch.policies import OPERATIONS, Policy, PolicyFile
from augsearch.policies.backends.opencv.runner import run
from augsearch.policies.effects import Size, Warp
from augsearch.policies.nearest import settled
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.sampling import Sampling
from augsearch.policies.tensor import TensorPolicy

pytestmark = pytest.mark.usefixtures("by_torch")

WARPS = tuple(name for name, one in OPERATIONS.items() if one.kind == "warp")

rows = st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-90, 90))


@given(row=rows, height=st.integers(1, 300), width=st.integers(1, 300))
@settings(max_examples=100)
def test_coordinates_are_exact_in_float32_never_between_two_pixels_and_hardly_moved(
    row: tuple[float, float, float], height: int, width: int
) -> None:
    across, down, start = settled(row, Size(height, width))
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)[:, None]
    exact = across * x + down * y + start
    single = [np.float32(number) for number in (across, down, start)]
    products = single[0] * x.astype(np.float32), single[1] * y.astype(np.float32)
    for sums in (products[0] + (products[1] + single[2]), (products[0] + products[1]) + single[2]):
        assert sums.dtype == np.float32
        np.testing.assert_array_equal(sums, exact)
    if not all(number.is_integer() for number in row):
        assert (exact * 2 % 2 != 1).all()
    assert np.abs(exact - (row[0] * x + row[1] * y + row[2])).max() < 0.1


@pytest.mark.parametrize("side", [8, 30, 64])
def test_what_lies_between_two_pixels_falls_to_the_right(side: int) -> None:
    # A zoom by 2 about the centre of an even side reads right between two pixels everywhere.
    image = np.arange(side, dtype=np.uint8)[None, :, None].repeat(side, axis=0)
    zoomed = run([Warp(np.diag((2.0, 2.0, 1.0)))], image, Sampling())[side // 2, :, 0]
    x = np.arange(side // 4 + 1, side - side // 4 - 1)
    np.testing.assert_array_equal(zoomed[x], 2 * x - side // 2 + 1)


@pytest.mark.parametrize("border", ["fill", "reflect"])
def test_both_backends_read_the_very_same_pixels(border: Any) -> None:
    policy = Policy(
        num_ops=3,
        magnitude="random",
        operations=tuple(name for name in WARPS if name not in ("perspective", "resized_crop")),
        crop=0.5,
        quarter_turns=0.5,
        border=border,
    )
    for height, width in ((32, 32), (48, 37)):
        images = np.random.default_rng(0).integers(0, 256, (48, height, width, 3), dtype=np.uint8)
        ours, theirs = TensorPolicy(policy, seed=3), policy.batch_transform(seed=3)
        result = ours(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(result, theirs(images))


HASHED = """
import hashlib
import numpy as np
from augsearch.policies import OPERATIONS, Policy
from augsearch.policies.planner import DrawnOperation
image = np.random.default_rng(5).integers(0, 256, (70, 96, 3), dtype=np.uint8)
seen = hashlib.sha256()
for name, operation in OPERATIONS.items():
    if name not in ("gaussian_blur", "resized_crop"):
        for magnitude in range(0, 31, 2):
            noise = tuple(np.random.default_rng(magnitude).random(operation.noise))
            for negative in (False, operation.signed):
                drawn = DrawnOperation(name, magnitude, negative, noise)
                seen.update(Policy().apply((drawn,), image).tobytes())
print(seen.hexdigest())
"""
"""Prints a hash of what every operation does but the blur and the resized crop, which mix pixels."""


def test_without_avx_every_operation_that_mixes_no_pixels_gives_the_same_pixels() -> None:
    # Where OpenCV has no such instructions, or was built without a switch, both runs are the same code.
    plain = {**os.environ, "OPENCV_CPU_DISABLE": "AVX2,FP16,AVX,SSE4.2,SSE4.1"}
    results = [
        subprocess.run(
            [sys.executable, "-c", HASHED], capture_output=True, text=True, check=True, env=env
        ).stdout
        for env in (dict(os.environ), plain)
    ]
    assert results[0] == results[1]


def there_and_back() -> tuple[DrawnOperation, ...]:
    return tuple(DrawnOperation("translate_x", 30, negative, ()) for negative in (False, True))


def test_fused_warps_keep_what_comes_back_and_single_ones_lose_it() -> None:
    image = np.random.default_rng(1).integers(1, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Policy().apply(there_and_back(), image), image)
    apart = Policy(fuse_warps=False).apply(there_and_back(), image)
    pixels = int(64 * 150 / 331)
    np.testing.assert_array_equal(apart[:, : 64 - pixels], image[:, : 64 - pixels])
    assert not apart[:, 64 - pixels :].any()
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    theirs = tensor
    for shift in (pixels, -pixels):
        theirs = functional.affine(theirs, angle=0, translate=[shift, 0], scale=1, shear=[0.0])
    np.testing.assert_array_equal(apart, theirs.permute(1, 2, 0).numpy())


def test_both_backends_leave_warps_apart_and_the_file_says_so() -> None:
    policy = Policy(num_ops=4, magnitude=20, operations=("rotate", "translate_x", "invert"), fuse_warps=False)
    images = np.random.default_rng(0).integers(0, 256, (24, 40, 40, 3), dtype=np.uint8)
    result = TensorPolicy(policy, seed=3)(torch.from_numpy(images).permute(0, 3, 1, 2))
    expected = policy.batch_transform(seed=3)(images)
    np.testing.assert_array_equal(result.permute(0, 2, 3, 1).numpy(), expected)
    fused = policy.model_copy(update={"fuse_warps": True})
    assert (fused.batch_transform(seed=3)(images) != expected).any()
    file = PolicyFile(policy=policy)
    assert file.version == 2
    assert PolicyFile.model_validate_json(file.model_dump_json()).policy == policy
    assert "fuse_warps" not in fused.model_dump_json()
