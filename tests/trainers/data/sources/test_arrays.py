"""Images in an .npz file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.sources import arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def opened(tmp_path: Path, image_size: int | None = None, **saved: Any) -> ImageData:
    path = tmp_path / "some.npz"
    np.savez(path, **saved)
    return open_images(str(path), image_size=image_size, cache=tmp_path / "cache")


def test_images_and_labels_come_out_as_they_went_in(tmp_path: Path) -> None:
    data = opened(tmp_path, images=IMAGES, labels=LABELS)
    np.testing.assert_array_equal(data.images, IMAGES)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == ("0", "1", "2")
    assert data.given.tolist() == [Split.ANY] * 6
    assert data.files[4] == "index 4"
    assert data.name == "some"


@pytest.mark.parametrize(
    "images",
    [
        IMAGES[..., 0],
        IMAGES[..., :1],
        IMAGES[..., 0].astype(np.uint16) * 257,
        IMAGES[..., 0] / 255,
        (IMAGES[..., 0] / 255).astype(np.float32),
        np.concatenate([IMAGES[..., :1]] * 3 + [np.full_like(IMAGES[..., :1], 255)], axis=3),
        np.asfortranarray(IMAGES[..., 0]),
    ],
    ids=["NHW", "NHW1", "uint16", "float64", "float32", "RGBA", "Fortran"],
)
def test_every_shape_and_type_of_grey_gives_the_same_pixels(tmp_path: Path, images: Any) -> None:
    data = opened(tmp_path, images=images, labels=LABELS)
    np.testing.assert_array_equal(data.images, IMAGES[..., :1])


def test_an_array_larger_than_a_chunk_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 4 * IMAGES[0].nbytes)
    np.testing.assert_array_equal(opened(tmp_path, images=IMAGES, labels=LABELS).images, IMAGES)


def test_images_that_are_not_square_or_of_another_size_are_resized(tmp_path: Path) -> None:
    assert opened(tmp_path, images=IMAGES[:, :, 1:].repeat(2, 1), labels=LABELS).images.shape == (6, 8, 8, 3)
    assert opened(tmp_path, images=IMAGES, labels=LABELS, image_size=20).images.shape == (6, 20, 20, 3)


def test_labels_may_be_names(tmp_path: Path) -> None:
    data = opened(tmp_path, images=IMAGES, labels=np.array(["b", "a", "c", "b", "a", "c"]))
    assert data.classes == ("a", "b", "c")
    assert data.labels.tolist() == [1, 0, 2, 1, 0, 2]


def test_names_given_for_the_classes_are_used(tmp_path: Path) -> None:
    data = opened(tmp_path, images=IMAGES, labels=LABELS[:, None], classes=np.array(["x", "y", "z"]))
    assert data.classes == ("x", "y", "z")
    assert data.labels.tolist() == LABELS.tolist()


def test_label_minus_one_is_unlabeled(tmp_path: Path) -> None:
    data = opened(tmp_path, images=IMAGES, labels=np.array([0, -1, 1, 0, 1, -1]))
    assert data.given.tolist() == [0, Split.UNLABELED, 0, 0, 0, Split.UNLABELED]
    assert data.labels.tolist() == [0, -1, 1, 0, 1, -1]


def test_parts_may_be_given_and_the_unlabeled_part_loses_its_labels(tmp_path: Path) -> None:
    parts = np.array([1, 1, 2, 3, 4, 1])
    data = opened(tmp_path, images=IMAGES, labels=np.array([0, 1, 0, 1, 1, 1]), parts=parts)
    assert data.given.tolist() == parts.tolist()
    assert data.labels.tolist() == [0, 1, 0, 1, -1, 1]


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"images": IMAGES}, "lacks labels"),
        ({"x": IMAGES}, "lacks images and labels"),
        ({"images": IMAGES, "labels": LABELS[:5]}, r"has 6 images, but its labels have the shape \(5,\)"),
        ({"images": IMAGES, "labels": LABELS / 2}, "must be whole numbers or names, got float64"),
        ({"images": IMAGES, "labels": LABELS - 2}, "labels out of range: .* label -2 at index 0"),
        (
            {"images": IMAGES, "labels": LABELS * 2},
            "label 2 at index 1 but no label 1",
        ),
        ({"images": IMAGES, "labels": LABELS, "classes": ["a", "b"]}, "label 2 at index 2"),
        ({"images": IMAGES, "labels": LABELS, "classes": list("abcd")}, "has no image of class 'd'"),
        ({"images": IMAGES, "labels": LABELS, "classes": list("aab")}, "must have different names"),
        ({"images": IMAGES, "labels": list("ababac"), "classes": ["a", "b"]}, "label 'c' at index 5"),
        ({"images": IMAGES, "labels": LABELS * 0}, "has one class: a classifier needs at least 2"),
        ({"images": IMAGES, "labels": LABELS * 0 - 1}, "has no classes"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "array labels: Object arrays"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, "got object"),
        ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "must be uint8.* got int64"),
        ({"images": IMAGES[:, 0, 0], "labels": LABELS}, "must have the shape"),
        ({"images": IMAGES[..., [0] * 17], "labels": LABELS}, "must have the shape"),
        ({"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS}, "move the channels last"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "must have the shape"),
        (
            {"images": np.full(IMAGES.shape, np.nan), "labels": LABELS},
            "nothing was measured in it: all pixels are NaN",
        ),
        (
            {"images": IMAGES, "labels": LABELS, "parts": LABELS + 3},
            r"parts .* must be 6 numbers in 0\.\.4: 0 undecided, 1 train, 2 validation, 3 test, 4 unlabeled",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, saved: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        opened(tmp_path, **saved)
    assert "\n" not in str(error.value)


def test_the_first_image_with_an_infinity_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    images = IMAGES / 255
    images[3, 0, 0, 0] = np.inf
    with pytest.raises(UserError, match=r"cannot read index 3 .*found inf"):
        opened(tmp_path, images=images, labels=LABELS)
    data = open_images(
        str(tmp_path / "some.npz"), image_size=None, cache=tmp_path / "cache", skip_bad_images=True
    )
    assert data.labels.tolist() == [0, 1, 2, 1, 2]
    assert data.skipped == (
        "index 3: floating-point pixels must be numbers, found inf: correct it, or make it NaN",
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match=r"cut\.npz is not an \.npz file, or is damaged"):
        open_images(str(path), image_size=None, cache=tmp_path / "cache")


def test_a_file_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    content[400] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.npz"):
        open_images(str(path), image_size=None, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))
