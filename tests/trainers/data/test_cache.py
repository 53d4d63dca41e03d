"""The cache of decoded images: made once, whole or not at all."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, load_cache
from augsearch.trainers.data.images import open_images

COUNT = 200


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(COUNT // 2):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number:03}.png")
    return tmp_path / "pets"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(pets: Path, cache: Path, progress: Callable[[int, int], None] | None = None) -> ImageData:
    return open_images(str(pets), image_size=None, cache=cache, progress=progress)


def decoded(pets: Path, cache: Path) -> int:
    """Return how many images were decoded to open the data set."""
    calls: list[tuple[int, int]] = []
    opened(pets, cache, lambda done, total: calls.append((done, total)))
    return calls[-1][0] if calls else 0


def repaint(path: Path) -> None:
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path)


def test_progress_counts_up_to_all_images(pets: Path, cache: Path) -> None:
    calls: list[tuple[int, int]] = []
    opened(pets, cache, lambda done, total: calls.append((done, total)))
    assert calls == [(64, COUNT), (128, COUNT), (192, COUNT), (200, COUNT)]


def test_the_second_opening_decodes_nothing_and_gives_the_same(pets: Path, cache: Path) -> None:
    first = opened(pets, cache)
    assert decoded(pets, cache) == 0
    second = opened(pets, cache)
    assert second.fingerprint == first.fingerprint
    assert second.files == first.files
    np.testing.assert_array_equal(second.images, first.images)


@pytest.mark.parametrize(
    "change",
    [
        lambda pets: repaint(pets / "cats" / "000.png"),
        lambda pets: (pets / "cats" / "000.png").unlink(),
        lambda pets: (pets / "cats" / "000.png").rename(pets / "dogs" / "xxx.png"),
        lambda pets: (pets / "cats").rename(pets / "bats"),
    ],
    ids=["changed", "removed", "moved", "renamed class"],
)
def test_any_change_of_the_files_is_seen(pets: Path, cache: Path, change: Callable[[Path], object]) -> None:
    before = opened(pets, cache)
    change(pets)
    after = opened(pets, cache)
    assert after.fingerprint != before.fingerprint
    assert after.cache != before.cache


def test_size_and_skipping_have_caches_of_their_own(pets: Path, cache: Path) -> None:
    folders = {
        open_images(str(pets), image_size=size, cache=cache, skip_bad_images=skip).cache
        for size in (None, 8, 9)
        for skip in (False, True)
    }
    assert len(folders) == 6


def test_the_fingerprint_tells_the_content_and_not_where_or_when(pets: Path, cache: Path) -> None:
    before = opened(pets, cache)
    moved = pets.with_name("moved")
    shutil.copytree(pets, moved, copy_function=shutil.copyfile)
    (moved / "cats" / "000.png").rename(moved / "cats" / "000.PNG")
    after = opened(moved, cache)
    assert after.fingerprint == before.fingerprint
    assert after.cache != before.cache


def test_labels_or_parts_alone_make_another_fingerprint(tmp_path: Path, cache: Path) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    prints = set()
    for labels, parts in [([0, 0, 1, 1], [0] * 4), ([0, 1, 0, 1], [0] * 4), ([0, 0, 1, 1], [0, 0, 1, 1])]:
        np.savez(tmp_path / "x.npz", images=images, labels=labels, parts=parts)
        prints.add(open_images(str(tmp_path / "x.npz"), image_size=None, cache=cache).fingerprint)
        (tmp_path / "x.npz").unlink()
    assert len(prints) == 3


def test_a_worker_maps_the_same_pages(pets: Path, cache: Path) -> None:
    data = opened(pets, cache)
    loaded = load_cache(data.cache)
    assert np.shares_memory(loaded.images, load_cache(data.cache).images)  # mapped once, or counted twice
    assert isinstance(loaded.images, np.memmap)
    np.testing.assert_array_equal(loaded.images, data.images)
    for name in ("name", "classes", "fingerprint", "files", "skipped", "cache"):
        assert getattr(loaded, name) == getattr(data, name)


def test_pickling_sends_the_path_and_not_the_pixels(pets: Path, cache: Path) -> None:
    data = opened(pets, cache)
    sent = pickle.dumps(data)
    assert len(sent) < 1000
    assert pickle.loads(sent).fingerprint == data.fingerprint


def test_a_process_killed_while_decoding_leaves_nothing_that_is_believed(pets: Path, cache: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from augsearch.trainers.data.images import open_images;"
        "open_images(sys.argv[1], image_size=None, cache=Path(sys.argv[2]),"
        " progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(pets), str(cache)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (partial,) = cache.iterdir()
    assert partial.name.startswith(".")

    assert decoded(pets, cache) == COUNT
    assert partial.exists(), "it may belong to a process that is still at work"
    two_days_ago = time.time() - 2 * 24 * 3600
    for path in (*partial.iterdir(), partial):
        os.utime(path, (two_days_ago, two_days_ago))
    repaint(pets / "cats" / "000.png")
    opened(pets, cache)
    assert not partial.exists()


def test_an_interrupted_decoding_cleans_up(pets: Path, cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(pets, cache, interrupt)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("victim", ["images.npy", "labels.npy", "given.npy", "index.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_made_again(pets: Path, cache: Path, victim: str, damage: str) -> None:
    before = opened(pets, cache)
    path = before.cache / victim
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
    with pytest.raises(UserError, match="holds no decoded images"):
        load_cache(before.cache)
    after = opened(pets, cache)
    assert after.cache == before.cache
    assert after.fingerprint == before.fingerprint
    assert [folder.name for folder in cache.iterdir()] == [after.cache.name]


def test_a_cache_of_another_version_is_not_read(pets: Path, cache: Path) -> None:
    data = opened(pets, cache)
    index = json.loads((data.cache / "index.json").read_text())
    (data.cache / "index.json").write_text(json.dumps(index | {"format": 0}))
    with pytest.raises(UserError, match="holds no decoded images"):
        load_cache(data.cache)


def test_two_processes_that_decode_the_same_do_not_clash(pets: Path, cache: Path) -> None:
    others: list[ImageData] = []
    first_inode: list[int] = []

    def overtake(done: int, total: int) -> None:
        if not others:
            others.append(opened(pets, cache))
            first_inode.append((others[0].cache / "images.npy").stat().st_ino)

    data = opened(pets, cache, overtake)
    assert data.fingerprint == others[0].fingerprint
    assert data.cache == others[0].cache
    assert (data.cache / "images.npy").stat().st_ino == first_inode[0], "what is mapped was replaced"
    assert [folder.name for folder in cache.iterdir()] == [data.cache.name]


def test_a_cache_that_cannot_be_written_is_said_to_be(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write the cache .* Not a directory"):
        opened(pets, tmp_path / "file" / "cache")


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(pets: Path, cache: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path;"
        "from augsearch.policies import UserError; from augsearch.trainers.data.images import open_images\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: open_images(sys.argv[1], image_size=None, cache=Path(sys.argv[2]))\n"
        "except UserError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(pets), str(cache)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ended.stdout.startswith("cannot write the cache of decoded images in")
    assert list(cache.iterdir()) == []


def test_grey_images_before_a_coloured_one_keep_their_pixels(tmp_path: Path, cache: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    coloured = np.repeat(images[..., None], 3, axis=3)
    coloured[4, 0, 0] = [1, 2, 3]
    np.savez(tmp_path / "x.npz", images=coloured, labels=[0, 1] * 3)
    data = open_images(str(tmp_path / "x.npz"), image_size=None, cache=cache)
    np.testing.assert_array_equal(data.images, coloured)
    assert sorted(path.name for path in data.cache.iterdir()) == [
        *("given.npy", "images.npy", "index.json", "labels.npy")
    ]
