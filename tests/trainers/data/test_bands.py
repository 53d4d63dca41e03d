"""Images of bands: multi-band TIFFs and arrays in every form, which bands are used, what does not fit."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.bands import read_bands, size_in_bands
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.decode import BadImageError, decode_file, decode_shrunk, size_of
from augsearch.trainers.data.form import PLAIN, Bands, Form, Reading
from augsearch.trainers.data.image_files import read_image
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.written import bands_of

FILES = ("cats/0", "cats/1", "dogs/0", "dogs/1")
ALL = Form(reading=Reading(bands="all"))


def tiles(channels: int, dtype: Any = np.uint8, most: int = 255) -> NDArray[Any]:
    return np.random.default_rng(channels).integers(0, most + 1, (4, 10, 14, channels)).astype(dtype)


def saved(root: Path, images: NDArray[Any], suffix: str = ".tif") -> Path:
    for file, image in zip(FILES, images, strict=True):
        path = (root / file).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            np.save(path, image)
        else:
            tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    return root


def opened(source: Path, form: Form = PLAIN, **options: Any) -> ImageData:
    where = {"image_size": 8, "cache": source.parent / "cache", "form": form}
    return open_images(str(source), **(where | options))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_every_form_of_the_same_bands_is_the_same_data_set(tmp_path: Path, dtype: Any) -> None:
    images = tiles(5, dtype, 255 if dtype == np.uint8 else 3000)
    np.savez(tmp_path / "tiles.npz", images=images, labels=[0, 0, 1, 1], classes=["cats", "dogs"])
    as_tiff = opened(saved(tmp_path / "tiff", images))
    as_npy = opened(saved(tmp_path / "npy", images, ".npy"))
    assert as_tiff.images.shape == (4, 8, 8, 5)
    assert as_tiff.fingerprint == as_npy.fingerprint == opened(tmp_path / "tiles.npz").fingerprint
    assert ("become 0 to 255" in " ".join(as_tiff.notes)) == (dtype != np.uint8)


def test_a_band_is_what_a_grey_image_of_it_is(tmp_path: Path) -> None:
    images = tiles(5)
    whole = opened(saved(tmp_path / "all", images)).images
    for band in range(5):
        grey = opened(saved(tmp_path / str(band), images[..., band : band + 1], ".npy")).images
        np.testing.assert_array_equal(whole[..., band : band + 1], grey)


def test_three_chosen_bands_are_colours_in_their_order(tmp_path: Path) -> None:
    images = tiles(5)
    chosen = opened(saved(tmp_path / "five", images), Form(reading=Reading(bands=bands_of("4,3,2"))))
    false_colours = opened(saved(tmp_path / "three", images[..., [3, 2, 1]], ".npy"))
    np.testing.assert_array_equal(chosen.images, false_colours.images)


def test_a_fourth_channel_is_opacity_unless_bands_are_asked_for(tmp_path: Path) -> None:
    for file, image in zip(FILES, tiles(4), strict=True):
        (tmp_path / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save((tmp_path / "photos" / file).with_suffix(".png"))
    assert opened(tmp_path / "photos").images.shape[-1] == 3
    bands = opened(tmp_path / "photos", ALL)
    np.testing.assert_array_equal(bands.images, opened(saved(tmp_path / "tiff", tiles(4)), ALL).images)
    assert bands.images.shape[-1] == 4


def test_pages_of_one_size_and_planes_are_bands_too(tmp_path: Path) -> None:
    image = tiles(6)[0]
    contiguous, planes, pages = (tmp_path / f"{name}.tif" for name in ("contiguous", "planes", "pages"))
    tifffile.imwrite(contiguous, image, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(planes, np.moveaxis(image, -1, 0), photometric="minisblack", planarconfig="separate")
    tifffile.imwrite(pages, np.moveaxis(image, -1, 0), photometric="minisblack")
    expected = decode_file(contiguous, 8)
    for file in (planes, pages):
        np.testing.assert_array_equal(decode_file(file, 8, ALL.reading), expected)


def test_a_size_is_told_without_reading_the_pixels(tmp_path: Path) -> None:
    image = tiles(6)[0][:9]
    array, planes, pages = tmp_path / "a.npy", tmp_path / "b.tif", tmp_path / "c.tif"
    np.save(array, image)
    tifffile.imwrite(planes, np.moveaxis(image, -1, 0), photometric="minisblack", planarconfig="separate")
    tifffile.imwrite(pages, np.moveaxis(image, -1, 0), photometric="minisblack")
    for file in (array, planes, pages):
        assert size_of(file) == size_of(file.read_bytes()) == (14, 9), file.name


def test_photos_of_bands_are_shrunk_whole(tmp_path: Path) -> None:
    path = saved(tmp_path, tiles(5)) / "cats" / "0.tif"
    assert decode_shrunk(path, 5).shape == (5, 7, 5)
    assert decode_shrunk(path, 99).shape == (10, 14, 5)
    assert decode_shrunk(path, 99, Reading(fit="pad")).shape == (14, 14, 5)


def test_floats_outside_of_0_to_1_are_read_by_their_own_range(tmp_path: Path) -> None:
    images = tiles(5, np.float32, 3000)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = -500, 3000
    data = opened(saved(tmp_path / "tiff", images))
    assert data.form.reading.value_range == (-500, 3000)
    assert "values from -500 to 3,000, which become 0 to 255" in data.notes[0]
    shares = opened(saved(tmp_path / "shares", tiles(5, np.float32, 1000) / 1000))
    assert shares.form.reading.value_range is None


@pytest.mark.parametrize(
    ("shape", "bands", "message"),
    [
        ((20, 24, 5), (1, 9), "has no band 9, only 5; correct --bands"),
        ((20, 24, 20), None, "20 bands, and at most 16 are taken; choose with --bands 4,3,2"),
        ((5, 20, 20), None, "must have its bands last"),
        ((5,), None, "must be"),
    ],
)
def test_bands_that_are_not_there_or_too_many_are_named(
    tmp_path: Path, shape: tuple[int, ...], bands: Bands | None, message: str
) -> None:
    root = saved(tmp_path / "tiles", np.zeros((4, *shape), np.uint8), ".npy")
    with pytest.raises(UserError, match=f"cats/0.npy.*{message}"):
        opened(root, Form(reading=Reading(bands=bands)))


def test_an_image_with_fewer_bands_than_the_first_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    root = saved(tmp_path / "tiles", tiles(5))
    np.save(root / "dogs" / "2.npy", tiles(3)[0])
    with pytest.raises(UserError, match=r"dogs/2\.npy \(has 3 channels instead of 5, which the first has"):
        opened(root)
    assert opened(root, skip_bad_images=True).images.shape == (4, 8, 8, 5)


def test_what_is_no_list_of_bands_is_told() -> None:
    assert (bands_of(" all "), bands_of("4, 3,2")) == ("all", (4, 3, 2))
    for written in ("0", "a", "", "1.5", ",".join(["1"] * 17)):
        with pytest.raises(ValueError, match="must be all, or numbers from 1, at most 16, as in 4,3,2, got"):
            bands_of(written)


def test_an_array_whose_header_is_no_python_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, tiles(6)[0])
    path.write_bytes(path.read_bytes().replace(b"}", b"((", 1))
    with pytest.raises(BadImageError, match="no array that NumPy can read"):
        decode_file(path, 8)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_python_that_loses_count_in_a_sound_header_reads_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_bytes: bool
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    given = path.read_bytes() if as_bytes else path
    sound, times = np.load, [2]

    def losing_count(file: Any, *args: Any, **kwargs: Any) -> Any:
        if times[0]:
            times[0] -= 1
            if as_bytes:
                file.read(8)
            raise SystemError("AST constructor recursion depth mismatch (before=48, after=45)")
        return sound(file, *args, **kwargs)

    monkeypatch.setattr(np, "load", losing_count)
    values = read_bands(given, PLAIN.reading)
    assert values is not None
    assert values.shape == (4, 4, 3)
    times[0] = 3
    with pytest.raises(BadImageError, match="no array that NumPy can read"):
        read_bands(given, PLAIN.reading)


@pytest.mark.parametrize("place", [b"\x18\x00\x7f\xff\xff\xff", b"\x00\x00\xff"])
def test_a_tiff_of_wrong_sides_is_refused_and_nothing_is_logged(
    tmp_path: Path, place: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tile.tif"
    tifffile.imwrite(path, tiles(5)[0], photometric="minisblack", planarconfig="contig")
    whole = path.read_bytes()
    for at in range(4, 128, 2):
        path.write_bytes(whole[:at] + place + whole[at + len(place) :])
        with suppress(BadImageError):
            read_bands(path, Reading())
            decode_file(path, 8, Reading(bands="all"))
    path.write_bytes(whole[:20])
    with pytest.raises(BadImageError):
        read_bands(path, Reading(bands=(1, 2)))
    assert not caplog.records


def test_a_tiff_that_would_take_any_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    tifffile.imwrite(path, tiles(5)[0], photometric="minisblack", planarconfig="contig")
    with tifffile.TiffFile(path) as tiff:
        across, down = (tiff.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength"))
    whole = path.read_bytes()
    for width, height, line in ((2**31, 2**20, "decompression bomb"), (2**31, 0, "has no pixels")):
        content = bytearray(whole)
        content[across : across + 4], content[down : down + 4] = (
            one.to_bytes(4, "little") for one in (width, height)
        )
        path.write_bytes(content)
        for read in (read_bands, size_in_bands):
            with pytest.raises(BadImageError, match=line):
                read(path, Reading())
    # The width as a complex number: the type stands six bytes before the value, as 16 bits.
    path.write_bytes(whole[: across - 6] + (10).to_bytes(2, "little") + whole[across - 4 :])
    with pytest.raises(BadImageError, match="no whole number"):
        size_in_bands(path, Reading())


def test_nothing_is_logged_of_a_picture_that_pillow_can_t_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "picture.tif"
    Image.fromarray(tiles(3)[0]).save(path)
    whole = path.read_bytes()
    # SamplesPerPixel, 277: a number that no mode has.
    at = whole.index((277).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    path.write_bytes(whole[: at + 8] + (480).to_bytes(2, "little") + whole[at + 10 :])
    with pytest.raises(BadImageError):
        read_image(path, lambda image: image.size)
    assert not caplog.records


def test_a_tiff_whose_pages_go_round_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    tifffile.imwrite(path, tiles(5)[0], photometric="minisblack", planarconfig="contig")
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    assert content[after : after + 4] == bytes(4)  # no page follows
    content[after : after + 4] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(BadImageError, match="lead to one another"):
        read_bands(path, Reading())
