"""The test part is known by its content, and no read of it goes unrecorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.sealed_test import hash_of_test, reads_of_test, record_test_read, seal_test
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.sections import HOME
from augsearch.trainers.system.hashing import digest


def opened(data: str, **fields: Any) -> Data:
    return open_data(load_settings(None, {"data": data, "teacher": "none", **fields}), Display())


def noise(seed: int, channels: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (20, 20, channels), dtype=np.uint8)


def archive(path: str, training: list[int], testing: list[int], channels: int = 1, bright: int = 0) -> str:
    """An .npz of these images, of classes a and b by turns of their numbers, some for testing."""
    numbers = [*training, *testing]
    images = np.concatenate([np.repeat(noise(n)[None], channels, axis=-1) for n in numbers])
    images[0, ..., 0] += np.uint8(bright)
    parts = np.array([1] * len(training) + [3] * len(testing))
    np.savez(path, images=images, labels=np.array([f"{'ab'[n % 2]}" for n in numbers]), parts=parts)
    return path


def folder(root: Path, training: list[int], testing: list[int]) -> str:
    for part, numbers in (("train", training), ("test", testing)):
        for number in numbers:
            path = root / part / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(number)[..., 0]).save(path)
    return str(root)


def hash_of(data: str, **fields: Any) -> str:
    return hash_of_test(data, opened(data, **fields))


FEW, TESTING = list(range(20)), [100, 101, 102, 103]


def test_a_test_part_is_the_same_in_any_order_and_among_any_others() -> None:
    known = hash_of(archive("few.npz", FEW, TESTING))
    assert hash_of(archive("more.npz", list(range(40)), TESTING[::-1])) == known
    # One coloured image makes three channels of all.
    assert opened(archive("coloured.npz", FEW, TESTING, channels=3, bright=9)).images.images.shape[-1] == 3
    assert hash_of("coloured.npz") == known
    assert hash_of("few.npz", seed=3, limit=8) == known


def test_another_image_or_another_class_makes_another_test_part() -> None:
    known = hash_of(archive("few.npz", FEW, TESTING))
    assert hash_of(archive("other.npz", FEW, [100, 101, 102, 105])) != known
    assert hash_of(archive("fewer.npz", FEW, TESTING[:3])) != known
    with np.load("few.npz") as held:
        labels = held["labels"].copy()
        labels[-2:] = labels[-2:][::-1]
        np.savez("mislabeled.npz", images=held["images"], labels=labels, parts=held["parts"])
    assert hash_of("mislabeled.npz") != known


def test_files_are_the_same_at_any_size_and_wherever_they_lie(workplace: Path) -> None:
    pets = folder(workplace / "pets", FEW, TESTING)
    known = hash_of(pets)
    assert hash_of(pets, image_size=12) == known
    moved = shutil.copytree(pets, workplace / "moved")
    (moved / "train" / "a" / "0.png").unlink()
    shutil.move(moved / "test" / "a" / "100.png", moved / "test" / "a" / "renamed.png")
    assert hash_of(str(moved)) == known
    shutil.move(moved / "test" / "a" / "renamed.png", moved / "test" / "b" / "renamed.png")
    assert hash_of(str(moved)) != known


def test_files_that_were_hashed_once_are_not_read_again(workplace: Path) -> None:
    pets = folder(workplace / "pets", FEW, TESTING)
    data = opened(pets)
    known = hash_of_test(pets, data)
    for path in (workplace / "pets" / "test").rglob("*.png"):
        path.unlink()
    assert hash_of_test(pets, data) == known


def test_a_file_that_is_gone_is_named(workplace: Path) -> None:
    pets = folder(workplace / "pets", FEW, TESTING)
    data = opened(pets)
    (workplace / "pets" / "test" / "a" / "102.png").unlink()
    with pytest.raises(UserError, match=r"cannot read .*102\.png, which could be read before"):
        hash_of_test(pets, data)


def test_a_study_with_another_test_part_is_not_taken_up() -> None:
    first, second = archive("one.npz", FEW, TESTING), archive("two.npz", FEW, [100, 101, 102, 105])
    study = optuna.create_study(study_name="mine")
    seal_test(study, first, opened(first))
    assert study.user_attrs["test"] == {"hash": hash_of(first), "reads": []}
    record_test_read(first, opened(first), "a run", study)
    sealed = study.user_attrs["test"]
    seal_test(study, first, opened(first))
    assert study.user_attrs["test"] == sealed
    with pytest.raises(UserError) as caught:
        seal_test(study, second, opened(second))
    assert str(caught.value) == (
        "study 'mine' was made from other data or settings: test part was "
        f"{hash_of(first)[:12]}, is {hash_of(second)[:12]}; use another --study"
    )


def test_every_read_is_on_record_in_a_file_and_in_the_study() -> None:
    one, more = archive("one.npz", FEW, TESTING), archive("more.npz", list(range(40)), TESTING)
    study = optuna.create_study()
    seal_test(study, one, opened(one))
    assert record_test_read(one, opened(one), "a run", study) == 0
    assert record_test_read(more, opened(more), "a training") == 1
    assert record_test_read(one, opened(one), "a run again", study) == 2
    record = HOME / "test-reads" / f"{hash_of(one)}.jsonl"
    reads = [json.loads(line) for line in record.read_text().splitlines()]
    assert [read["by"] for read in reads] == ["a run", "a training", "a run again"]
    assert study.user_attrs["test"] == {"hash": hash_of(one), "reads": [reads[0], reads[2]]}
    assert [read["by"] for read in reads_of_test(study)] == ["a run", "a run again", "a training"]
    record.unlink()
    assert [read["by"] for read in reads_of_test(study)] == ["a run", "a run again"]
    assert reads_of_test(optuna.create_study()) == []


def test_reads_of_old_count() -> None:
    one = archive("one.npz", FEW, TESTING)
    data = opened(one)
    old = digest([data.images.fingerprint, data.splits.digests()["test"]])
    (HOME / "test-reads").mkdir()
    (HOME / "test-reads" / f"{old}.jsonl").write_text('{"by": "before"}\n{"by": "again"}\n')
    assert [record_test_read(one, data, by) for by in "ab"] == [2, 3]


def test_the_test_part_does_not_depend_on_what_is_trained_on_but_on_the_seed(stripes: str) -> None:
    known = hash_of(stripes)
    assert hash_of(stripes, limit=30, epochs=3) == known
    assert hash_of(stripes, seed=1) != known
