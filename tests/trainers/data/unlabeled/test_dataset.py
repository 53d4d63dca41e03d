"""Opening unlabeled images: where they are found, which may be learned from, and what opening them costs."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.decode import decode_file
from augsearch.trainers.data.form import Form, Layout
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.data.target_domain import open_target
from augsearch.trainers.data.unlabeled import dataset as module
from augsearch.trainers.data.unlabeled.dataset import HowOpened, Unlabeled, open_unlabeled
from augsearch.trainers.data.views import Decoded, OnDisk

SIDE = 8
CLASSES = ("cats", "dogs")
EACH = 10


def noise(seed: int, side: int = 12, channels: int = 3) -> Image.Image:
    shape = (side, side, 3) if channels == 3 else (side, side)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


class Pets:
    """A labeled folder of 20 images, opened and divided, and a folder for more."""

    def __init__(self, root: Path, channels: int = 3) -> None:
        self.source, self.cache, self.more = root / "pets", root / "cache", root / "more"
        for label, name in enumerate(CLASSES):
            for number in range(EACH):
                seed = 1000 * (label + 1) + number
                save(self.source / name / f"{number}.png", noise(seed, channels=channels))
        self.reopen()

    def reopen(self) -> None:
        self.data = open_images(str(self.source), image_size=SIDE, cache=self.cache)
        self.splits = split(self.data.labels, self.data.given, classes=self.data.classes, seed=0)

    def fill(self, count: int, folder: Path | None = None, channels: int = 3) -> list[Path]:
        folder = folder or self.more
        return [save(folder / f"{n:04}.png", noise(n, 12 + n % 5, channels)) for n in range(count)]

    def file(self, part: str, number: int = 0) -> Path:
        """The file of an image of ``part``."""
        paths = image_paths(str(self.source), self.data)
        assert paths is not None
        return paths[getattr(self.splits, part)[number]]

    def maybe(self, folder: Path | None = None, **options: Any) -> Unlabeled | None:
        beside = {name: options.pop(name) for name in ("target", "progress") if name in options}
        where = {"folder": folder, "cache": self.cache}
        how = HowOpened(**options)
        return open_unlabeled(str(self.source), self.data, self.splits, **where, how=how, **beside)

    def opened(self, folder: Path | None = None, **options: Any) -> Unlabeled:
        found = self.maybe(folder or self.more, **options)
        assert found is not None
        return found

    def lazily(self, folder: Path | None = None) -> Unlabeled:
        """Read when they are wanted, because they are larger than what is decoded at once."""
        found = self.opened(folder, side=65)
        assert isinstance(found.pixels, OnDisk)
        return found


@pytest.fixture
def pets(tmp_path: Path) -> Pets:
    return Pets(tmp_path)


def clean(found: Unlabeled) -> NDArray[np.uint8]:
    return np.concatenate(list(found.pixels.clean(found.chosen)))


def refusal(pets: Pets, folder: Path | None, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        pets.maybe(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_unlabeled_images_there_are_none(pets: Pets) -> None:
    assert pets.maybe() is None


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled", "Unlabeled", "UNLABELLED"])
@pytest.mark.parametrize("most", [None, 100])
def test_they_lie_in_a_folder_beside_the_classes(pets: Pets, name: str, most: int | None) -> None:
    paths = pets.fill(5, pets.source / name)
    found = pets.maybe(most=most)
    assert found is not None
    assert [found.files(index) for index in found.chosen] == [str(path) for path in paths]
    assert found.found == 5
    assert (found.refused, found.unreadable) == (0, ())
    np.testing.assert_array_equal(clean(found), [decode_file(path, SIDE) for path in paths])


def test_they_lie_beside_train(tmp_path: Path) -> None:
    pets = Pets(tmp_path)
    (pets.source / "train").mkdir()
    for name in CLASSES:
        (pets.source / name).rename(pets.source / "train" / name)
    pets.reopen()
    pets.fill(3, pets.source / "unlabeled" / "deep" / "deeper")
    assert len(pets.maybe().chosen) == 3  # type: ignore[union-attr]


def test_the_folder_that_is_named_wins(pets: Pets) -> None:
    pets.fill(2, pets.source / "unlabeled")
    pets.fill(3)
    assert pets.opened().found == 3


@pytest.mark.parametrize("most", [None, 10])
def test_a_folder_that_is_missing_or_empty_is_named(pets: Pets, most: int | None) -> None:
    assert refusal(pets, pets.more, most=most) == (
        f"the folder of unlabeled images {pets.more} does not exist: give one that has images"
    )
    pets.more.mkdir()
    (pets.more / "notes.txt").write_text("none yet")
    assert refusal(pets, pets.more, most=most) == f"{pets.more} has no images: add some, or remove it"
    assert "is no folder" in refusal(pets, pets.more / "notes.txt")
    (pets.source / "unlabeled").mkdir()
    assert f"{pets.source / 'unlabeled'} has no images" in refusal(pets, None)


def archive(path: Path, **more: Any) -> tuple[ImageData, Splits]:
    """20 labeled images and 6 without a label, of which the last two are copies of held-out ones."""
    images = np.random.default_rng(5).integers(0, 256, (26, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.append(np.arange(20) % 2, [-1] * 6)
    given = np.where(labels < 0, Split.UNLABELED, Split.ANY).astype(np.int8)
    splits = split(labels, given, classes=CLASSES, seed=0)
    images[24], images[25] = images[splits.validation[0]], images[splits.test[1]]
    images[23] = images[splits.train[0]]
    np.savez(path, images=images, labels=labels, classes=np.array(CLASSES), **more)
    return open_images(str(path), image_size=None, cache=path.parent / "cache"), splits


def of_archive(path: Path, data: ImageData, splits: Splits, **options: Any) -> Unlabeled:
    found = open_unlabeled(
        str(path), data, splits, folder=None, cache=path.parent / "cache", how=HowOpened(**options)
    )
    assert found is not None
    return found


def test_rows_without_a_label_are_unlabeled_images_but_for_copies_of_held_out_ones(tmp_path: Path) -> None:
    data, splits = archive(tmp_path / "x.npz")
    found = of_archive(tmp_path / "x.npz", data, splits)
    assert found.chosen.tolist() == [20, 21, 22, 23]
    assert (found.refused, found.found) == (2, 6)
    assert (found.truth == -1).all()
    assert len(found.truth) == 26
    assert found.files(21) == "index 21"
    np.testing.assert_array_equal(clean(found), data.images[20:24])
    sampled = of_archive(tmp_path / "x.npz", data, splits, most=3, seed=1)
    assert len(sampled.chosen) == 3
    assert set(sampled.chosen) < set(found.chosen)
    assert sampled.fingerprint != found.fingerprint


def test_rows_are_had_at_another_side_too(tmp_path: Path) -> None:
    data, splits = archive(tmp_path / "x.npz")
    found = of_archive(tmp_path / "x.npz", data, splits, side=11)
    assert found.pixels.side == 11
    assert found.chosen.tolist() == [20, 21, 22, 23]
    assert clean(found).shape == (4, 11, 11, 3)


def test_an_archive_may_tell_the_truth_for_reports(tmp_path: Path) -> None:
    truth = np.array([1, 0, -1, 1, 0, 0])
    data, splits = archive(tmp_path / "x.npz", unlabeled_truth=truth)
    found = of_archive(tmp_path / "x.npz", data, splits)
    assert found.truth.tolist() == [-1] * 20 + truth.tolist()


@pytest.mark.parametrize("truth", [[1, 0], [2] * 6, [-2] * 6, [0.5] * 6, ["cats"] * 6])
def test_a_truth_that_does_not_fit_is_refused(tmp_path: Path, truth: list[Any]) -> None:
    data, splits = archive(tmp_path / "x.npz", unlabeled_truth=np.array(truth))
    with pytest.raises(UserError, match=r"unlabeled_truth of .* must be 6 whole numbers from -1 to 1"):
        of_archive(tmp_path / "x.npz", data, splits)


def test_the_truth_stays_with_its_image_where_others_were_skipped(tmp_path: Path) -> None:
    images = np.random.default_rng(5).random((26, SIDE, SIDE), np.float32)
    images[[3, 21]] = np.nan
    labels = np.append(np.arange(20) % 2, [-1] * 6)
    path = tmp_path / "x.npz"
    np.savez(
        path, images=images, labels=labels, classes=np.array(CLASSES), unlabeled_truth=[0, 1, 0, 1, 1, 0]
    )
    data = open_images(str(path), image_size=None, cache=tmp_path / "cache", skip_bad_images=True)
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    found = of_archive(path, data, splits)
    assert [found.files(index) for index in found.chosen] == [f"index {n}" for n in (20, 22, 23, 24, 25)]
    assert found.truth[found.chosen].tolist() == [0, 0, 1, 1, 0]


def test_the_embedded_data_set_has_1500_and_their_truth(tmp_path: Path) -> None:
    data = open_images(None, image_size=None, cache=tmp_path)
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    found = open_unlabeled(None, data, splits, folder=None, cache=tmp_path)
    assert found is not None
    assert (found.found, found.refused, len(found.chosen)) == (1500, 0, 1500)
    assert np.bincount(found.truth[found.chosen]).tolist() == [150] * 10
    assert (np.delete(found.truth, found.chosen) == -1).all()
    assert found.pixels.side == 28


def test_a_folder_wins_over_rows_without_a_label(tmp_path: Path) -> None:
    data, splits = archive(tmp_path / "x.npz")
    for number in range(3):
        save(tmp_path / "more" / f"{number}.png", noise(number))
    # One that an archive holds out, as a file: told by its pixels.
    save(tmp_path / "more" / "copy.png", Image.fromarray(np.array(data.images[splits.test[0]])))
    where = {"folder": tmp_path / "more", "cache": tmp_path / "cache"}
    found = open_unlabeled(str(tmp_path / "x.npz"), data, splits, **where, how=HowOpened(most=10))
    assert found is not None
    assert (found.found, found.refused, len(found.chosen)) == (4, 1, 3)


@pytest.mark.parametrize("side", [None, 10, 65])
@pytest.mark.parametrize("most", [None, 100])
def test_copies_of_held_out_images_are_refused_whatever_they_are_called(
    pets: Pets, side: int | None, most: int | None
) -> None:
    pets.fill(4)
    for number, part in enumerate(("validation", "confirmation", "test")):
        shutil.copy(pets.file(part), pets.more / f"0000 copy {number}.png")
    shutil.copy(pets.file("train"), pets.more / "of training.png")
    found = pets.opened(side=side, most=most)
    assert (found.refused, found.found) == (3, 8)
    names = {Path(found.files(index)).name for index in found.chosen}
    assert names == {"of training.png", *(f"{n:04}.png" for n in range(4))}


def test_the_data_sets_own_folder_can_be_learned_from_but_for_what_is_held_out(pets: Pets) -> None:
    held_out = len(pets.splits.validation) + len(pets.splits.confirmation) + len(pets.splits.test)
    for found in (pets.opened(pets.source), pets.lazily(pets.source)):
        assert found.refused == held_out
        assert sorted(found.files(index) for index in found.chosen) == sorted(
            str(pets.file("train", number)) for number in range(len(pets.splits.train))
        )


def test_a_copy_in_another_format_is_told_by_its_pixels(pets: Pets) -> None:
    pets.fill(2)
    with Image.open(pets.file("test")) as image:
        image.save(pets.more / "copy.bmp")
    assert pets.opened().refused == 1
    # Not where its pixels are not those that the labeled images are known by.
    assert pets.lazily().refused == 0


@pytest.mark.parametrize("side", [None, 65])
def test_copies_of_what_counts_instead_of_them_are_refused_too(pets: Pets, side: int | None) -> None:
    dusk = pets.source.with_name("dusk")
    for number in range(8):
        save(dusk / CLASSES[number % 2] / f"{number}.png", noise(500 + number))
    target, _ = open_target(str(dusk), pets.data, pets.splits, cache=pets.cache, seed=0)
    pets.fill(3)
    shutil.copy(dusk / "cats" / "4.png", pets.more / "copy.png")
    shutil.copy(dusk / "dogs" / "7.png", pets.more / "another.png")
    with Image.open(dusk / "cats" / "6.png") as image:
        image.save(pets.more / "third.bmp")
    assert pets.opened(side=side).refused == 0
    found = pets.opened(side=side, target=target)
    # By its pixels too, where they are those that the labeled images are known by.
    assert (found.refused, len(found.chosen)) == ((3, 3) if side is None else (2, 4))


def test_an_image_that_is_only_partly_that_of_a_held_out_one_stays(pets: Pets) -> None:
    image = np.array(pets.data.images[pets.splits.test[0]])
    image[0, 0] ^= 1
    save(pets.more / "nearly.png", Image.fromarray(image))
    assert pets.opened().refused == 0
    image[0, 0] ^= 1
    save(pets.more / "nearly.png", Image.fromarray(image))
    assert pets.opened().refused == 1


def test_other_splits_refuse_other_copies(pets: Pets) -> None:
    for seed in (0, 1):
        pets.splits = split(pets.data.labels, pets.data.given, classes=CLASSES, seed=seed)
        for found in (pets.opened(pets.source), pets.lazily(pets.source)):
            assert sorted(found.files(index) for index in found.chosen) == sorted(
                str(pets.file("train", number)) for number in range(len(pets.splits.train))
            )


def test_only_files_of_the_size_of_a_held_out_one_are_read_at_opening(pets: Pets) -> None:
    for path in pets.fill(4):
        path.write_text("no image")
    read: list[tuple[int, int]] = []
    pets.opened(side=65, progress=lambda *counts: read.append(counts))
    assert read == []
    size = pets.file("test").stat().st_size
    for path in pets.fill(3):
        path.write_bytes(bytes(size))
    assert pets.opened(side=65, progress=lambda *counts: read.append(counts)).refused == 0
    assert read == [(3, 3)]


def test_images_that_cannot_be_read_are_left_out_and_named(pets: Pets) -> None:
    paths = pets.fill(5)
    paths[1].write_text("no image")
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    (pets.more / "gone.png").symlink_to("nowhere")
    found = pets.opened()
    assert [Path(found.files(index)).name for index in found.chosen] == ["0000.png", "0002.png", "0004.png"]
    assert [line.partition(":")[0] for line in found.unreadable] == ["0001.png", "0003.png", "gone.png"]
    assert (found.found, found.refused) == (6, 0)
    assert pets.opened().unreadable == found.unreadable
    np.testing.assert_array_equal(clean(found), [decode_file(paths[n], SIDE) for n in (0, 2, 4)])


def test_if_none_can_be_read_one_is_named(pets: Pets) -> None:
    pets.more.mkdir()
    (pets.more / "a.png").write_text("no image")
    message = refusal(pets, pets.more)
    assert "has no image that can be read, the first is a.png: cut off" in message
    assert pets.lazily().found == 1


def test_the_folder_of_a_class_is_known_to_be_one_but_only_the_first(pets: Pets) -> None:
    for number, file in enumerate(("cats/1.png", "dogs/x/1.png", "x/cats/1.png", "cats.png", "birds/1.png")):
        save(pets.more / file, noise(number))
    for found in (pets.opened(), pets.lazily()):
        truth = {Path(found.files(i)).relative_to(pets.more).as_posix(): found.truth[i] for i in found.chosen}
        assert truth == {
            "cats/1.png": 0,
            "dogs/x/1.png": 1,
            "x/cats/1.png": -1,
            "cats.png": -1,
            "birds/1.png": -1,
        }


def test_a_name_that_is_not_in_utf8_is_read_and_printable(pets: Pets) -> None:
    save(pets.more / "a.png", noise(1))
    (pets.more / "a.png").rename(pets.more / b"caf\xe9.png".decode("utf-8", "surrogateescape"))
    for found in (pets.opened(), pets.lazily()):
        found.files(0).encode()
        assert clean(found).shape[0] == 1
        assert found.unreadable == ()


@pytest.mark.parametrize("side", [None, 65])
def test_grey_images_among_coloured_ones_get_three_channels(pets: Pets, side: int | None) -> None:
    paths = pets.fill(3, channels=1)
    images = clean(pets.opened(side=side))
    assert images.shape[-1] == 3
    for path, image in zip(paths, images, strict=True):
        np.testing.assert_array_equal(image, np.repeat(decode_file(path, side or SIDE), 3, axis=2))


@pytest.mark.parametrize("side", [None, 65])
def test_of_coloured_images_for_grey_data_the_brightness_is_taken(tmp_path: Path, side: int | None) -> None:
    pets = Pets(tmp_path, channels=1)
    path = save(pets.more / "1.png", noise(1))
    save(pets.more / "2.png", noise(2, channels=1))
    images = clean(pets.opened(side=side))
    assert images.shape[1:] == (side or SIDE, side or SIDE, 1)
    red, green, blue = np.moveaxis(decode_file(path, side or SIDE).astype(float), -1, 0)
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    assert abs(images[0, ..., 0] - brightness).max() <= 1


def test_the_same_files_serve_grey_and_coloured_data(tmp_path: Path) -> None:
    grey, coloured = Pets(tmp_path / "grey", channels=1), Pets(tmp_path / "coloured")
    grey.cache = coloured.cache
    folder = grey.more
    grey.fill(3)
    for _ in range(2):
        assert clean(grey.opened(folder)).shape[-1] == 1
        assert clean(coloured.opened(folder)).shape[-1] == 3


def test_the_pixels_of_labeled_and_unlabeled_images_are_alike(pets: Pets) -> None:
    pets.fill(3)
    found = pets.opened()
    assert found.pixels.side == SIDE
    assert found.pixels.made_by == Decoded(pets.data.images).made_by


@pytest.mark.parametrize("side", [None, 65])
def test_pixels_are_sent_to_other_processes_by_the_path(pets: Pets, side: int | None) -> None:
    pets.fill(400)
    found = pets.opened(side=side)
    sent = pickle.dumps(found.pixels)
    assert len(sent) < 1000
    here, there = (
        np.concatenate(list(p.clean(found.chosen[:9]))) for p in (found.pixels, pickle.loads(sent))
    )
    np.testing.assert_array_equal(here, there)


def test_keys_go_by_content_however_a_file_is_called_and_read(pets: Pets) -> None:
    paths = pets.fill(3)
    shutil.copy(paths[1], pets.more / "copy.png")
    decoded, lazily = pets.opened(), pets.lazily()
    keys = decoded.keys(decoded.chosen)
    assert [len(key) for key in keys] == [16] * 4
    assert keys[1] == keys[3]
    assert len(set(keys)) == 3
    assert lazily.keys(lazily.chosen) == keys
    paths[0].rename(pets.more / "z.png")
    renamed = pets.opened()
    assert renamed.keys(np.array([3])) == keys[:1]
    paths[1].unlink()
    assert lazily.keys(np.array([1, 2])) == [b"", keys[2]]


def test_keys_of_rows_go_by_pixels(tmp_path: Path) -> None:
    data, splits = archive(tmp_path / "x.npz")
    found = of_archive(tmp_path / "x.npz", data, splits)
    keys = found.keys(np.arange(26))
    assert keys[23] == keys[splits.train[0]]
    assert len(set(keys)) == 23
    assert found.keys(np.array([4, 2])) == [keys[4], keys[2]]
    blank = [
        replace(found, pixels=Decoded(np.zeros((1, *shape), np.uint8))).keys(np.array([0]))[0]
        for shape in ((12, 12, 1), (12, 4, 3))
    ]
    assert blank[0] != blank[1], "as many bytes, but of another shape"


def decodings(pets: Pets, **options: Any) -> tuple[Unlabeled, int]:
    calls: list[int] = []
    found = pets.opened(progress=lambda done, _: calls.append(done), **options)
    return found, calls[-1] if calls else 0


def test_a_sample_is_decoded_once_and_the_same_each_time(pets: Pets) -> None:
    pets.fill(60)
    first, decoded = decodings(pets, most=20)
    assert decoded == len(first.chosen) == 20
    assert (first.found, len(first.truth)) == (60, 20)
    again, decoded = decodings(pets, most=20)
    assert decoded == 0
    assert again.fingerprint == first.fingerprint
    assert [again.files(n) for n in again.chosen] == [first.files(n) for n in first.chosen]
    np.testing.assert_array_equal(clean(again), clean(first))
    other, decoded = decodings(pets, most=20, seed=1)
    assert decoded == 20
    assert other.fingerprint != first.fingerprint
    assert {other.files(n) for n in other.chosen} != {first.files(n) for n in first.chosen}


@settings(max_examples=20)
@given(st.integers(0, 200), st.integers(1, 200), st.integers(0, 5))
def test_a_sample_is_sorted_and_no_larger_than_asked(count: int, most: int, seed: int) -> None:
    rows = 3 * np.arange(count)
    sample = HowOpened(most=most, seed=seed).sample(rows)
    assert len(sample) == min(count, most)
    assert (np.diff(sample) > 0).all()
    assert set(sample.tolist()) <= set(rows.tolist())


@pytest.mark.parametrize("side", [None, 65])
def test_any_change_of_the_files_is_seen(pets: Pets, side: int | None) -> None:
    paths = pets.fill(4)
    prints = [pets.opened(side=side).fingerprint]
    for change in (
        lambda: save(paths[0], noise(77)),
        lambda: paths[1].unlink(),
        lambda: save(pets.more / "x.png", noise(78)),
    ):
        assert pets.opened(side=side).fingerprint == prints[-1]
        change()
        prints.append(pets.opened(side=side).fingerprint)
    assert len(set(prints)) == 4


def test_many_or_large_images_are_not_decoded_at_opening(pets: Pets, monkeypatch: pytest.MonkeyPatch) -> None:
    pets.fill(5)
    assert isinstance(pets.opened().pixels, Decoded)
    assert isinstance(pets.opened(side=64).pixels, Decoded)
    assert isinstance(pets.opened(side=65).pixels, OnDisk)
    assert isinstance(pets.opened(side=65, most=3).pixels, Decoded)
    monkeypatch.setattr(module, "MOST_DECODED", 4)
    assert isinstance(pets.opened().pixels, OnDisk)
    assert isinstance(pets.opened(most=4).pixels, Decoded)


def test_nothing_is_opened_where_files_are_read_when_they_are_wanted(pets: Pets) -> None:
    for path in pets.fill(6):
        path.write_text("no image")
    found = pets.lazily()
    assert len(found.chosen) == 6
    assert found.unreadable == ()
    with pytest.raises(UserError, match="nor any of 100 other images"):
        next(iter(found.pixels.clean(found.chosen)))
    assert len(found.unreadable) == 6


def test_many_files_are_listed_and_not_touched(pets: Pets) -> None:
    for folder in range(12):
        (pets.more / f"{folder:02}").mkdir(parents=True)
        first = pets.more / f"{folder:02}" / "0000.jpg"
        first.write_text("no image")
        for number in range(1, 1000):  # links, because making as many files takes a busy disk a while
            os.link(first, first.with_name(f"{number:04}.jpg"))
    found = pets.lazily()
    assert found.found == len(found.chosen) == 12_000
    assert found.files(11_345) == str(pets.more / "11" / "0345.jpg")
    assert len(pets.opened(side=65).chosen) == 12_000


@pytest.mark.parametrize("side", [None, 65])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_made_again(pets: Pets, side: int | None, damage: str) -> None:
    pets.fill(6)
    before = set(pets.cache.iterdir())
    first = pets.opened(side=side)
    images = clean(first)
    (made,) = set(pets.cache.iterdir()) - before
    names = sorted(path.name for path in made.iterdir())
    assert len(names) == 3
    for name in names:
        if damage == "gone":
            (made / name).unlink()
        else:
            os.truncate(made / name, (made / name).stat().st_size // 2)
        again = pets.opened(side=side)
        assert again.fingerprint == first.fingerprint
        np.testing.assert_array_equal(clean(again), images)
    assert {path.name for path in pets.cache.iterdir()} == {path.name for path in (*before, made)}


def test_an_interrupted_opening_leaves_nothing(pets: Pets) -> None:
    pets.fill(70)
    before = set(pets.cache.iterdir())

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pets.opened(progress=interrupt)
    assert set(pets.cache.iterdir()) == before


def test_a_cache_that_cannot_be_written_is_said_to_be(pets: Pets, tmp_path: Path) -> None:
    pets.fill(2)
    (tmp_path / "file").write_text("in the way")
    pets.cache = tmp_path / "file" / "cache"
    for side in (None, 65):
        assert "cannot write the cache" in refusal(pets, pets.more, side=side)


def test_rows_of_a_table_are_found_whatever_its_columns_are_called(tmp_path: Path) -> None:
    names = [save(tmp_path / "images" / f"{number:02}.png", noise(number)).name for number in range(22)]
    labels = [CLASSES[number % 2] for number in range(20)] + ["", ""]
    rows = [f"{name},{label},{name[:2]},1" for name, label in zip(names, labels, strict=True)]
    table = tmp_path / "pets.csv"
    table.write_text("\n".join(["pic,kind,who,trust", *rows]))
    columns = {"image_column": "pic", "label_column": "kind", "group_column": "who", "weight_column": "trust"}
    form = Form(layout=Layout(root=tmp_path / "images", **columns))
    data = open_images(str(table), image_size=SIDE, cache=tmp_path / "cache", form=form)
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    found = open_unlabeled(
        str(table), data, splits, folder=None, cache=tmp_path / "cache", how=HowOpened(side=None)
    )
    assert found is not None
    assert found.chosen.tolist() == [20, 21]


def test_it_is_known_whether_labeled_images_are_among_them(tmp_path: Path) -> None:
    pets = Pets(tmp_path)
    pets.fill(4)
    assert not pets.opened().has_some_of(pets.data, pets.splits.train)
    shutil.copy(pets.file("train", 2), pets.more / "again.png")
    again = pets.opened()
    assert again.has_some_of(pets.data, pets.splits.train)
    assert not again.has_some_of(pets.data, np.delete(pets.splits.train, 2))
    # Of what may not be learned from nothing is said.
    assert not replace(again, chosen=again.chosen[:0]).has_some_of(pets.data, pets.splits.train)


def test_it_is_known_whether_they_are_of_one_group_with_labeled_images(tmp_path: Path) -> None:
    """Frames of videos: of each two have a label and one has none."""
    images = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.where(np.arange(60) % 3 < 2, np.arange(60) // 3 % 2, -1)
    np.savez(tmp_path / "videos.npz", images=images, labels=labels, classes=np.array(CLASSES))
    data = open_images(str(tmp_path / "videos.npz"), image_size=None, cache=tmp_path / "cache")
    for groups, known in ((None, False), (np.arange(60) // 3, True)):
        own = replace(data, groups=groups)
        parts = split(own.labels, own.given, classes=CLASSES, seed=0, groups=groups)
        found = open_unlabeled(
            str(tmp_path / "videos.npz"), own, parts, folder=None, cache=tmp_path / "cache"
        )
        assert found is not None
        assert found.has_some_of(own, parts.train) == known
        assert not found.has_some_of(own, np.concatenate([parts.confirmation, parts.test]))
