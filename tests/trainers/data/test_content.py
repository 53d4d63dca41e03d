"""Images are known again by their content: at another size, in another place, among others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.content import content_keys
from augsearch.trainers.data.images import open_images
from augsearch.trainers.models.learned import Keys


def keys(source: str | None, cache: Path, size: int | None = None) -> Keys:
    return content_keys(source, open_images(source, image_size=size, cache=cache / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of twelve photos."""
    for number in range(12):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def arrays(path: Path, numbers: range, side: int = 20) -> str:
    images = np.stack(
        [np.random.default_rng(n).integers(0, 256, (side, side), dtype=np.uint8) for n in numbers]
    )
    np.savez(path, images=images, labels=[n % 2 for n in numbers])
    return str(path)


def test_files_are_known_wherever_they_lie_and_at_any_size(photos: Path, tmp_path: Path) -> None:
    first = keys(str(photos), tmp_path)
    assert len(set(first.tolist())) == 12
    shutil.copytree(photos, tmp_path / "copy")
    (tmp_path / "copy" / "a" / "0.png").unlink()
    others = keys(str(tmp_path / "copy"), tmp_path, 16)
    assert set(others.tolist()) == set(first.tolist()) - {first[0]}


def test_arrays_are_known_among_others_and_at_any_size(tmp_path: Path) -> None:
    first = keys(arrays(tmp_path / "one.npz", range(10)), tmp_path)
    assert len(set(first.tolist())) == 10
    more = arrays(tmp_path / "more.npz", range(4, 20))
    for size in (None, 12, 20, 32):
        np.testing.assert_array_equal(keys(more, tmp_path, size)[:6], first[4:])


def test_images_without_labels_have_no_keys_and_the_rest_do(tmp_path: Path) -> None:
    found = keys(None, tmp_path)
    data = open_images(None, image_size=None, cache=tmp_path / "cache")
    assert not found[data.labels < 0].any()
    assert len(np.unique(found[data.labels >= 0])) > 0.99 * (data.labels >= 0).sum()


def test_a_file_that_is_gone_is_named(photos: Path, tmp_path: Path) -> None:
    data = open_images(str(photos), image_size=None, cache=tmp_path / "cache")
    (photos / "b" / "3.png").unlink()
    with pytest.raises(UserError, match=r"^cannot read .*3\.png, which could be read before$"):
        content_keys(str(photos), data)
