"""The final training's pixels: random parts of files as torchvision draws them, and the files as they are."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from augsearch.policies import TRIVIALAUGMENT, Mixing, Policy, UserError
from augsearch.policies.regions import REGION_NOISE, ResizedCrop, cropped
from augsearch.trainers.data import views as module
from augsearch.trainers.data.decode import decode_file, decode_shrunk
from augsearch.trainers.data.views import Decoded, FileImages, OnDisk, View
from augsearch.trainers.system.threads import Begun
from augsearch.trainers.training.loader import Epochs, batches
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

CPU = torch.device("cpu")
NOTHING = Policy(num_ops=0)
CROPPED = Policy.named("flip-resized-crop+trivialaugment")
SIDE = 16
FILES = 12


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A coloured picture without symmetries, smooth enough to survive JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def turned(image: Image.Image, path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos as people have them: large and small, turned by EXIF, grey among coloured ones."""
    folder = tmp_path_factory.mktemp("photos")
    made = []
    for index in range(FILES):
        width, height = [(150, 90), (90, 150), (33, 47), (10, 10), (400, 300), (16, 16)][index % 6]
        image = photo(width, height, seed=index)
        path = folder / f"{index}{'.png' if index % 3 == 2 else '.jpg'}"
        if index in (1, 5):
            image = image.convert("L")
        turned(image, path, orientation=6 if index in (0, 8) else 1)
        made.append(path)
    return made


@pytest.fixture(scope="module")
def files(paths: list[Path]) -> OnDisk:
    return OnDisk(paths, SIDE, 3)


ALL = np.arange(FILES)


def test_clean_files_are_decoded_as_for_the_search(files: OnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    chosen = np.array([7, 0, 1, 11, 3, 4, 5, 8, 2, 10, 9, 6])
    found = list(files.clean(chosen))
    assert [batch.shape for batch in found] == [(5, 16, 16, 3), (5, 16, 16, 3), (2, 16, 16, 3)]
    for index, pixels in zip(chosen, chain.from_iterable(found), strict=True):
        expected = decode_file(files.paths[index], SIDE)
        assert expected.shape[-1] == (1 if index in (1, 5) else 3)
        np.testing.assert_array_equal(pixels, np.broadcast_to(expected, (SIDE, SIDE, 3)))


def test_of_grey_data_one_channel_is_read(tmp_path: Path) -> None:
    photo(40, 30).convert("L").save(tmp_path / "grey.png")
    grey = OnDisk([tmp_path / "grey.png"], SIDE, 1)
    assert next(grey.clean(np.array([0]))).shape == (1, SIDE, SIDE, 1)
    assert views(grey, 1).shape == (1, SIDE, SIDE, 1)


def views(files: OnDisk, seed: int, policy: Policy = NOTHING, count: int | None = None) -> NDArray[np.uint8]:
    """Every file once, as a training sees it."""
    labels = np.zeros(len(files.paths), np.int64)
    chosen = np.arange(count or len(files.paths))
    images = files.training(np.arange(len(files.paths)), labels, 2, None)
    return images.views(chosen, policy, np.random.default_rng(seed))


def crops(smallest: float) -> Policy:
    return Policy(num_ops=0, resized_crop=ResizedCrop(smallest=smallest))


def part_of(width: int, height: int, smallest: float, seed: int) -> tuple[int, int, int, int]:
    """The box that a training cuts out of a photo for a square."""
    noise = np.random.default_rng(seed).random(REGION_NOISE).tolist()
    left, top, across, down = cropped(width, height, smallest, noise, aspect=1.0)
    return left, top, left + across, top + down


def test_a_training_sees_what_the_policy_says_and_nothing_else(files: OnDisk) -> None:
    for seed in (1, 2):
        seen = views(files, seed).astype(int)
        clean = np.concatenate(list(files.clean(ALL)))
        assert abs(seen - clean).mean() < 3  # scaled down by way of 1.5 times the side
    flipped = views(files, 1, Policy(num_ops=0, flip_horizontal=1.0))
    np.testing.assert_array_equal(flipped, views(files, 1)[:, :, ::-1])


@pytest.mark.parametrize("policy", [crops(0.35), CROPPED])
def test_the_same_seed_shows_the_same_parts(files: OnDisk, policy: Policy) -> None:
    first = views(files, 1, policy)
    assert first.shape == (FILES, SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(views(files, 1, policy), first)
    other = views(files, 2, policy)
    assert all((other[index] != first[index]).any() for index in range(FILES))


def test_the_policy_augments_the_parts(files: OnDisk) -> None:
    parts = views(files, 1, crops(0.35))
    augmented = views(
        files, 1, TRIVIALAUGMENT.model_copy(update={"resized_crop": ResizedCrop(smallest=0.35)})
    )
    assert (augmented != parts).any()
    rng = np.random.default_rng(1)
    seeds = rng.integers(2**63, size=FILES)
    read = np.stack([files.read(index, View(0.35, int(seed))) for index, seed in enumerate(seeds)])
    np.testing.assert_array_equal(read, parts)
    np.testing.assert_array_equal(TRIVIALAUGMENT.augment(read, rng), augmented)


def ramp(width: int, height: int) -> Image.Image:
    """Red says how far from the left, green how far from the top: a part shows which part it is."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 256 // width, y * 256 // height, 0 * x], -1).astype(np.uint8))


def test_a_training_sees_parts_as_large_as_it_is_told(tmp_path: Path) -> None:
    ramp(256, 256).save(tmp_path / "ramp.png")
    shares = {}
    for smallest in (0.2, 0.7):
        file = OnDisk([tmp_path / "ramp.png"], 64, 3)
        seen = [views(file, seed, crops(smallest))[0].astype(int) for seed in range(60)]
        # Less than a grey level of 256 is a pixel; a pixel of 64 is up to four.
        across, down = (np.array([np.ptp(view[..., axis]) for view in seen]) / 252 for axis in (0, 1))
        shares[smallest] = across * down
        assert (shares[smallest] > smallest - 0.06).all()
        assert (abs(np.log(across / down)) < np.log(4 / 3) + 0.1).all()
        centres = np.array([view[32, 32, :2] for view in seen])
        assert (centres.std(axis=0) > 5).all()
    assert shares[0.2].min() < 0.4 < shares[0.7].min()


def test_all_of_a_square_image_is_a_part_of_it(tmp_path: Path) -> None:
    photo(50, 50).save(tmp_path / "square.png")
    whole = OnDisk([tmp_path / "square.png"], SIDE, 3)
    difference = views(whole, 1, crops(1.0))[0].astype(int) - next(whole.clean(np.array([0])))[0]
    assert abs(difference).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_of_a_turned_photo_is_upright(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "turned.png"
    turned(photo(32, 20), path, orientation)
    seen = OnDisk([path], SIDE, 3).read(0, View(0.35, 3))
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    box = part_of(*upright.size, 0.35, 3)
    expected = upright.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
    np.testing.assert_array_equal(seen, np.asarray(expected))


def test_a_large_photo_is_scaled_down_before_it_is_cropped(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    photo(300, 200).save(path)
    seen = OnDisk([path], SIDE, 3).read(0, View(0.35, 3))
    box = part_of(36, 24, 0.35, 3)  # 1.5 times what is trained at
    whole = tuple(round(edge * 300 / 36) for edge in box)
    at_once = photo(300, 200).resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=whole)
    assert abs(seen.astype(int) - np.asarray(at_once)).mean() < 8


@settings(max_examples=60)
@given(st.integers(60, 700), st.integers(60, 700), st.integers(0, 2**32), st.sampled_from([16, 32, 64]))
@example(701, 601, 0, 16)
def test_a_jpeg_decoded_at_a_fraction_of_its_size_looks_like_the_whole_scaled_down(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, seed: int, side: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "large.jpg"
    photo(width, height, seed % 7).save(path, quality=95)
    seen = decode_shrunk(path, side).astype(int)
    assert min(seen.shape[:2]) == min(side, width, height)
    with Image.open(path) as image:
        expected = image.resize(seen.shape[1::-1], Image.Resampling.BICUBIC)
    # Of 255; a part that is wrong by a pixel of the small image is wrong by ten and more.
    assert abs(seen - np.asarray(expected)).mean() < 1.5


@pytest.mark.parametrize("mixing", [None, Mixing(kind="cutmix", probability=1.0)])
def test_the_number_of_threads_changes_nothing(files: OnDisk, mixing: Mixing | None) -> None:
    policy = CROPPED.model_copy(update={"mixing": mixing})
    labels = ALL % 3

    def epoch(threads: int) -> list[tuple[bytes, bytes]]:
        data = FileImages(files, ALL, labels, 3, None, threads)
        made = batches(TrainingSetup(data, policy, Recipe(batch_size=4), seed=1, device=CPU), epoch=2)
        return [(batch.images.numpy().tobytes(), batch.targets.numpy().tobytes()) for batch in made]

    alone = epoch(1)
    assert len(alone) == 3
    assert epoch(4) == alone


def test_the_next_epoch_is_read_while_one_ends_and_is_the_same(files: OnDisk) -> None:
    data = FileImages(files, ALL, ALL % 3, 3, None)
    setup = TrainingSetup(data, CROPPED, Recipe(batch_size=4, epochs=3), seed=1, device=CPU)
    epochs = Epochs(setup)
    for epoch in range(3):
        epochs.begin(epoch)
        made = [batch.images.numpy().tobytes() for batch in epochs.of(epoch)]
        assert made == [batch.images.numpy().tobytes() for batch in batches(setup, epoch)]
    epochs.begin(1)
    other = next(epochs.of(2)).images  # another than the one that was begun
    assert torch.equal(other, next(batches(setup, 2)).images)
    epochs.begin(1)
    epochs.close()
    assert next(epochs.of(1)).images.shape == (4, 3, SIDE, SIDE)


def test_what_is_begun_is_at_work_before_it_is_asked_for() -> None:
    asked: list[int] = []
    at_work = Event()

    def work(item: int) -> int:
        asked.append(item)
        at_work.set()
        return item

    begun = Begun(work, range(100), threads=1)
    assert at_work.wait(60)
    assert list(islice(begun, 3)) == [0, 1, 2]
    begun.close()
    assert len(asked) < 20
    assert list(begun) == []


@pytest.mark.parametrize("kind", ["decoded", "on disk"])
def test_each_image_keeps_its_label_and_what_the_teacher_says_of_it(tmp_path: Path, kind: str) -> None:
    labels = np.arange(20) * 7 % 5
    images = np.broadcast_to((50 * labels[:, None, None, None]), (20, 8, 8, 3)).astype(np.uint8)
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    disk = OnDisk([tmp_path / f"{index}.png" for index in range(20)], 8, 3)
    pixels = Decoded(images) if kind == "decoded" else disk
    assert pixels.side == 8
    teacher = np.eye(5, dtype=np.float32)[labels]
    chosen = np.array([19, 3, 4, 12, 7, 0])
    data = pixels.training(chosen, labels, 5, teacher)
    assert data.num_classes == 5
    assert data.labels.tolist() == labels[chosen].tolist()
    assert data.teacher is not None
    assert data.teacher.argmax(1).tolist() == labels[chosen].tolist()
    asked = np.array([5, 0, 2, 2])
    seen = data.views(asked, NOTHING, np.random.default_rng(0))
    assert (seen == 50 * data.labels[asked][:, None, None, None]).all()
    assert pixels.training(chosen, labels, 5, None).teacher is None
    clean = np.concatenate(list(pixels.clean(chosen)))
    np.testing.assert_array_equal(clean, images[chosen])


def test_decoded_images_come_in_chunks_and_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    found = list(Decoded(images).clean(np.arange(9)[::-1]))
    assert [len(batch) for batch in found] == [4, 4, 1]
    np.testing.assert_array_equal(np.concatenate(found), images[::-1])


@pytest.mark.parametrize("damage", ["gone", "cut", "no image"])
def test_a_file_that_cannot_be_read_any_more_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path in paths:
        photo(40, 40).save(path)
    files = OnDisk(paths, SIDE, 3)
    assert len(list(files.clean(np.arange(3)))) == 1
    if damage == "gone":
        paths[1].unlink()
    else:
        paths[1].write_bytes(paths[1].read_bytes()[:100] if damage == "cut" else b"hello")
    for attempt in (
        lambda: files.read(1),
        lambda: list(files.clean(np.arange(3))),
        lambda: views(files, 1),
        lambda: list(
            batches(
                TrainingSetup(
                    FileImages(files, np.arange(3), np.arange(3), 3, None, 2),
                    NOTHING,
                    Recipe(batch_size=3),
                    seed=1,
                    device=CPU,
                ),
                epoch=1,
            )
        ),
    ):
        with pytest.raises(UserError) as error:
            attempt()
        assert str(error.value).startswith(f"cannot read {paths[1]} (")
        assert str(error.value).endswith("), which could be read before")
        assert "\n" not in str(error.value)


def test_what_makes_other_pixels_is_told_apart(files: OnDisk) -> None:
    images = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    made = [files, OnDisk(files.paths, 32, 3), Decoded(images)]
    assert len({pixels.made_by for pixels in made}) == 3
    assert files.made_by == OnDisk(files.paths, SIDE, 3).made_by
