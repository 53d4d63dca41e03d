"""The preview sheet shows originals and augmentations."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_sample_image

from augsearch.policies import Policy
from augsearch.policies.preview import _CELL, _MARGIN, sheet


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
    assert picture.width == _MARGIN + 4 * (_CELL + _MARGIN)
    shown = np.asarray(picture)
    top = _MARGIN * 2 + 20
    cells = [shown[top : top + _CELL, _MARGIN + i * (_CELL + _MARGIN) :][:, :_CELL] for i in range(4)]
    assert cells[0].std() > 20
    # Four inversions in a row are the original again.
    for cell in cells[1:]:
        np.testing.assert_array_equal(cell, cells[0])


def test_an_odd_number_of_inversions_is_seen() -> None:
    grey = np.full((32, 32, 1), 10, np.uint8)
    picture = np.asarray(sheet(Policy(num_ops=1, operations=("invert",)), [grey], columns=1))
    assert picture[_MARGIN + 4, _MARGIN + 4].tolist() == [10, 10, 10]
    assert picture[_MARGIN + 4, _MARGIN * 2 + _CELL + 4].tolist() == [245, 245, 245]
