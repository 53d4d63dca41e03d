"""The data set that comes with the package."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.embedded import make_fashion_mnist_small as script
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split

DATA = resources.files("augsearch.trainers.data.embedded")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    return open_images(None, image_size=None, cache=tmp_path_factory.mktemp("cache"))


def test_it_is_6000_small_grey_images_of_ten_named_classes(data: ImageData) -> None:
    assert data.name == "fashion-mnist-small"
    assert data.images.shape == (6000, 28, 28, 1)
    assert data.classes == script.CLASSES


@pytest.mark.parametrize(("part", "each"), [(Split.TRAIN, 100), (Split.VALIDATION, 150), (Split.TEST, 200)])
def test_every_labeled_part_has_the_same_number_of_each_class(
    data: ImageData, part: Split, each: int
) -> None:
    assert np.bincount(data.labels[data.given == part]).tolist() == [each] * 10


def test_the_unlabeled_part_has_no_labels_when_opened(data: ImageData) -> None:
    unlabeled = data.given == Split.UNLABELED
    assert unlabeled.sum() == 1500
    assert (data.labels[unlabeled] == -1).all()
    assert (data.labels[~unlabeled] >= 0).all()


def test_the_true_labels_of_the_unlabeled_part_are_kept_apart_and_balanced() -> None:
    with resources.as_file(DATA / "fashion_mnist_small.npz") as path, np.load(path) as arrays:
        assert np.bincount(arrays["unlabeled_truth"]).tolist() == [150] * 10


def test_no_image_is_in_two_parts_but_for_the_few_that_fashion_mnist_itself_has_twice(
    data: ImageData,
) -> None:
    assert len({image.tobytes() for image in data.images}) > 5990


def test_the_file_is_small_and_its_licence_lies_beside_it() -> None:
    with resources.as_file(DATA / "fashion_mnist_small.npz") as path:
        assert path.stat().st_size < 3_000_000
    notice = (DATA / "FASHION_MNIST_LICENSE.txt").read_text()
    assert "Zalando" in notice
    assert "Permission is hereby granted" in notice


@pytest.mark.skipif(not script.SOURCE.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_the_script_reproduces_the_file() -> None:
    made = script.make(script.SOURCE)
    with resources.as_file(DATA / "fashion_mnist_small.npz") as path, np.load(path) as committed:
        assert set(committed.files) == set(made)
        for name, array in made.items():
            assert array.dtype == committed[name].dtype
            np.testing.assert_array_equal(array, committed[name])


def test_the_script_says_how_to_get_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["make", "--source", str(tmp_path)])
    with pytest.raises(SystemExit, match="dataset-fashion-mnist"):
        script.main()


def test_what_an_earlier_version_decoded_and_divided_is_found_again(data: ImageData) -> None:
    assert data.cache.name == "67e35ce910040822953753ac"
    assert data.fingerprint == "c98597e6ca5778bd1ee89e89c2b6119e"
    splits = split(data.labels, data.given, classes=data.classes, seed=3)
    assert splits.digests() == {
        "train": "7a4aec930eb259dc",
        "validation": "f4eaf927a978e780",
        "confirmation": "925b6aefb25b8836",
        "test": "c5d312edc428174f",
        "unlabeled": "67bdfc9b9268d4dc",
    }
