"""What becomes black and white of bands whose values differ: one range for all, or one for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import load_cache
from augsearch.trainers.data.decode import decode_file, fit_array
from augsearch.trainers.data.form import PLAIN, Bands, Form, Reading, ValueRange
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.photos import KeptPhotos
from augsearch.trainers.data.views import OnDisk
from augsearch.trainers.data.written import range_of
from tests.trainers.data.test_bands import opened, saved, tiles

COLOUR, KELVIN = (0.0, 4000.0), (200.0, 310.0)


def with_thermal(dtype: Any = np.uint16, colours: int = 3) -> NDArray[Any]:
    """Reflectances of ``colours`` bands and a temperature; the first image has the ends of their ranges."""
    shares = tiles(colours + 1, np.float64, 1000) / 1000
    shares[0, 0, 0], shares[0, 0, 1] = 0, 1
    low, high = (np.array([COLOUR[end]] * colours + [KELVIN[end]]) for end in (0, 1))
    return np.rint(low + shares * (high - low)).astype(dtype)


def form(value_range: ValueRange | None, bands: Bands | None = "all") -> Form:
    return Form(reading=Reading(value_range=value_range, bands=bands))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_band_that_would_be_left_with_few_greys_has_every_band_read_by_its_own(
    tmp_path: Path, dtype: Any
) -> None:
    images = with_thermal(dtype, colours=4)
    data = opened(saved(tmp_path / "x", images))
    assert data.form.reading.value_range == (COLOUR,) * 4 + (KELVIN,)
    for band, (low, high) in ((0, COLOUR), (4, KELVIN)):
        grey = opened(saved(tmp_path / str(band), images[..., band], ".npy"), form((low, high), None))
        np.testing.assert_array_equal(data.images[..., band : band + 1], grey.images)
    assert data.notes == (
        "bands have values of very different ranges, 0 to 4,000, 0 to 4,000, 0 to 4,000, 0 to 4,000, 200 to "
        "310, and each becomes 0 to 255 by its own; --value-range LOW,HIGH takes one for all",
    )


def test_also_where_the_others_use_the_whole_range_of_their_type(tmp_path: Path) -> None:
    images = tiles(5, np.uint16, 65535)
    images[..., 4] = images[..., 4] // 1000 + 100
    data = opened(saved(tmp_path / "x", images))
    assert isinstance(data.form.reading.value_range, tuple)
    assert len(data.form.reading.value_range) == 5
    assert np.ptp(data.images[..., 4]) > 150


def test_bands_of_like_ranges_and_colours_are_read_by_one(tmp_path: Path) -> None:
    alike = tiles(5, np.uint16, 4000)
    alike[..., 1] = alike[..., 1] * 0.6
    assert opened(saved(tmp_path / "alike", alike)).form.reading.value_range == (0, alike.max())
    colours = with_thermal(colours=2)
    one = opened(saved(tmp_path / "colours", colours, ".npy"))
    assert one.form.reading.value_range == COLOUR
    # Of three bands that are chosen nobody says that they are colours of one camera.
    chosen = opened(saved(tmp_path / "chosen", colours, ".npy"), form(None, (3, 2, 1)))
    assert chosen.form.reading.value_range == (KELVIN, COLOUR, COLOUR)


def test_a_band_in_which_nothing_varies_is_read_by_the_range_of_all(tmp_path: Path) -> None:
    images = with_thermal(colours=4)
    images[..., 1] = 7
    found = opened(saved(tmp_path / "x", images)).form.reading.value_range
    assert found == (COLOUR, COLOUR, COLOUR, COLOUR, KELVIN)
    images[..., 4] = 0
    assert opened(saved(tmp_path / "y", images)).form.reading.value_range == COLOUR
    images = images.astype(np.float32)
    images[..., 1] = np.nan
    images[..., 4] = with_thermal(colours=4)[..., 4]
    assert opened(saved(tmp_path / "z", images)).form.reading.value_range == found


def test_a_range_a_band_can_be_asked_for(tmp_path: Path) -> None:
    root = saved(tmp_path / "x", with_thermal(colours=2), ".npy")
    asked = opened(root, form("band", None))
    assert asked.form.reading.value_range == (COLOUR, COLOUR, KELVIN)
    assert asked.notes[0].startswith("bands have 0 to 4,000, 0 to 4,000, 200 to 310, and each becomes")
    assert load_cache(asked.cache).form == asked.form
    given = opened(root, form((COLOUR, COLOUR, KELVIN), None))
    assert given.fingerprint == asked.fingerprint
    assert given.notes == ()


def test_what_is_asked_of_grey_images_and_of_8_bits_is_what_they_have(tmp_path: Path) -> None:
    grey = opened(saved(tmp_path / "grey", with_thermal(colours=0)[..., 0]), form("band", None))
    assert grey.form.reading.value_range == KELVIN
    eight = opened(saved(tmp_path / "eight", tiles(5)), form("band", None))
    assert eight.form == PLAIN
    assert eight.fingerprint == opened(saved(tmp_path / "plain", tiles(5))).fingerprint


def test_every_way_of_reading_files_scales_each_band_so(tmp_path: Path) -> None:
    root = saved(tmp_path / "x", with_thermal())
    data = opened(root, form("band"))
    paths = [root / file for file in data.files]
    (clean,) = OnDisk(paths, 8, 4, reading=data.form.reading).clean(np.arange(4))
    np.testing.assert_array_equal(clean, data.images)
    kept = KeptPhotos(tmp_path / "kept", paths, 99, 4, data.form.reading)
    assert kept.read(0)[0, :2].tolist() == [[0] * 4, [255] * 4]
    again = Reading.model_validate(data.form.reading.model_dump(mode="json", exclude_defaults=True))
    assert again == data.form.reading
    np.testing.assert_array_equal(decode_file(paths[0], 8, again), data.images[0])
    np.testing.assert_array_equal(fit_array(with_thermal()[0], 8, again), data.images[0])


def test_opacity_has_no_range(tmp_path: Path) -> None:
    deep = tiles(4, np.uint16, 4000)
    deep[..., 3] = 65535
    ranges = ((0.0, 4000.0), (0.0, 4000.0), (0.0, 2000.0))
    reading = Reading(value_range=ranges)
    plain = fit_array(deep[0, ..., :3], 8, reading)
    np.testing.assert_array_equal(fit_array(deep[0], 8, reading), plain)
    deep[0, ..., 3] = 0
    assert (fit_array(deep[0], 8, reading) == 255).all()


def test_ranges_for_other_bands_than_there_are_name_the_image(tmp_path: Path) -> None:
    root = saved(tmp_path / "x", with_thermal(colours=4))
    with pytest.raises(
        UserError, match=r"cats/0\.tif \(has 5 channels instead of 2, for which there are ranges; --value-r"
    ):
        opened(root, form((COLOUR, KELVIN)))


def test_data_whose_pixels_nobody_can_look_at_says_what_to_give(tmp_path: Path, monkeypatch: Any) -> None:
    import torchvision

    class Pictures(torchvision.datasets.VisionDataset):  # type: ignore[misc]
        classes = ("a", "b")

        def __init__(self, root: str) -> None:
            super().__init__(root)

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return Image.new("L", (8, 8), index), index % 2

    monkeypatch.setattr(torchvision.datasets, "Pictures", Pictures, raising=False)
    with pytest.raises(
        UserError, match=r"--value-range band can't be found in such a data set: give LOW,HIGH"
    ):
        open_images("torchvision:Pictures", image_size=8, cache=tmp_path, form=form("band", None))


def test_ranges_are_read_as_people_write_them() -> None:
    assert range_of(" Band ") == "band"
    assert range_of("0,4000") == COLOUR
    assert range_of("0,4000; 200, 310") == (COLOUR, KELVIN)
    for written in ("bands", "0,1;", ";", "0,1;2", "0,1;3,2", "0,1;0,nan"):
        with pytest.raises(ValueError, match=r"must be LOW,HIGH, .* one such pair a band as in '0,4000;200"):
            range_of(written)
    with pytest.raises(ValueError, match="at most 16 bands, got 17"):
        range_of(";".join(["0,1"] * 17))
