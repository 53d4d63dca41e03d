"""The preview sheet shows originals and augmentations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from augsearch.policies import Policy
from augsearch.policies.preview import SHOWN_MAGNITUDES, operations_sheet, sheet
from augsearch.policies.sheets import CELL, MARGIN


def test_shows_each_original_and_its_augmentations() -> None:
    photo = load_sample_image("flower.jpg")[:320, :320]
    grey = np.ascontiguousarray(photo[::10, ::10, :1])
    picture = sheet(
        Policy(num_ops=4, operations=("invert",)),
        [photo, grey],
        labels=["photo", "grey"],
        columns=3,
        title="four inverts",
    )
    assert picture.width == MARGIN + 4 * (CELL + MARGIN)
    shown = np.asarray(picture)
    top = MARGIN * 2 + 20
    cells = [shown[top : top + CELL, MARGIN + i * (CELL + MARGIN) :][:, :CELL] for i in range(4)]
    assert cells[0].std() > 20
    # Four inversions in a row are the original again.
    for cell in cells[1:]:
        np.testing.assert_array_equal(cell, cells[0])


def test_an_odd_number_of_inversions_is_seen() -> None:
    grey = np.full((32, 32, 1), 10, np.uint8)
    picture = np.asarray(sheet(Policy(num_ops=1, operations=("invert",)), [grey], columns=1))
    assert picture[MARGIN + 4, MARGIN + 4].tolist() == [10, 10, 10]
    assert picture[MARGIN + 4, MARGIN * 2 + CELL + 4].tolist() == [245, 245, 245]


def test_the_operations_sheet_shows_every_operation_and_most_differ_from_the_original() -> None:
    photo = np.ascontiguousarray(load_sample_image("china.jpg")[100:196, 200:296]) // 2 + 100
    picture = np.asarray(operations_sheet(photo))
    side = photo.shape[0]
    # A cell has the photo's size here, so the original stands there unscaled.
    pieces = np.lib.stride_tricks.sliding_window_view(picture[:, :, 0], (1, side))[:, :, 0]
    begins = np.argwhere((pieces == photo[0, :, 0]).all(axis=-1))
    same = [(row, left) for row, left in begins if (picture[row:, left:][:side, :side] == photo).all()]
    assert len(same) == 1
    assert picture.shape[1] == 2 * (len(SHOWN_MAGNITUDES) * (side + 6) + 2 * MARGIN)


def test_the_operations_sheet_takes_grey_and_tiny_images() -> None:
    for shape in ((1, 1, 3), (40, 3, 1), (16, 200, 3)):
        assert operations_sheet(np.full(shape, 90, np.uint8)).mode == "RGB"


@pytest.mark.parametrize(("one", "other"), [("α", "β"), ("и", "к"), ("é", "è"), ("a", "b")])
def test_letters_of_other_scripts_are_drawn_as_themselves(one: str, other: str) -> None:
    # What a font lacks it shows as one and the same box.
    def drawn(letter: str) -> bytes:
        image = np.zeros((8, 8, 3), np.uint8)
        return sheet(Policy(num_ops=0), [image], labels=[letter], title=f"T=4.0 {letter}=0.5").tobytes()

    assert drawn(one) != drawn(other)
