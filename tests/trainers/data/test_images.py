"""Opening a data set: which folders are understood, and what is said of those that are not."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.decode import decode_file
from augsearch.trainers.data.images import image_paths, open_images

GREY = Image.new("L", (10, 10), 100)
RED = Image.new("RGB", (10, 10), (255, 0, 0))
PLAIN = ("cats/1.png", "cats/2.png", "dogs/1.png")


def make(root: Path, files: Iterable[str], image: Image.Image = RED) -> Path:
    """Save the image under each of the names."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return root


def opened(root: Path, *, image_size: int | None = 8, skip_bad_images: bool = False) -> ImageData:
    cache = root.with_name("cache")
    return open_images(str(root), image_size=image_size, cache=cache, skip_bad_images=skip_bad_images)


def refusal(root: Path | str, *, image_size: int | None = 8, skip_bad_images: bool = False) -> str:
    """Return the message with which opening is refused."""
    with pytest.raises(UserError) as error:
        opened(Path(root), image_size=image_size, skip_bad_images=skip_bad_images)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pets"


def test_class_folders_are_classes(root: Path) -> None:
    data = opened(make(root, PLAIN))
    assert data.name == "pets"
    assert data.classes == ("cats", "dogs")
    assert data.files == PLAIN
    assert data.labels.tolist() == [0, 0, 1]
    assert data.given.tolist() == [Split.ANY] * 3
    assert data.images.shape == (3, 8, 8, 3)
    assert data.images.dtype == np.uint8
    assert (data.labels.dtype, data.given.dtype) == (np.int64, np.int8)
    assert not any(array.flags.writeable for array in (data.images, data.labels, data.given))


def test_images_lie_at_any_depth_in_a_class_and_under_any_spelling_of_a_suffix(root: Path) -> None:
    files = ("cats/2020/june/1.JPG", "cats/a.jpeg", "dogs/1.Png", "dogs/x.webp")
    assert opened(make(root, files)).files == files


def test_what_is_hidden_or_no_image_is_ignored(root: Path) -> None:
    make(root, (*PLAIN, ".thumbnails/1.png", "cats/.hidden.png", "cats/.cache/1.png", "__MACOSX/1.png"))
    (root / "README.txt").write_text("hello")
    (root / "cats" / "labels.csv").write_text("1,2")
    (root / "cats" / "folder.png").mkdir()
    assert opened(root).files == PLAIN


def test_linked_folders_are_followed_once(root: Path, tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", ("1.png",))
    make(root, PLAIN)
    (root / "mice").symlink_to(tmp_path / "elsewhere")
    (root / "cats" / "loop").symlink_to(root / "cats")
    assert opened(root).files == (*PLAIN, "mice/1.png")


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_parts_are_read_from_the_layout(root: Path, val: str) -> None:
    files = (
        "train/a/1.png",
        "train/b/1.png",
        f"{val}/b/1.png",
        "test/a/1.png",
        "test/b/1.png",
    )
    data = opened(make(root, files))
    assert data.files == files
    assert data.classes == ("a", "b")
    assert data.given.tolist() == [1, 1, 2, 3, 3]
    assert data.labels.tolist() == [0, 1, 1, 0, 1]


def test_training_and_testing_are_parts_too_and_not_two_classes(root: Path) -> None:
    data = opened(make(root, ("Training/a/1.png", "Training/b/1.png", "Testing/a/1.png")))
    assert data.classes == ("a", "b")
    assert data.given.tolist() == [Split.TRAIN, Split.TRAIN, Split.TEST]


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled", "Unlabeled"])
@pytest.mark.parametrize("labeled", [PLAIN, ("train/a/1.png", "train/b/1.png")])
def test_what_lies_in_unlabeled_is_left_alone(root: Path, name: str, labeled: tuple[str, ...]) -> None:
    alone = opened(make(root, labeled))
    make(root, (f"{name}/1.png", f"{name}/cats/2.png"))
    (root / name / "3.png").write_text("no image")
    data = opened(root)
    assert data.files == labeled
    assert data.skipped == ()
    assert (data.labels >= 0).all()
    assert data.cache == alone.cache


def test_an_empty_unlabeled_folder_is_no_error(root: Path) -> None:
    (make(root, PLAIN) / "unlabeled").mkdir()
    assert opened(root).files == PLAIN


def test_unlabeled_images_under_two_spellings_are_refused(root: Path) -> None:
    make(root, (*PLAIN, "unlabeled/1.png", "unlabelled/1.png"))
    assert refusal(root).endswith("has both unlabeled/ and unlabelled/: keep one of them")


def test_a_folder_of_trains_among_other_vehicles_is_a_class(root: Path) -> None:
    data = opened(make(root, ("bus/1.png", "car/1.png", "train/1.png", "unlabeled/1.png")))
    assert data.classes == ("bus", "car", "train")
    assert data.given.tolist() == [0, 0, 0]


def test_a_folder_without_images_beside_the_parts_is_ignored(root: Path) -> None:
    make(root, ("train/a/1.png", "train/b/1.png"))
    (root / "annotations").mkdir()
    assert opened(root).classes == ("a", "b")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "has no images and no class folders: make a folder for each class inside it"),
        (("1.png", "2.png"), "has images directly inside it, but no class folders"),
        (("cats/1.png",), "has one class, 'cats': a classifier needs at least 2"),
        (
            ("train/1.png", "train/2.png", "val/a/1.png"),
            "train has images directly inside it, but no class folders",
        ),
        (("train/a/1.png", "train/b/1.png", "val/c/1.png"), "val/c is a class that train/ does not have"),
        (("train/a/1.png", "train/b/1.png", "test/1.png"), "test has no class folders"),
        (("test/a/1.png", "test/b/1.png"), "has test/ but no train/"),
        (("val/a/1.png", "unlabeled/1.png"), "has val/ but no train/"),
        (("train/a/1.png", "train/b/1.png", "extra/1.png"), "has train/ beside extra/"),
        (("cats/1.png", "dogs/1.png", "test/cats/1.png"), "has test/ beside cats/"),
        (("train/a/1.png", "train/b/1.png", "val/a/1.png", "valid/a/1.png"), "has both"),
    ],
)
def test_a_layout_that_is_not_understood_is_refused(root: Path, files: tuple[str, ...], message: str) -> None:
    root.mkdir()
    assert message in refusal(make(root, files))


def test_an_empty_class_folder_is_named(root: Path) -> None:
    make(root, PLAIN)
    (root / "mice").mkdir()
    (root / "mice" / "notes.txt").write_text("none yet")
    assert f"{root / 'mice'} has no images" in refusal(root)


def test_a_source_that_is_nowhere_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    assert "there is no file or folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "images.zip").write_bytes(b"PK")
    assert "images.zip is no archive, or is damaged" in refusal(tmp_path / "images.zip")
    (tmp_path / "images.xyz").write_bytes(b"PK")
    assert "cannot tell what" in refusal(tmp_path / "images.xyz")


@pytest.mark.parametrize("size", [7, 1025, 0, -3])
def test_a_size_out_of_range_is_refused(root: Path, size: int) -> None:
    assert refusal(make(root, PLAIN), image_size=size) == (
        f"image_size must be from 8 to 1024 pixels, got {size}"
    )


def test_one_channel_is_kept_only_if_every_image_is_grey(root: Path) -> None:
    make(root, PLAIN, GREY)
    make(root, ("cats/grey.png",), GREY.convert("RGB"))
    data = opened(root)
    assert data.images.shape == (4, 8, 8, 1)
    assert (data.images == 100).all()

    make(root, ("dogs/2.png",))
    data = opened(root)
    assert data.images.shape == (5, 8, 8, 3)
    assert (data.images[:4] == 100).all()
    assert (data.images[4] == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([(30, 40), (50, 28), (28, 90)], 28),
        ([(64, 64)] * 3, 64),
        ([(300, 200)] * 3, 64),
        ([(5, 5)] * 3, 8),
    ],
)
def test_without_a_size_small_images_keep_theirs_and_large_ones_get_64(
    root: Path, sides: list[tuple[int, int]], expected: int
) -> None:
    for file, side in zip(PLAIN, sides, strict=True):
        make(root, (file,), RED.resize(side))
    assert opened(root, image_size=None).images.shape[1:3] == (expected, expected)


@pytest.mark.parametrize(
    ("sides", "largest", "expected"),
    [([(300, 200)] * 3, 224, 200), ([(300, 240)] * 3, 224, 224), ([(100, 90)] * 3, 32, 32)],
)
def test_without_a_size_images_get_as_large_as_their_network_wants(
    root: Path, sides: list[tuple[int, int]], largest: int, expected: int
) -> None:
    for file, side in zip(PLAIN, sides, strict=True):
        make(root, (file,), RED.resize(side))
    cache = root.with_name("cache")
    data = open_images(str(root), image_size=None, cache=cache, largest=largest)
    assert data.images.shape[1:3] == (expected, expected)
    assert open_images(str(root), image_size=None, cache=cache, largest=largest).cache == data.cache
    assert open_images(str(root), image_size=None, cache=cache, largest=64).cache != data.cache


def test_the_files_of_a_folder_are_known_in_the_order_of_its_images(root: Path) -> None:
    colours = {file: (40 * number, 0, 200) for number, file in enumerate(PLAIN)}
    for file, colour in colours.items():
        make(root, (file,), Image.new("RGB", (10, 10), colour))
    (root / "cats" / "0.png").write_text("no image")
    data = opened(root, skip_bad_images=True)
    paths = image_paths(str(root), data)
    assert paths == [root / file for file in PLAIN]
    for path, pixels in zip(paths or [], data.images, strict=True):
        np.testing.assert_array_equal(decode_file(path, 8), pixels)


def test_images_that_are_no_files_have_no_paths(root: Path, tmp_path: Path) -> None:
    data = opened(make(root, PLAIN))
    np.savez(tmp_path / "some.npz", images=data.images, labels=data.labels)
    for source in (None, "torchvision:CIFAR10", str(tmp_path / "some.npz")):
        assert image_paths(source, data) is None


def spoil(path: Path) -> None:
    """Make of an image file the first half of another one."""
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_bad_image_is_named_with_the_way_out(root: Path) -> None:
    spoil(make(root, PLAIN) / "cats" / "2.png")
    message = refusal(root)
    assert message.startswith("pets: cannot read cats/2.png (")
    assert "truncated" in message
    assert message.endswith("--skip-bad-images")


def test_several_bad_images_are_counted(root: Path) -> None:
    make(root, PLAIN)
    spoil(root / "cats" / "2.png")
    (root / "dogs" / "0.jpg").write_text("no image")
    assert "cannot read 2 of 4 images, the first is cats/2.png" in refusal(root)


def test_bad_images_can_be_skipped_and_are_listed(root: Path) -> None:
    make(root, PLAIN)
    (root / "cats" / "0.heic").write_text("no image")
    data = opened(root, skip_bad_images=True)
    assert data.files == PLAIN
    assert data.labels.tolist() == [0, 0, 1]
    assert data.skipped == ("cats/0.heic: cut off, or not an image that Pillow can read",)
    assert "cannot read cats/0.heic" in refusal(root)


def test_a_class_that_loses_its_last_image_is_named(root: Path) -> None:
    spoil(make(root, PLAIN) / "dogs" / "1.png")
    assert "pets has no image of class 'dogs'" in refusal(root, skip_bad_images=True)


def test_a_bad_name_is_printable(root: Path) -> None:
    make(root, PLAIN)
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (root / "cats" / name).write_text("no image")
    refusal(root).encode()
    data = opened(root, skip_bad_images=True)
    assert data.skipped[0].startswith(r"cats/caf\udce9.png")
