"""Files that nobody looked into: those that can't be read stop no training and take no other's place."""

from __future__ import annotations

import pickle
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import TRIVIALAUGMENT, Policy, UserError
from augsearch.policies.regions import ResizedCrop
from augsearch.trainers.data import views as module
from augsearch.trainers.data.unlabeled.files import Names, PathsBelow
from augsearch.trainers.data.views import FileImages, OnDisk
from augsearch.trainers.training.loader import batches
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

NOTHING = Policy(num_ops=0)
SIDE = 16
COUNT = 20
ALL = np.arange(COUNT)
BAD = {2: "no image", 3: "cut", 11: "gone"}


def shade(index: int) -> int:
    return 10 * index + 5


@pytest.fixture
def files(tmp_path: Path) -> OnDisk:
    """Each of one colour, which says which it is; three can't be read."""
    names = [f"{index:02}.png" for index in range(COUNT)]
    for index, name in enumerate(names):
        Image.new("RGB", (20, 30), (shade(index),) * 2 + (0,)).save(tmp_path / name)
    (tmp_path / names[2]).write_text("no image")
    (tmp_path / names[3]).write_bytes((tmp_path / names[3]).read_bytes()[:50])
    (tmp_path / names[11]).unlink()
    return OnDisk(PathsBelow(tmp_path, names), SIDE, 3, replaces_unreadable=True)


def which(images: NDArray[np.uint8]) -> list[int]:
    """The numbers of the files that images are of."""
    assert (images == images[:, :1, :1]).all()
    return [(int(value) - 5) // 10 for value in images[:, 0, 0, 0]]


def test_what_can_be_read_comes_with_its_index_group_by_group(
    files: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILES_AT_A_TIME", 2)
    groups = [np.array([5, 2, 1, 19, 4]), np.array([3, 11]), np.array([], np.int64), np.array([0])]
    read = list(files.readable(groups))
    assert [indices.tolist() for indices, _ in read] == [[5, 1, 19, 4], [], [], [0]]
    for indices, images in read:
        assert images.shape == (len(indices), SIDE, SIDE, 3)
        assert images.dtype == np.uint8
        assert which(images) == indices.tolist()
    assert set(files.unreadable) == set(BAD)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30)))
def test_groups_stay_together_whatever_their_sizes(sizes: list[int]) -> None:
    ends = np.cumsum([0, *sizes])
    groups = [np.arange(start, end) for start, end in pairwise(ends)]
    made = list(module.in_groups(lambda own: own.tolist(), groups))
    assert [list(chain.from_iterable(parts)) for parts in made] == [group.tolist() for group in groups]


def test_groups_are_asked_for_only_a_little_ahead(files: OnDisk) -> None:
    asked = []

    def groups() -> object:
        for number in range(10_000):
            asked.append(number)
            yield np.array([0])

    read = files.readable(groups())  # type: ignore[arg-type]
    next(read)
    assert len(asked) < 200
    read.close()  # type: ignore[attr-defined]


def test_clean_images_are_in_step_with_what_was_asked_for(files: OnDisk) -> None:
    chosen = np.array([7, 2, 5, 3, 11, 9] * 30)
    found = list(files.clean(chosen))
    assert [len(batch) for batch in found] == [64, 64, 52]
    seen = which(np.concatenate(found))
    for index, own in zip(chosen, seen, strict=True):
        assert own in (7, 5, 9) if index in BAD else own == index
    assert which(np.concatenate(list(files.clean(chosen)))) == seen
    assert list(files.clean(np.array([], np.int64))) == []


def views(
    files: OnDisk, chosen: NDArray[np.int64], seed: int = 0, policy: Policy = NOTHING
) -> NDArray[np.uint8]:
    data = files.training(chosen, np.zeros(COUNT, np.int64), 2, None)
    return data.views(np.arange(len(chosen)), policy, np.random.default_rng(seed))


def test_a_training_sees_another_of_its_images_in_the_place_of_one_that_cannot_be_read(
    files: OnDisk,
) -> None:
    chosen = np.array([0, 2, 3, 4, 11, 13])
    seen = which(views(files, chosen))
    assert [seen[row] for row in (0, 3, 5)] == [0, 4, 13]
    assert set(seen) <= {0, 4, 13}
    assert which(views(files, chosen, seed=1)) == seen


def test_the_same_seed_shows_the_same_whatever_was_read_before(tmp_path: Path, files: OnDisk) -> None:
    for index in set(range(COUNT)) - set(BAD):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index:02}.png")
    first = views(files, ALL, policy=TRIVIALAUGMENT)
    assert len(files.unreadable) == 3
    np.testing.assert_array_equal(views(files, ALL, policy=TRIVIALAUGMENT), first)
    fresh = OnDisk(files.paths, SIDE, 3, replaces_unreadable=True)
    np.testing.assert_array_equal(views(fresh, ALL, policy=TRIVIALAUGMENT), first)
    assert (views(fresh, ALL, 1, TRIVIALAUGMENT) != first).any()


def test_one_bad_file_changes_no_other_image(tmp_path: Path, files: OnDisk) -> None:
    good = np.array([0, 1, 5, 6, 7])
    for index in good:
        pixels = np.random.default_rng(index).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index:02}.png")
    before = views(files, good)
    (tmp_path / "05.png").write_text("damaged now")
    after = views(files, good)
    np.testing.assert_array_equal(after[[0, 1, 3, 4]], before[[0, 1, 3, 4]])


def test_the_number_of_threads_changes_nothing(files: OnDisk) -> None:
    def epoch(threads: int) -> list[bytes]:
        data = FileImages(files, ALL, ALL % 3, 3, None, threads)
        made = batches(
            TrainingSetup(data, TRIVIALAUGMENT, Recipe(batch_size=4), seed=1, device=torch.device("cpu")),
            epoch=2,
        )
        return [batch.images.numpy().tobytes() for batch in made]

    assert epoch(1) == epoch(4)


def test_labels_and_what_a_teacher_says_go_with_the_image(files: OnDisk) -> None:
    teacher = np.eye(4, dtype=np.float32)[ALL % 4]
    chosen = np.array([19, 4, 6])
    data = files.training(chosen, ALL % 4, 4, teacher)
    assert data.labels.tolist() == [3, 0, 2]
    assert data.num_classes == 4
    assert data.teacher is not None
    assert data.teacher.argmax(1).tolist() == [3, 0, 2]
    assert files.training(chosen, ALL, 4, None).teacher is None


@pytest.mark.parametrize("asked", ["clean", "views"])
def test_where_hardly_any_can_be_read_a_person_is_told(tmp_path: Path, files: OnDisk, asked: str) -> None:
    bad = np.array(list(BAD))
    with pytest.raises(UserError) as error:
        views(files, bad) if asked == "views" else list(files.clean(bad))
    message = str(error.value)
    assert message.startswith(f"cannot read {tmp_path / '02.png'} (cut off, or not an image")
    assert message.endswith(f"nor any of 100 other images: see whether {tmp_path} is still there")


def test_a_training_sees_parts_as_large_as_it_is_told(tmp_path: Path) -> None:
    across = np.broadcast_to(np.arange(256, dtype=np.uint8), (256, 256))
    Image.fromarray(across).save(tmp_path / "ramp.png")
    path = tmp_path / "ramp.png"
    files = OnDisk([path], SIDE, 1, replaces_unreadable=True)
    whole, part = (Policy(num_ops=0, resized_crop=ResizedCrop(smallest=share)) for share in (1.0, 0.1))
    spans = [
        [int(np.ptp(views(files, np.array([0]), seed, policy))) for seed in range(20)]
        for policy in (whole, part)
    ]
    assert min(spans[0]) > 200
    assert min(spans[1]) < 150


_PRINTABLE = st.characters(exclude_categories=("C", "Z")) | st.just(" ")


@settings(max_examples=50)
@given(st.lists(st.text(_PRINTABLE, min_size=1), min_size=1))
def test_names_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    Names.write(names, folder)
    held = Names(folder)
    assert list(held) == names
    assert held[-1] == names[-1]
    assert held[1:] == names[1:]
    with pytest.raises(IndexError):
        held[len(names)]
    sent = pickle.dumps(held)
    assert len(sent) < 500
    assert list(pickle.loads(sent)) == names


def test_names_that_are_not_in_utf8_survive(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    Names.write(["a", name], tmp_path)
    assert Names(tmp_path)[1] == name
