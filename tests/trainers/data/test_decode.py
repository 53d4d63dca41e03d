"""Any picture becomes a square of 8-bit pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from augsearch.trainers.data.decode import (
    BadImageError,
    decode_file,
    fit,
    fit_array,
    pillow_without_warnings,
    with_channels,
)
from augsearch.trainers.data.form import Reading
from augsearch.trainers.data.levels import to_uint8
from augsearch.trainers.system.threads import in_order

SIZE = 8
MAGIC = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"P5 8 8 255\n", b"BM")


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A coloured picture without symmetries, smooth enough to survive JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def palette(*, transparent: bool = True) -> Image.Image:
    image = Image.new("P", (SIZE, SIZE), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    if transparent:
        image.info["transparency"] = bytes([0, 128])
    return image


def deep(value: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray(np.full((SIZE, SIZE), value, dtype))


@pytest.mark.parametrize(
    ("image", "suffix", "pixel"),
    [
        (Image.new("L", (SIZE, SIZE), 77), ".png", [77]),
        (Image.new("RGB", (SIZE, SIZE), (1, 2, 3)), ".PNG", [1, 2, 3]),
        (Image.new("RGB", (SIZE, SIZE), (9, 9, 9)), ".bmp", [9]),
        (Image.new("RGBA", (SIZE, SIZE), (10, 20, 30, 255)), ".png", [10, 20, 30]),
        (Image.new("RGBA", (SIZE, SIZE), (255, 0, 0, 0)), ".png", [255]),
        (Image.new("RGBA", (SIZE, SIZE), (10, 20, 30, 51)), ".webp", [206, 208, 210]),
        (Image.new("LA", (SIZE, SIZE), (40, 0)), ".png", [255]),
        (Image.new("LA", (SIZE, SIZE), (40, 255)), ".png", [40]),
        (deep(65535), ".png", [255]),
        (deep(51400), ".png", [200]),
        (deep(300), ".tiff", [1]),
        (deep(51400), ".pgm", [200]),
        (Image.fromarray(np.full((SIZE, SIZE), 0.2, np.float32)), ".tif", [51]),
        (palette(), ".png", [227, 177, 152]),
        (palette(transparent=False), ".gif", [200, 100, 50]),
        (Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)), ".tif", [255, 0, 0]),
        (Image.new("1", (SIZE, SIZE), 1), ".png", [255]),
        (Image.new("RGB", (SIZE, SIZE), (0, 0, 255)), ".ppm", [0, 0, 255]),
    ],
    ids=lambda value: f"{value.mode}" if isinstance(value, Image.Image) else str(value),
)
def test_every_mode_keeps_its_values(
    tmp_path: Path, image: Image.Image, suffix: str, pixel: list[int]
) -> None:
    path = tmp_path / f"image{suffix}"
    image.save(path)
    with pillow_without_warnings():
        pixels = decode_file(path, SIZE)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (SIZE, SIZE, len(pixel))
    assert (pixels == pixel).all()


def test_a_cmyk_jpeg_comes_out_in_its_colour(tmp_path: Path) -> None:
    Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    pixels = decode_file(tmp_path / "red.jpg", SIZE)
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 4


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (SIZE, SIZE), colour) for colour in [(255, 0, 0), (0, 255, 0)]]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (decode_file(tmp_path / "moving.gif", SIZE) == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(50, 30).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        upright = ImageOps.exif_transpose(turned)
    difference = decode_file(tmp_path / "turned.png", 16).astype(int) - fit(upright, 16)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0\xff\xff\xff\xff",  # ends before it begins
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0abc\0",  # the orientation is a letter
    ],
)
def test_a_broken_exif_block_does_not_make_a_bad_image(tmp_path: Path, exif: bytes) -> None:
    photo(16, 16).save(tmp_path / "image.jpg", exif=b"Exif\0\0" + exif)
    with pillow_without_warnings():
        assert decode_file(tmp_path / "image.jpg", SIZE).shape == (SIZE, SIZE, 3)


def test_an_image_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    original = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(original).save(tmp_path / "image.png")
    np.testing.assert_array_equal(decode_file(tmp_path / "image.png", SIZE), original)


@pytest.mark.parametrize("turned", [False, True])
def test_the_shorter_side_is_scaled_and_the_centre_kept(turned: bool) -> None:
    stripes = np.zeros((30, 90, 3), np.uint8)
    for third in range(3):
        stripes[:, third * 30 : (third + 1) * 30, third] = 255
    image = Image.fromarray(stripes.swapaxes(0, 1) if turned else stripes)
    assert (fit(image, 30) == [0, 255, 0]).all()
    assert (fit(image, 10)[2:-2, 2:-2] == [0, 255, 0]).all()


def test_scaling_down_is_antialiased() -> None:
    board = np.indices((96, 96)).sum(0) % 2 * 255
    assert np.abs(fit(Image.fromarray(board.astype(np.uint8)), SIZE).astype(int) - 127).max() <= 2


def test_a_large_jpeg_read_at_a_fraction_of_its_size_looks_like_one_read_whole(tmp_path: Path) -> None:
    # Details of the size that just survives, so that reading it too small would show.
    detailed = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    large = Image.fromarray(detailed).resize((300, 260), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as image:
        whole = fit(image, 32)
    difference = np.abs(decode_file(tmp_path / "large.jpg", 32).astype(int) - whole)
    assert difference.max() <= 8
    assert difference.mean() <= 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".ppm"])
def test_a_truncated_file_is_bad_and_never_half_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    photo(64, 64).save(path)
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(BadImageError, match=r"\w"), pillow_without_warnings():
            decode_file(path, SIZE)


@settings(max_examples=60)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0"]),
)
def test_no_file_raises_anything_but_a_reason(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, magic: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.png"
    path.write_bytes(magic + content)
    with pytest.raises(BadImageError) as error, pillow_without_warnings():
        decode_file(path, SIZE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", [10_000, 14_000])
def test_a_decompression_bomb_is_a_bad_image(tmp_path: Path, side: int) -> None:
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(BadImageError, match="decompression bomb"), pillow_without_warnings():
        decode_file(tmp_path / "bomb.png", SIZE)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"hello", "not an image that Pillow can read")]
)
def test_what_is_no_image_is_said_to_be_none(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=reason):
        decode_file(tmp_path / "image.jpg", SIZE)


def test_the_bytes_of_a_file_are_decoded_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    photo(300, 260).save(path)
    np.testing.assert_array_equal(decode_file(path.read_bytes(), 32), decode_file(path, 32))
    for content, reason in ((b"", "the file is empty"), (b"hello", "not an image that Pillow can read")):
        with pytest.raises(BadImageError, match=reason):
            decode_file(content, SIZE)


def test_a_broken_link_is_a_bad_image(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(BadImageError, match="No such file"):
        decode_file(tmp_path / "image.jpg", SIZE)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 7, 255], np.uint8), [0, 7, 255]),
        (np.array([0, 128, 129, 25700, 65535], np.uint16), [0, 0, 1, 100, 255]),
        (np.array([0, 65535], ">u2"), [0, 255]),
        (np.array([False, True]), [0, 255]),
        (np.array([0, 0.5, 1], np.float16), [0, 128, 255]),
        (np.array([0, 0.2, 1], np.float64), [0, 51, 255]),
    ],
)
def test_pixel_values_are_scaled_from_the_whole_range_of_their_type(
    values: np.ndarray[Any, Any], expected: list[int]
) -> None:
    assert to_uint8(values).tolist() == expected


@pytest.mark.parametrize(("value", "rule"), [(-0.1, r"in 0\.\.1"), (1.5, r"in 0\.\.1"), (np.inf, "numbers")])
def test_floats_outside_0_to_1_are_refused(value: float, rule: str) -> None:
    with pytest.raises(BadImageError, match=f"must be {rule}, found"):
        to_uint8(np.array([0.5, value]))


def test_an_array_shows_its_alpha_on_the_background_and_is_grey_if_its_channels_agree() -> None:
    grey = np.repeat(np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE, 1), 4, axis=2)
    grey[..., 3] = 255
    np.testing.assert_array_equal(fit_array(grey, SIZE), grey[..., :1])
    grey[..., 3] = 0
    assert (fit_array(grey, SIZE) == 255).all()
    assert (fit_array(grey, SIZE, Reading(background=(0, 9, 0))) == [0, 9, 0]).all()
    assert fit_array(grey[..., 0], 4).shape == (4, 4, 1)
    assert fit_array(grey[..., :1], 4).shape == (4, 4, 1)


def test_work_is_yielded_in_order_and_runs_only_a_little_ahead() -> None:
    begun = []

    def items() -> Any:
        for number in range(10_000):
            begun.append(number)
            yield number

    results = in_order(lambda number: number * 2, items())
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(begun) < 100
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_get_as_many_channels_as_are_asked_for(channels: int) -> None:
    grey = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE, 1)
    np.testing.assert_array_equal(with_channels(grey, channels), np.repeat(grey, channels, axis=2))
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[..., 0] = 200
    expected = red if channels == 3 else np.full((SIZE, SIZE, 1), 60)
    np.testing.assert_array_equal(with_channels(red, channels), expected)
