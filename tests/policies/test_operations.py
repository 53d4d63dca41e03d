"""Contracts that every registered operation keeps, and agreement with torchvision's of the same name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PILImage
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from augsearch.policies import OPERATIONS, RANDAUGMENT
from augsearch.policies.backends.opencv.prepared import Image
from augsearch.policies.backends.opencv.runner import run
from augsearch.policies.effects import Colour, Kernel, MeasuredTable, Patch, Size, Table, Warp, fuse
from augsearch.policies.registry import Operation
from augsearch.policies.sampling import Sampling

KINDS = {
    "warp": Warp,
    "table": Table | MeasuredTable,
    "colour": Colour,
    "kernel": Kernel,
    "patch": Patch,
}

images = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3])),
)
magnitudes = st.integers(0, 30)
every_operation = pytest.mark.parametrize("name", OPERATIONS)


def applied(
    name: str,
    image: Image,
    magnitude: int,
    *,
    negative: bool = False,
    ranges: str = "standard",
    seed: int = 0,
) -> Image:
    operation = OPERATIONS[name]
    size = Size(*image.shape[:2])
    value = operation.value(magnitude, ranges, size)  # type: ignore[arg-type]
    return with_value(operation, image, -value if negative and operation.signed else value, seed)


def with_value(operation: Operation, image: Image, value: float, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).random(operation.noise).tolist()
    size = Size(*image.shape[:2])
    effect = operation.effect(value, operation.settle(value, noise, size), size)
    steps = fuse([effect]) if effect else ()
    return run(steps, image, Sampling())


@every_operation
@given(image=images, magnitude=magnitudes, negative=st.booleans(), wide=st.booleans())
@settings(max_examples=25)
def test_keeps_shape_and_dtype_and_input_and_repeats_itself(
    name: str, image: Image, magnitude: int, negative: bool, wide: bool
) -> None:
    before = image.copy()
    image.flags.writeable = False
    ranges = "wide" if wide else "standard"
    result = applied(name, image, magnitude, negative=negative, ranges=ranges)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result, applied(name, image, magnitude, negative=negative, ranges=ranges))


@every_operation
@given(image=images)
@settings(max_examples=25)
def test_changes_nothing_at_its_identity(name: str, image: Image) -> None:
    operation = OPERATIONS[name]
    if operation.identity is None:
        # The rest has no strength; but for identity itself, doing it must not be a no-op on every image.
        assert operation.standard is None
        return
    np.testing.assert_array_equal(with_value(operation, image, operation.identity), image)


@every_operation
def test_changes_a_photo_at_full_strength(name: str) -> None:
    photo = load_sample_image("flower.jpg")[100:164, 300:380]
    assert (applied(name, photo, 30) != photo).any() == (name != "identity")


@every_operation
def test_is_of_the_kind_it_says_and_says_what_it_does(name: str) -> None:
    operation = OPERATIONS[name]
    effect = operation.effect(
        operation.value(20, "standard", Size(20, 30)), [0.3] * operation.noise, Size(20, 30)
    )
    assert effect is None or isinstance(effect, KINDS[operation.kind])
    assert operation.summary.endswith((".", ")."))
    assert bool(operation.unit) == (operation.standard is not None)


TORCHVISION_NAMES = {name: "".join(part.capitalize() for part in name.split("_")) for name in RANDAUGMENT}


def spaced_value(values: torch.Tensor, magnitude: int) -> float:
    """The value of a magnitude out of ``torch.linspace``, to the last bit as with fused multiply-add.

    On some processors torch computes it otherwise, and whole pixels and greys hang on the last bit.
    """
    if not values.is_floating_point():
        return float(values[magnitude])
    start, end = np.float32(values[0].item()), np.float32(values[-1].item())
    step = np.float64((end - start) / np.float32(30))
    exact = start + step * magnitude if magnitude < 15 else end - step * (30 - magnitude)
    assert float(values[magnitude]) == pytest.approx(float(exact), rel=1e-6, abs=1e-6)
    return float(np.float32(exact))


def torchvision_applied(
    name: str, image: Image, magnitude: int, *, negative: bool, ranges: str, backend: str
) -> Image:
    """What torchvision's RandAugment (or TrivialAugmentWide) does at this magnitude."""
    augment = v2.RandAugment() if ranges == "standard" else v2.TrivialAugmentWide()
    height, width, channels = image.shape
    spaced, signed = augment._AUGMENTATION_SPACE[TORCHVISION_NAMES[name]]
    values = spaced(31, height, width)
    value = 0.0 if values is None else spaced_value(values, magnitude)
    if signed and negative:
        value = -value
    if backend == "PIL":
        given = PILImage.fromarray(image if channels == 3 else image[:, :, 0])
    else:
        given = torch.tensor(image).permute(2, 0, 1)
    result = augment._apply_image_or_video_transform(
        given,
        TORCHVISION_NAMES[name],
        value,
        interpolation=v2.InterpolationMode.NEAREST,
        fill={type(given): 0},
    )
    if backend == "PIL":
        return np.asarray(result).reshape(image.shape)
    return result.permute(1, 2, 0).numpy()


def real_image(height: int, width: int, channels: int) -> Image:
    photo = load_sample_image("china.jpg")[150 : 150 + height, 200 : 200 + width]
    return photo if channels == 3 else np.ascontiguousarray(photo[:, :, 1:2])


test_images = st.one_of(
    images,
    st.builds(real_image, st.integers(1, 48), st.integers(1, 48), st.sampled_from([1, 3])),
    st.builds(
        lambda height, width, channels, grey: np.full((height, width, channels), grey, np.uint8),
        st.integers(1, 9),
        st.integers(1, 9),
        st.sampled_from([1, 3]),
        st.integers(0, 255),
    ),
)


@pytest.mark.parametrize("ranges", ["standard", "wide"])
@pytest.mark.parametrize("name", RANDAUGMENT)
@given(image=test_images, magnitude=magnitudes, negative=st.booleans())
@settings(max_examples=60)
def test_agrees_with_torchvision_on_pil_images(
    name: str, ranges: str, image: Image, magnitude: int, negative: bool
) -> None:
    ours = applied(name, image, magnitude, negative=negative, ranges=ranges)
    theirs = torchvision_applied(name, image, magnitude, negative=negative, ranges=ranges, backend="PIL")
    kind = OPERATIONS[name].kind
    if kind == "warp":
        certain = sampling_is_certain(name, image, magnitude, negative=negative, ranges=ranges)
        np.testing.assert_array_equal(ours[certain], theirs[certain])
    else:
        tolerance = 0 if kind == "table" else 1
        assert np.abs(ours.astype(int) - theirs).max() <= tolerance


@pytest.mark.parametrize("ranges", ["standard", "wide"])
@pytest.mark.parametrize("name", RANDAUGMENT)
@given(image=test_images, magnitude=magnitudes, negative=st.booleans())
@settings(max_examples=30)
def test_agrees_with_torchvision_on_tensors(
    name: str, ranges: str, image: Image, magnitude: int, negative: bool
) -> None:
    ours = applied(name, image, magnitude, negative=negative, ranges=ranges)
    theirs = torchvision_applied(name, image, magnitude, negative=negative, ranges=ranges, backend="tensor")
    if OPERATIONS[name].kind == "warp":
        certain = sampling_is_certain(name, image, magnitude, negative=negative, ranges=ranges)
        np.testing.assert_array_equal(ours[certain], theirs[certain])
    else:
        # torchvision's own two backends differ: float32 against integers, grey rounded or cut off, its mean
        # likewise, and a grey value right at solarize's threshold inverted or not.
        tolerance = 2 if name in ("contrast", "color") else 1
        decided = np.ones(image.shape, dtype=bool)
        if name == "solarize":
            threshold = 255 * OPERATIONS[name].value(magnitude, "standard", Size(1, 1))
            decided = np.abs(image - threshold) > 1e-3
        assert np.abs(ours.astype(int) - theirs)[decided].max(initial=0) <= tolerance


def sampling_is_certain(
    name: str, image: Image, magnitude: int, *, negative: bool, ranges: str
) -> np.ndarray:
    """Which output pixels are read well inside one input pixel, or well outside the image.

    Between two input pixels, and at the image's border, the backends round as they please.
    """
    height, width = image.shape[:2]
    operation = OPERATIONS[name]
    value = operation.value(magnitude, ranges, Size(height, width))  # type: ignore[arg-type]
    effect = operation.effect(-value if negative else value, [], Size(height, width))
    assert isinstance(effect, Warp)
    y, x = np.mgrid[:height, :width]
    points = np.stack([x - (width - 1) / 2, y - (height - 1) / 2, np.ones_like(x)]).reshape(3, -1)
    read_x, read_y, _ = effect.matrix @ points
    read_x, read_y = read_x + (width - 1) / 2, read_y + (height - 1) / 2

    def far_from_an_edge(read: np.ndarray) -> np.ndarray:
        return np.abs(read - np.floor(read) - 0.5) > 2e-3

    return (far_from_an_edge(read_x) & far_from_an_edge(read_y)).reshape(height, width)


def test_most_pixels_of_a_warp_are_certain() -> None:
    """So that the agreement above says something."""
    photo = real_image(48, 48, 3)
    for name in RANDAUGMENT:
        if OPERATIONS[name].kind == "warp":
            for magnitude in range(31):
                share = sampling_is_certain(name, photo, magnitude, negative=False, ranges="standard").mean()
                assert share > 0.75, (name, magnitude)  # a slope of 0.2 reads every fifth row at an edge


@given(width=st.integers(1, 4000))
def test_magnitudes_are_spaced_as_torch_spaces_them(width: int) -> None:
    standard = OPERATIONS["translate_x"].standard
    assert standard is not None
    ours = [standard.value(magnitude, Size(1, width)) for magnitude in range(31)]
    # To the last bit but one, which hangs on the processor.
    np.testing.assert_allclose(ours, torch.linspace(0.0, 150.0 / 331.0 * width, 31), rtol=2e-7)
