"""How pixels are read: transparency, more than 8 bits, what becomes of the ends of a wide image, sizes."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, load_cache
from augsearch.trainers.data.decode import BadImageError, decode_file, fit, pillow_without_warnings
from augsearch.trainers.data.form import PLAIN, Form, Reading
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.views import OnDisk, View
from augsearch.trainers.data.written import colour_of, range_of

SHAPES = ("cats/0.png", "cats/1.png", "dogs/0.png", "dogs/1.png")


def opened(source: Path, form: Form = PLAIN, **options: Any) -> ImageData:
    return open_images(
        str(source), cache=source.with_name("cache"), form=form, **{"image_size": 8, **options}
    )


def folder(root: Path, images: list[Image.Image] | list[np.ndarray], suffix: str = ".png") -> Path:
    for file, image in zip(SHAPES, images, strict=False):
        path = (root / file).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, Image.Image):
            image.save(path)
        else:
            cv2.imwrite(str(path), image)
    return root


def shapes_on_nothing() -> list[Image.Image]:
    """Black squares of four sizes on transparent black."""
    pictures = []
    for size in range(2, 6):
        image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (0, 0, 2 * size, 2 * size))
        pictures.append(image)
    return pictures


def test_shapes_on_a_transparent_ground_are_told_apart(tmp_path: Path) -> None:
    data = opened(folder(tmp_path / "shapes", shapes_on_nothing()))
    dark = (data.images < 128).sum(axis=(1, 2, 3))
    assert dark.tolist() == [4, 9, 16, 25]
    (line,) = data.notes
    assert line.startswith("transparent images (cats/0.png, say) are shown on white; --background takes")


def test_another_background_is_another_data_set(tmp_path: Path) -> None:
    root = folder(tmp_path / "shapes", shapes_on_nothing())
    blue = opened(root, Form(reading=Reading(background=(0, 0, 255))))
    assert (blue.images[0, -1, -1] == [0, 0, 255]).all()
    assert blue.fingerprint != opened(root).fingerprint
    assert load_cache(blue.cache).form.reading.background == (0, 0, 255)


def test_opaque_alpha_changes_nothing_and_is_not_spoken_of(tmp_path: Path) -> None:
    pictures = [
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (9, 9, 3), np.uint8)) for n in range(4)
    ]
    plain = opened(folder(tmp_path / "plain" / "a", pictures))
    alpha = opened(folder(tmp_path / "alpha" / "a", [one.convert("RGBA") for one in pictures]))
    assert (alpha.fingerprint, alpha.notes) == (plain.fingerprint, ())


def scans(most: int, dtype: str = "<u2") -> list[np.ndarray]:
    return [
        np.linspace(0, most, 64, dtype=np.float64).reshape(8, 8).astype(dtype)[::step]
        for step in (1, -1, 1, -1)
    ]


@pytest.mark.parametrize("most", [255, 1023, 4095, 20_000])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_scans_that_use_few_bits_are_as_bright_as_those_that_use_all(
    tmp_path: Path, most: int, suffix: str
) -> None:
    data = opened(folder(tmp_path / "few" / "x", [Image.fromarray(one) for one in scans(most)], suffix))
    whole = opened(folder(tmp_path / "all" / "x", [Image.fromarray(one) for one in scans(65535)], suffix))
    assert np.abs(data.images.astype(int) - whole.images).max() <= 1
    assert data.form.reading.value_range == (0, most)
    assert len(data.notes) == 1
    assert f"from 0 to {most:,}, which become 0 to 255; --value-range" in data.notes[0]
    assert (whole.notes, whole.form) == ((), PLAIN)


def test_arrays_and_files_of_the_same_scans_are_the_same_data(tmp_path: Path) -> None:
    pictures = scans(4095)
    files = opened(folder(tmp_path / "files" / "x", [Image.fromarray(one) for one in pictures]))
    (tmp_path / "arrays").mkdir()
    path = tmp_path / "arrays" / "x.npz"
    np.savez(path, images=np.stack(pictures), labels=[0, 0, 1, 1], classes=["cats", "dogs"])
    assert opened(path).fingerprint == files.fingerprint


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_coloured_scans_of_few_bits_are_bright_too(tmp_path: Path, suffix: str) -> None:
    bgr = [np.stack([one, one // 2, one // 4], axis=-1) for one in scans(4095)]
    data = opened(folder(tmp_path / "colour" / "x", bgr, suffix))
    assert data.images[0, -1, -1].tolist() == [64, 127, 255]


def test_a_range_that_is_given_is_taken(tmp_path: Path) -> None:
    root = folder(tmp_path / "x", [Image.fromarray(one) for one in scans(4095)])
    data = opened(root, Form(reading=Reading(value_range=(1000, 2000))))
    assert ((data.images == 0) | (data.images == 255)).mean() > 0.7
    assert data.notes == ()


def test_floats_of_any_range_are_read_by_their_own_or_by_what_is_said(tmp_path: Path) -> None:
    root = folder(tmp_path / "x", [Image.fromarray(one.astype(np.float32)) for one in scans(300)], ".tif")
    data = opened(root)
    assert (data.images.min(), data.images.max()) == (0, 255)
    assert data.notes[0].endswith("which become 0 to 255; --value-range LOW,HIGH takes others")
    darker = opened(root, Form(reading=Reading(value_range=(0, 600))))
    assert darker.images.max() == 128


def test_final_trainings_read_files_as_they_were_decoded(tmp_path: Path) -> None:
    root = folder(tmp_path / "x", [Image.fromarray(one) for one in scans(4095)])
    data = opened(root)
    disk = OnDisk([root / file for file in data.files], 8, 1, reading=data.form.reading)
    (images,) = disk.clean(np.arange(4))
    np.testing.assert_array_equal(images, data.images)


def wide(left: int, right: int) -> Image.Image:
    """Grey, with something at the two ends."""
    image = Image.new("L", (128, 32), 128)
    image.paste(left, (0, 0, 32, 32))
    image.paste(right, (96, 0, 128, 32))
    return image


@pytest.mark.parametrize(("fit", "seen"), [("crop", False), ("pad", True), ("squash", True)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_ends_of_a_wide_image_are_seen_where_all_of_it_is_used(
    tmp_path: Path, fit: Any, seen: bool, suffix: str
) -> None:
    pictures = [wide(0, 255), wide(0, 255), wide(255, 0), wide(255, 0)]
    data = opened(folder(tmp_path / "x", pictures, suffix), Form(reading=Reading(fit=fit)), image_size=32)
    differ = np.abs(data.images[0].astype(int) - data.images[2]).max() > 100
    assert differ == seen
    if fit == "pad":
        assert (data.images[0, :8] > 245).all()  # the background
        assert (data.images[0, 13:19, :6] < 20).all()


@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_random_crops_reach_the_ends_of_a_wide_image(tmp_path: Path, fit: Any) -> None:
    wide(0, 255).save(tmp_path / "0.png")
    reading = Reading(fit=fit, background=(128, 128, 128))
    files = OnDisk([tmp_path / "0.png"], 16, 3, reading=reading)
    crops = [files.read(0, View(0.6, seed)) for seed in range(20)]
    both = [one for one in crops if one.min() < 20 and one.max() > 235]
    assert len(both) > 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_padding_keeps_an_image_upright(orientation: int) -> None:
    picture = Image.fromarray(np.tile(np.arange(0, 200, 10, dtype=np.uint8), (8, 1)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    turned = decode_file(buffer.getvalue(), 20, reading=Reading(fit="pad", background=(9, 9, 9)))
    assert (turned == 9).any(axis=(1, 2)).all() == (orientation >= 5)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["crop", "pad", "squash"]), st.integers(1, 8))
def test_every_shape_becomes_a_square(width: int, height: int, way: Any, orientation: int) -> None:
    image = Image.new("RGB", (width, height), (1, 2, 3))
    pixels = fit(image, 8, orientation=orientation, reading=Reading(fit=way, background=(1, 2, 3)))
    assert pixels.shape == (8, 8, 3)
    assert (pixels == [1, 2, 3]).all()


def test_images_with_more_pixels_than_usual_say_which_flag_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "x", [Image.new("L", (30, 20), 9)] * 4)
    monkeypatch.setattr("augsearch.trainers.data.image_files.MOST_PIXELS", 599)
    with pytest.raises(UserError, match=r"600 pixels, and more than 599 .*; --max-pixels 600 takes it"):
        opened(root)
    assert len(opened(root, Form(reading=Reading(max_pixels=600))).images) == 4


def test_scans_with_more_pixels_than_usual_are_as_bright_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = [Image.fromarray(np.full((20, 30), 1000 * number, np.uint16)) for number in range(4)]
    root = folder(tmp_path / "x", scans)
    monkeypatch.setattr("augsearch.trainers.data.image_files.MOST_PIXELS", 599)
    data = opened(root, Form(reading=Reading(max_pixels=600)))
    assert data.form.reading.value_range == (0.0, 3000.0)
    assert data.images.max() == 255


def test_pillows_own_limit_is_not_in_the_way_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (30, 20), 9).save(tmp_path / "1.png")
    with pillow_without_warnings():
        assert decode_file(tmp_path / "1.png", 8).shape == (8, 8, 1)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(BadImageError, match="decompression bomb"):
        decode_file(tmp_path / "1.png", 8)


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt"])
def test_a_png_with_a_book_in_it_is_still_a_picture(tmp_path: Path, kind: str) -> None:
    info = PngImagePlugin.PngInfo()
    text = "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1)
    if kind == "iTXt":
        info.add_itxt("book", text, zip=True)
    else:
        info.add_text("book", text, zip=kind == "zTXt")
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for number in range(2):
        picture.save(tmp_path / f"{number}.png", pnginfo=info if number else None)
    plain, book = (decode_file(tmp_path / f"{number}.png", 8) for number in range(2))
    np.testing.assert_array_equal(plain, book)


def test_many_books_too(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    for _ in range(PngImagePlugin.MAX_TEXT_MEMORY // 2**20 + 1):
        info.add(b"zTXt", b"book\0\0" + zlib.compress(b"x" * 2**20))
    Image.new("L", (8, 8), 7).save(tmp_path / "1.png", pnginfo=info)
    assert (decode_file(tmp_path / "1.png", 8) == 7).all()


@pytest.mark.parametrize(
    ("written", "colour"),
    [("white", (255, 255, 255)), ("Black", (0, 0, 0)), ("#ff8000", (255, 128, 0)), ("1, 2,3", (1, 2, 3))],
)
def test_colours_are_read_as_people_write_them(written: str, colour: tuple[int, int, int]) -> None:
    assert colour_of(written) == colour


@pytest.mark.parametrize("written", ["", "mauve", "#ff", "1,2", "1,2,256", "1,2,-3", "1,2,x"])
def test_what_is_no_colour_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"must be white, .* #RRGGBB or R,G,B"):
        colour_of(written)


@pytest.mark.parametrize("written", ["", "1", "5,1", "1,1", "a,b", "1,2,3", "nan,1", "0,inf", "-inf,3"])
def test_what_is_no_range_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="must be LOW,HIGH"):
        range_of(written)
    assert range_of("-5,4095.5") == (-5, 4095.5)
