"""Data sets that torchvision knows by name, read from disk by torchvision itself."""

from pathlib import Path

import numpy as np
import pytest

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.sources.torchvision import TorchvisionSource

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in (40, 20))


def write_idx(path: Path, array: np.ndarray) -> None:
    header = np.array([0x800 + array.ndim, *array.shape], ">u4")
    path.write_bytes(header.tobytes() + array.tobytes())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """A folder for data that nothing can be downloaded to."""
    monkeypatch.setenv("AUGSEARCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def fashion(root: Path) -> Path:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, images in (("train", TRAIN), ("t10k", TEST)):
        write_idx(raw / f"{name}-images-idx3-ubyte", images)
        write_idx(raw / f"{name}-labels-idx1-ubyte", np.arange(len(images), dtype=np.uint8) % 10)
    return raw


def opened(name: str, tmp_path: Path) -> ImageData:
    return open_images(f"torchvision:{name}", image_size=None, cache=tmp_path / "cache")


def test_train_and_test_are_read_from_disk(fashion: Path, tmp_path: Path) -> None:
    data = opened("FashionMNIST", tmp_path)
    assert data.name == "FashionMNIST"
    assert data.classes[0] == "T-shirt/top"
    np.testing.assert_array_equal(data.images[..., 0], np.concatenate([TRAIN, TEST]))
    assert data.labels.tolist() == [*(np.arange(40) % 10), *(np.arange(20) % 10)]
    assert data.given.tolist() == [Split.TRAIN] * 40 + [Split.TEST] * 20
    assert data.files[41] == "test index 1"


def test_a_second_opening_does_not_even_ask_torchvision(
    fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened("FashionMNIST", tmp_path)
    monkeypatch.setattr(TorchvisionSource, "open", None)
    assert opened("FashionMNIST", tmp_path).cache == before.cache


def test_other_files_under_the_same_name_are_noticed(fashion: Path, tmp_path: Path) -> None:
    before = opened("FashionMNIST", tmp_path)
    write_idx(fashion / "t10k-images-idx3-ubyte", TEST[::-1])
    assert opened("FashionMNIST", tmp_path).fingerprint != before.fingerprint


def test_a_cache_below_the_root_does_not_count_as_a_change(fashion: Path, root: Path) -> None:
    first, second = (
        open_images("torchvision:FashionMNIST", image_size=None, cache=root / "cache") for _ in range(2)
    )
    assert first.cache == second.cache


def test_without_files_and_network_one_line_says_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be downloaded .* AUGSEARCH_DATA") as error:
        opened("KMNIST", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CIFAR11", "torchvision has no data set CIFAR11"),
        ("VisionDataset", "VisionDataset"),
        ("utils", "torchvision has no data set utils"),
        ("EMNIST", "EMNIST does not open by name alone, it takes root, split"),
        ("FakeData", "FakeData does not open by name alone, it takes no root"),
    ],
)
def test_what_cannot_be_opened_by_name_is_refused(
    root: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(name, tmp_path)


def test_splits_are_taken_by_the_names_that_torchvision_uses(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STL10 has splits train, test and unlabeled; its files, made small, are read by torchvision."""
    from torchvision.datasets import STL10

    folder = root / STL10.base_folder
    folder.mkdir(parents=True)
    counts = {"train": 4, "test": 4, "unlabeled": 3}
    for name, count in counts.items():
        RNG.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{name}_X.bin")
        if name != "unlabeled":
            (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(folder / f"{name}_y.bin")
    (folder / "class_names.txt").write_text("\n".join("abcd"))
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)

    data = opened("STL10", tmp_path)
    assert data.images.shape == (11, 64, 64, 3)
    assert data.given.tolist() == [1] * 4 + [3] * 4 + [4] * 3
    assert data.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, -1, -1, -1]
    assert data.classes == ("a", "b", "c", "d")
