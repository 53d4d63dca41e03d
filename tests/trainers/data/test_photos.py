"""Photos that are kept scaled down: the same pixels, decoded once, whatever happens to the place."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.trainers.data import photos as module
from augsearch.trainers.data.decode import BadImageError, decode_shrunk
from augsearch.trainers.data.photos import KeptPhotos, least_side
from augsearch.trainers.data.views import OnDisk, View

SIDE = 16


def photo(path: Path, width: int, height: int, seed: int, orientation: int = 1) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    sizes = [(90, 60), (60, 90), (20, 30), (24, 24), (300, 25)]
    made = [photo(folder / f"{n}.png", *size, n, 6 if n == 0 else 1) for n, size in enumerate(sizes)]
    return [*made, photo(folder / "large.jpg", 400, 300, 9)]


def kept(paths: list[Path], tmp_path: Path, **more: int) -> KeptPhotos:
    return KeptPhotos(tmp_path / "cache", paths, SIDE, 3, **more)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_is_the_same_when_it_is_read_again_by_this_process_or_another(
    paths: list[Path], tmp_path: Path, channels: int
) -> None:
    first = KeptPhotos(tmp_path / "cache", paths, SIDE, channels)
    seen = [first.read(index).copy() for index in range(len(paths))]
    for other in (first, KeptPhotos(tmp_path / "cache", paths, SIDE, channels)):
        for index, pixels in enumerate(seen):
            np.testing.assert_array_equal(other.read(index), pixels)
            assert pixels.shape[2] == channels
    assert seen[0].shape[:2] == (36, 24), "upright"
    assert [min(pixels.shape[:2]) for pixels in seen] == [24, 24, 20, 24, 24, 24]


def test_what_is_kept_is_not_decoded_again(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = kept(paths, tmp_path)
    seen = [store.read(index).copy() for index in range(len(paths))]

    def never(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module, "decode_shrunk", never)
    for index, pixels in enumerate(seen):
        np.testing.assert_array_equal(store.read(index), pixels)


def test_a_changed_file_is_another_photo(paths: list[Path], tmp_path: Path) -> None:
    before = kept(paths, tmp_path).read(2).copy()
    photo(paths[2], 20, 30, 77)
    os.utime(paths[2], (1, 1))
    assert (kept(paths, tmp_path).read(2) != before).any()


def test_a_spoilt_or_half_written_place_is_decoded_again(paths: list[Path], tmp_path: Path) -> None:
    seen = kept(paths, tmp_path).read(1).copy()
    (file,) = (tmp_path / "cache").glob("photos-*/pixels.bin")
    file.write_bytes(bytes(file.stat().st_size))
    np.testing.assert_array_equal(kept(paths, tmp_path).read(1), seen)


def test_beyond_the_limit_and_without_room_photos_are_decoded_each_time(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [decode_shrunk(path, least_side(SIDE)) for path in paths]
    few = kept(paths, tmp_path, most_bytes=24 * 36 * 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    for store in (few, kept(paths, tmp_path)):
        for _ in range(2):
            for index, pixels in enumerate(expected):
                np.testing.assert_array_equal(store.read(index), pixels)
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/pixels.bin")) > 0


def test_a_place_that_cannot_be_written_keeps_nothing(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, and no folder")
    store = kept(paths, tmp_path)
    np.testing.assert_array_equal(store.read(3), decode_shrunk(paths[3], least_side(SIDE)))


def test_a_file_that_is_no_image_is_one(paths: list[Path], tmp_path: Path) -> None:
    paths[4].write_text("no image")
    store = kept(paths, tmp_path)
    with pytest.raises(BadImageError):
        store.read(4)
    assert store.read(5).shape == (24, 32, 3)


def test_a_training_sees_the_same_crops_with_kept_photos_and_without(
    paths: list[Path], tmp_path: Path
) -> None:
    plain = OnDisk(paths, SIDE, 3)
    keeping = OnDisk(paths, SIDE, 3, kept_in=tmp_path / "cache")
    assert keeping.made_by == plain.made_by
    for files in (keeping, keeping, pickle.loads(pickle.dumps(keeping))):
        for index in range(len(paths)):
            for view in (View(0.35, index), View(None, index)):
                np.testing.assert_array_equal(files.read(index, view), plain.read(index, view))
    assert list((tmp_path / "cache").glob("photos-*/pixels.bin"))
