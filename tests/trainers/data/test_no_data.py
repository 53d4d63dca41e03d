"""Where nothing was measured, by NaN or by what a TIFF says: shown as the background, counted, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import load_cache
from augsearch.trainers.data.decode import BadImageError, decode_file, decode_shrunk, fit_array
from augsearch.trainers.data.form import PLAIN, Form, Reading
from augsearch.trainers.data.inspection import inspect
from augsearch.trainers.data.levels import to_uint8
from augsearch.trainers.data.looks import look_at
from augsearch.trainers.data.no_data import TAG
from tests.trainers.data.test_bands import FILES, opened, saved, tiles

GREY = Form(reading=Reading(background=(128, 128, 128)))


def tagged(root: Path, images: NDArray[Any], number: str, photometric: Any = "minisblack") -> Path:
    """TIFFs that say what stands where nothing was measured."""
    for file, image in zip(FILES, images, strict=True):
        path = (root / file).with_suffix(".tif")
        path.parent.mkdir(parents=True, exist_ok=True)
        more: dict[str, Any] = {"planarconfig": "contig"} if image.ndim == 3 else {}
        tag = [(TAG, "s", 0, number, True)]
        tifffile.imwrite(path, image, photometric=photometric, extratags=tag, **more)
    return root


def with_nan(channels: int = 5) -> NDArray[Any]:
    images = tiles(channels, np.float32, 1000)
    images[1, :, :7] = np.nan
    return images


def test_nan_is_shown_as_the_background_and_told_with_how_much_it_is(tmp_path: Path) -> None:
    data = opened(saved(tmp_path / "x", with_nan()), GREY, image_size=10)
    # The centre square of 14 × 10 begins at the third column, so five of its columns are left.
    assert (data.images[1, :, :4] == 128).all()
    assert data.images[1, :, 6:].std() > 30
    assert data.notes[-1] == (
        "no data (NaN, or the value that a file says to mean it) in 1 image, up to 50 % of an image: shown "
        "#808080; --background takes another colour"
    )
    assert load_cache(data.cache).notes == data.notes
    assert inspect(str(tmp_path / "x"), GREY).notes == data.notes


def test_the_range_is_that_of_what_was_measured(tmp_path: Path) -> None:
    images = with_nan()
    images[2, 0, 0, 0], images[2, 0, 1, 0] = 0, 1000
    data = opened(saved(tmp_path / "x", images))
    assert data.form.reading.value_range == (0, 1000)
    low = np.where(np.isnan(images), -9999, images)
    tag = opened(tagged(tmp_path / "y", low, "-9999"))
    assert (tag.form, tag.fingerprint) == (data.form, data.fingerprint)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64])
def test_every_form_of_the_same_gaps_is_the_same_data_set(tmp_path: Path, dtype: Any) -> None:
    images = with_nan()
    marked = np.where(np.isnan(images), 9999, images).astype(dtype)
    tag = opened(tagged(tmp_path / "tag", marked, "9999"), GREY)
    np.savez(tmp_path / "x.npz", images=images, labels=[0, 0, 1, 1], classes=["cats", "dogs"])
    fingerprints = {opened(saved(tmp_path / "npy", images, ".npy"), GREY).fingerprint}
    fingerprints |= {tag.fingerprint, opened(tmp_path / "x.npz", GREY).fingerprint}
    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    ("dtype", "number"),
    [(np.uint8, "0"), (np.uint16, "0"), (np.int32, "-9999"), (np.float32, "-9999"), (np.float32, "nan")],
)
def test_grey_tiffs_say_it_too(tmp_path: Path, dtype: Any, number: str) -> None:
    image = tiles(1, np.float64, 200)[..., 0] + 50
    image[:, :3] = float(number)
    root = tagged(tmp_path / "x", image.astype(dtype), number)
    data = opened(root, GREY, image_size=10)
    assert (data.images[:, :3] == 128).all()
    assert data.images[:, 4:].std() > 10
    assert "in 4 images, up to 30 % of an image" in data.notes[-1]
    np.testing.assert_array_equal(decode_shrunk(root / "cats/0.tif", 99, data.form.reading)[:3], 128)
    least, most = image[0, 3:].min(), image[0, 3:].max()
    assert look_at(root / "cats/0.tif").ranges == (() if dtype == np.uint8 else ((least, most),))


def test_of_colours_all_three_must_say_it(tmp_path: Path) -> None:
    image = tiles(3)
    image[..., 0] = 0
    image[:, :, :5] = 0
    form = Form(reading=Reading(background=(255, 0, 0)))
    data = opened(tagged(tmp_path / "x", image, "0", "rgb"), form, image_size=10)
    assert (data.images[:, :, :2] == [255, 0, 0]).all()
    assert (data.images[:, :, 4:, 0] < 10).all()


def test_of_bands_each_says_it_for_itself(tmp_path: Path) -> None:
    image = tiles(5, np.uint8) // 2 + 1
    image[..., 2] = 0
    path = tagged(tmp_path, image, "0") / "cats/0.tif"
    assert (decode_file(path, 8, GREY.reading)[..., 2] == 128).all()
    assert (decode_file(path, 8, GREY.reading)[..., [0, 1, 3, 4]] < 128).all()


def test_compressed_pictures_that_only_pillow_reads_say_it(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TAG] = "7"
    picture = Image.new("RGB", (8, 8), (7, 7, 7))
    picture.paste((90, 80, 70), (4, 0, 8, 8))
    picture.save(tmp_path / "1.tif", compression="tiff_lzw", tiffinfo=tags)
    pixels = decode_file(tmp_path / "1.tif", 8)
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == [90, 80, 70]).all()


def test_arrays_of_colours_show_the_background_in_colour() -> None:
    values = np.full((8, 8, 3), 0.5, np.float32)
    values[:4] = np.nan
    reading = Reading(background=(255, 128, 0))
    assert (fit_array(values, 8, reading)[:4] == [255, 128, 0]).all()
    opaque = np.concatenate([values, np.ones((8, 8, 1), np.float32)], axis=-1)
    assert (fit_array(opaque, 8, reading)[:4] == [255, 128, 0]).all()


@given(st.floats(0, 1), st.integers(0, 63), st.tuples(*[st.integers(0, 255)] * 3))
def test_a_gap_changes_no_other_pixel(value: float, place: int, background: tuple[int, int, int]) -> None:
    values = np.full((8, 8), value)
    whole = to_uint8(values)
    values.flat[place] = np.nan
    found = to_uint8(values, Reading(background=background))
    assert (np.delete(found, place) == np.delete(whole, place)).all()


@pytest.mark.parametrize("written", ["", "none", "1e400", "0.5", "-9999", "300"])
def test_a_tag_that_no_pixel_can_have_changes_nothing(tmp_path: Path, written: str) -> None:
    image = tiles(5)
    plain = opened(saved(tmp_path / "plain", image))
    assert opened(tagged(tmp_path / "tag", image, written)).fingerprint == plain.fingerprint


def test_infinities_and_images_without_any_value_are_named(tmp_path: Path) -> None:
    images = with_nan()
    images[2] = np.nan
    root = saved(tmp_path / "x", images)
    with pytest.raises(UserError, match=r"dogs/0\.tif \(nothing was measured in it"):
        opened(root)
    images[2] = 1
    images[3, 0, 0, 0] = -np.inf
    with pytest.raises(UserError, match=r"dogs/1\.tif \(floating-point pixels must be numbers, found inf"):
        opened(saved(tmp_path / "y", images))


def test_a_background_of_colour_goes_round_bands_as_grey(tmp_path: Path) -> None:
    path = saved(tmp_path, tiles(5)) / "cats/0.tif"
    reading = Reading(fit="pad", background=(255, 0, 0))
    for pixels in (decode_file(path, 14, reading), decode_shrunk(path, 14, reading)):
        assert pixels.shape == (14, 14, 5)
        assert (pixels[0] == 76).all()


def test_an_array_to_predict_from_is_read_so_too() -> None:
    with pytest.raises(BadImageError, match="nothing was measured"):
        fit_array(np.full((8, 8), np.nan), 8)
    assert PLAIN.reading.background == (255, 255, 255)
    assert fit_array(np.array([[np.nan, 0], [0, 0]]), 2)[0, 0] == 255
