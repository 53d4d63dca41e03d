"""Operations beyond RandAugment's against PIL, torchvision, or the plainest NumPy that says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PILImage
from PIL import ImageOps
from sklearn.datasets import load_sample_image
from torchvision.transforms.v2 import functional

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT
from augsearch.policies.backends.opencv.prepared import Image
from augsearch.policies.backends.opencv.runner import run
from augsearch.policies.effects import LUMA, Colour, Kernel, Size, Warp, fuse
from augsearch.policies.operations import SHUFFLES
from augsearch.policies.sampling import Sampling


def photo(height: int, width: int, channels: int) -> Image:
    picture = load_sample_image("flower.jpg")[120 : 120 + height, 250 : 250 + width]
    return np.ascontiguousarray(picture if channels == 3 else picture[:, :, :1])


sides = st.integers(1, 40)
any_image = st.one_of(
    hnp.arrays(np.uint8, st.tuples(sides, sides, st.sampled_from([1, 3]))),
    st.builds(photo, sides, sides, st.sampled_from([1, 3])),
    st.builds(
        lambda height, width, level: np.full((height, width, 3), level, np.uint8),
        sides,
        sides,
        st.integers(0, 255),
    ),
)
magnitudes = st.integers(0, 30)
draws = st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8)
quick = settings(max_examples=80)


DEFAULT = Sampling()


def effect_of(name: str, value: float, size: Size, noise: list[float] | None = None) -> Any:
    operation = OPERATIONS[name]
    settled = operation.settle(value, (noise or [])[: operation.noise], size)
    return operation.effect(value, settled, size)


def applied(
    name: str, image: Image, value: float, noise: list[float] | None = None, sampling: Sampling = DEFAULT
) -> Image:
    effect = effect_of(name, value, Size(*image.shape[:2]), noise)
    return run(fuse([effect] if effect else []), image, sampling)


def value_of(name: str, magnitude: int, image: Image, *, negative: bool = False) -> float:
    value = OPERATIONS[name].value(magnitude, "standard", Size(*image.shape[:2]))
    return -value if negative else value


def as_pil(image: Image) -> PILImage.Image:
    return PILImage.fromarray(image if image.shape[2] == 3 else image[:, :, 0])


def by_pil(image: Image, change: Callable[[PILImage.Image], PILImage.Image]) -> Image:
    return np.asarray(change(as_pil(image))).reshape(image.shape)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("invert", ImageOps.invert),
        ("flip_horizontal", ImageOps.mirror),
        ("flip_vertical", ImageOps.flip),
        ("rotate_180", lambda picture: picture.transpose(PILImage.Transpose.ROTATE_180)),
    ],
)
@given(image=any_image)
@quick
def test_equals_pil(name: str, change: Callable[[PILImage.Image], PILImage.Image], image: Image) -> None:
    np.testing.assert_array_equal(applied(name, image, 0), by_pil(image, change))


@pytest.mark.parametrize(("name", "turns"), [("rotate_90", 1), ("rotate_270", 3)])
@given(side=sides, channels=st.sampled_from([1, 3]))
@quick
def test_quarter_turns_of_squares_equal_numpys(name: str, turns: int, side: int, channels: int) -> None:
    image = photo(side, side, channels)
    np.testing.assert_array_equal(applied(name, image, 0), np.rot90(image, turns))


@given(image=any_image, magnitude=magnitudes, negative=st.booleans())
@quick
def test_gamma_equals_torchvisions(image: Image, magnitude: int, negative: bool) -> None:
    octaves = value_of("gamma", magnitude, image, negative=negative)
    expected = by_pil(image, lambda picture: functional.adjust_gamma(picture, 2**octaves))
    np.testing.assert_array_equal(applied("gamma", image, octaves), expected)


@given(image=any_image, levels=st.integers(-100, 100))
@quick
def test_brightness_shift_adds_and_clips(image: Image, levels: int) -> None:
    expected = np.clip(image.astype(int) + levels, 0, 255)
    np.testing.assert_array_equal(applied("brightness_shift", image, levels), expected)


@given(image=any_image.filter(lambda image: image.shape[2] == 3))
@quick
def test_grey_is_pils_luma_in_every_channel(image: Image) -> None:
    expected = np.asarray(as_pil(image).convert("L")).astype(int)[:, :, None]
    assert np.abs(applied("grey", image, 0) - expected).max() <= 1


@given(image=any_image.filter(lambda image: image.shape[2] == 3), draw=st.floats(0, 1, exclude_max=True))
@quick
def test_channel_shuffle_equals_torchvisions_permutation(image: Image, draw: float) -> None:
    order = list(SHUFFLES[int(draw * 5)])
    np.testing.assert_array_equal(applied("channel_shuffle", image, 0, [draw]), image[:, :, order])


def test_channel_shuffle_has_every_order_but_the_first() -> None:
    assert len(set(SHUFFLES)) == 5
    assert all(sorted(order) == [0, 1, 2] != list(order) for order in SHUFFLES)


@given(magnitude=magnitudes, negative=st.booleans(), level=st.integers(0, 255))
@quick
def test_hue_turns_colours_and_keeps_greys_and_luma(magnitude: int, negative: bool, level: int) -> None:
    grey = np.full((2, 2, 3), level, np.uint8)
    degrees = value_of("hue", magnitude, grey, negative=negative)
    np.testing.assert_array_equal(applied("hue", grey, degrees), grey)
    effect = effect_of("hue", degrees, Size(2, 2))
    assert isinstance(effect, Colour)
    np.testing.assert_allclose(LUMA @ effect.matrix[:, :3], LUMA, atol=1e-12)
    back = effect_of("hue", -degrees, Size(2, 2))
    np.testing.assert_allclose(effect.matrix[:, :3] @ back.matrix[:, :3], np.eye(3), atol=1e-12)


def test_hue_turns_red_towards_another_colour_by_the_angle() -> None:
    """Against the angle in the plane of the colour differences, the definition of hue in YIQ."""
    start = np.array([0.62, 0.4, 0.35])

    def angle(colour: np.ndarray) -> float:
        return float(
            np.degrees(np.arctan2(*(colour @ [(0.2115, 0.5959), (-0.5227, -0.2746), (0.3112, -0.3213)])))
        )

    effect = effect_of("hue", 40, Size(1, 1))
    assert angle(effect.matrix[:, :3] @ start) - angle(start) == pytest.approx(40, abs=1e-6)


@given(image=any_image, magnitude=magnitudes)
@quick
def test_gaussian_blur_is_within_one_of_torchvisions(image: Image, magnitude: int) -> None:
    shorter = min(image.shape[:2])
    value = value_of("gaussian_blur", magnitude, image)
    effect = effect_of("gaussian_blur", value, Size(*image.shape[:2]))
    result = applied("gaussian_blur", image, value)
    if effect is None:
        assert value * shorter < 0.02 or shorter == 1
        np.testing.assert_array_equal(result, image)
        return
    assert isinstance(effect, Kernel)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = functional.gaussian_blur(tensor, [len(effect.taps)] * 2, [value * shorter] * 2)
    assert np.abs(result.astype(int) - expected.permute(1, 2, 0).numpy()).max() <= 1


@pytest.mark.parametrize("magnitude", [9, 30])
def test_gaussian_blur_of_a_large_photo_is_within_one_of_a_whole_gaussian(magnitude: int) -> None:
    """Against a Gaussian that is not cut off at three standard deviations."""
    image = load_sample_image("flower.jpg")[:300]
    sigma = 300 * value_of("gaussian_blur", magnitude, image)
    kernel = 2 * int(6 * sigma) + 1
    expected = functional.gaussian_blur(torch.tensor(image).permute(2, 0, 1), [kernel] * 2, [sigma] * 2)
    result = applied("gaussian_blur", image, value_of("gaussian_blur", magnitude, image)).astype(int)
    assert np.abs(result - expected.permute(1, 2, 0).numpy()).max() <= 1


def certain(effect: Warp, height: int, width: int) -> np.ndarray:
    """(H, W): which output pixels are read well inside one input pixel, or well outside the image."""
    y, x = np.mgrid[:height, :width]
    centre = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    points = np.stack([x.ravel(), y.ravel()]) - centre
    read = effect.matrix @ np.vstack([points, np.ones(height * width)])
    if (read[2] <= 0.05).any():  # at the horizon or behind it
        return np.zeros((height, width), dtype=bool)
    places = read[:2] / read[2] + centre
    return (np.abs(places % 1 - 0.5).min(axis=0) > 2e-3).reshape(height, width)


@pytest.mark.parametrize("name", ["zoom_in", "zoom_out"])
@given(image=any_image, magnitude=magnitudes)
@quick
def test_zooms_equal_torchvisions_scale(name: str, image: Image, magnitude: int) -> None:
    factor = value_of(name, magnitude, image)
    effect = effect_of(name, factor, Size(*image.shape[:2]))
    scale = factor if name == "zoom_in" else 1 / factor
    expected = functional.affine(
        torch.tensor(image).permute(2, 0, 1), angle=0, translate=[0, 0], scale=scale, shear=[0, 0]
    )
    sure = certain(effect, *image.shape[:2])
    np.testing.assert_array_equal(applied(name, image, factor)[sure], expected.permute(1, 2, 0).numpy()[sure])


@given(image=any_image, magnitude=magnitudes, noise=draws)
@quick
def test_perspective_equals_torchvisions(image: Image, magnitude: int, noise: list[float]) -> None:
    height, width, _ = image.shape
    reach = value_of("perspective", magnitude, image)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=float)
    moved = corners + reach * (2 * np.array(noise).reshape(4, 2) - 1) * (width, height)
    expected = functional.perspective(
        torch.tensor(image).permute(2, 0, 1),
        moved.tolist(),
        corners.tolist(),
        interpolation=functional.InterpolationMode.NEAREST,
    )
    sure = certain(effect_of("perspective", reach, Size(height, width), noise), height, width)
    np.testing.assert_array_equal(
        applied("perspective", image, reach, noise)[sure], expected.permute(1, 2, 0).numpy()[sure]
    )


@given(magnitude=magnitudes, noise=draws)
@quick
def test_affine_reads_three_corners_where_its_noise_says(magnitude: int, noise: list[float]) -> None:
    reach = value_of("affine", magnitude, photo(30, 40, 3))
    effect = effect_of("affine", reach, Size(30, 40), noise)
    corners = np.array([[-20, 20, -20], [-15, -15, 15]], dtype=float)
    moved = corners + reach * (2 * np.array(noise[:6]).reshape(2, 3) - 1) * [[40], [30]]
    np.testing.assert_allclose(effect.matrix @ np.vstack([corners, np.ones(3)]), [*moved, [1, 1, 1]])


@pytest.mark.parametrize("name", OPERATION_SETS["colour"])
@given(image=any_image, magnitude=magnitudes, negative=st.booleans(), noise=draws)
@settings(max_examples=20)
def test_operations_of_the_colour_set_leave_the_geometry(
    name: str, image: Image, magnitude: int, negative: bool, noise: list[float]
) -> None:
    """Mirrored before or after is the same, and a plain image stays plain."""
    value = value_of(name, magnitude, image, negative=negative and OPERATIONS[name].signed)
    mirrored = np.ascontiguousarray(image[::-1, ::-1])
    np.testing.assert_array_equal(
        applied(name, mirrored, value, noise), applied(name, image, value, noise)[::-1, ::-1]
    )
    plain = np.broadcast_to(image[:1, :1], image.shape).copy()
    assert np.ptp(applied(name, plain, value, noise), axis=(0, 1)).max() == 0


@pytest.mark.parametrize("name", OPERATION_SETS["geometry"])
@given(image=any_image, magnitude=magnitudes, negative=st.booleans(), noise=draws)
@settings(max_examples=20)
def test_operations_of_the_geometry_set_only_move_pixels(
    name: str, image: Image, magnitude: int, negative: bool, noise: list[float]
) -> None:
    value = value_of(name, magnitude, image, negative=negative and OPERATIONS[name].signed)
    result = applied(name, image, value, noise, Sampling(border="reflect"))
    channels = image.shape[2]
    assert set(map(tuple, result.reshape(-1, channels).tolist())) <= set(
        map(tuple, image.reshape(-1, channels).tolist())
    )


def test_sets_are_what_they_say() -> None:
    sets = {name: set(members) for name, members in OPERATION_SETS.items()}
    assert list(OPERATION_SETS) == ["randaugment", "colour", "geometry", "wide"]
    assert OPERATION_SETS["randaugment"] == RANDAUGMENT == tuple(OPERATIONS)[:14]
    assert sets["wide"] == sets["colour"] | sets["geometry"] | {"cutout"}
    assert sets["colour"] & sets["geometry"] == {"identity"}
    assert {"identity", "rotate", "zoom_in", "perspective"} <= sets["geometry"]
    assert {"gamma", "hue", "grey", "gaussian_blur", "channel_shuffle"} <= sets["colour"]
    # A policy has a probability of its own for these: a mirrored digit is no digit.
    assert set(OPERATIONS) - sets["wide"] == {
        *("crop", "flip_horizontal", "flip_vertical", "rotate_90", "rotate_180", "rotate_270"),
        *("resized_crop", "erase"),
    }


@given(image=any_image, magnitude=magnitudes, noise=draws, fill=st.tuples(*[st.integers(0, 255)] * 3))
@quick
def test_cutout_paints_the_part_of_a_rectangle_that_lies_inside(
    image: Image, magnitude: int, noise: list[float], fill: tuple[int, int, int]
) -> None:
    height, width, channels = image.shape
    share = value_of("cutout", magnitude, image)
    y, x = np.mgrid[:height, :width]
    tall, broad = round(share * height), round(share * width)
    top, left = int(noise[0] * height) - tall // 2, int(noise[1] * width) - broad // 2
    inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + broad)
    expected = np.where(inside[:, :, None], np.array(fill[:channels]), image)
    result = applied("cutout", image, share, noise, Sampling(fill=fill))
    np.testing.assert_array_equal(result, expected)


@given(image=any_image, magnitude=magnitudes, noise=draws, border=st.sampled_from(["fill", "reflect"]))
@quick
def test_crop_is_padding_and_cutting_out(
    image: Image, magnitude: int, noise: list[float], border: Any
) -> None:
    height, width, _ = image.shape
    padding = value_of("crop", magnitude, image)
    reach_x, reach_y = round(padding * width), round(padding * height)
    left, top = int(noise[0] * (2 * reach_x + 1)), int(noise[1] * (2 * reach_y + 1))
    pads = ((reach_y, reach_y), (reach_x, reach_x), (0, 0))
    padded = np.pad(image, pads) if border == "fill" else np.pad(image, pads, mode="reflect")
    expected = padded[top : top + height, left : left + width]
    result = applied("crop", image, padding, noise, Sampling(border=border))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["zoom_in", "zoom_out", "affine", "perspective"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@given(image=any_image, magnitude=magnitudes, noise=draws)
@settings(max_examples=40)
def test_free_warps_read_where_their_matrix_says(
    name: str, interpolation: Any, image: Image, magnitude: int, noise: list[float]
) -> None:
    """Against sampling by hand in float64, away from the border and from where rounding could differ."""
    height, width, _ = image.shape
    effect = effect_of(name, value_of(name, magnitude, image), Size(height, width), noise)
    assert isinstance(effect, Warp)
    y, x = np.mgrid[:height, :width]
    points = np.stack([x - (width - 1) / 2, y - (height - 1) / 2, np.ones_like(x)]).reshape(3, -1)
    read = effect.matrix @ points
    with np.errstate(all="ignore"):
        read_x, read_y = read[:2] / read[2] + np.array([[(width - 1) / 2], [(height - 1) / 2]])
    result = applied(name, image, value_of(name, magnitude, image), noise, Sampling(interpolation))
    inside = (read_x > 0) & (read_x < width - 1) & (read_y > 0) & (read_y < height - 1) & (read[2] > 0)
    if interpolation == "nearest":
        inside &= np.abs(np.stack([read_x, read_y]) % 1 - 0.5).min(axis=0) > 2e-3
    read_x, read_y = read_x[inside], read_y[inside]
    got = result.reshape(-1, image.shape[2])[inside].astype(float)
    if interpolation == "nearest":
        expected = image[np.rint(read_y).astype(int), np.rint(read_x).astype(int)].astype(float)
        tolerance = 0.0
    else:
        left, top = np.floor(read_x).astype(int), np.floor(read_y).astype(int)
        a, b = (read_x - left)[:, None], (read_y - top)[:, None]
        values = image.astype(float)
        upper = values[top, left] * (1 - a) + values[top, left + 1] * a
        lower = values[top + 1, left] * (1 - a) + values[top + 1, left + 1] * a
        expected = upper * (1 - b) + lower * b
        # OpenCV before 5 reads at multiples of 1/32 pixel.
        tolerance = 1.0 if int(cv2.__version__.split(".")[0]) >= 5 else 255 / 32
    assert np.abs(got - expected).max(initial=0) <= tolerance


@given(magnitude=magnitudes, noise=draws)
@settings(max_examples=30)
def test_perspective_reads_each_corner_where_its_noise_says(magnitude: int, noise: list[float]) -> None:
    image = photo(30, 40, 3)
    reach = value_of("perspective", magnitude, image)
    effect = effect_of("perspective", reach, Size(30, 40), noise)
    corners = np.array([[-20, -15], [20, -15], [20, 15], [-20, 15]], dtype=float)
    moved = corners + reach * (2 * np.array(noise).reshape(4, 2) - 1) * (40, 30)
    read = np.column_stack([corners, np.ones(4)]) @ effect.matrix.T
    np.testing.assert_allclose(read[:, :2] / read[:, 2:], moved, atol=1e-3)
