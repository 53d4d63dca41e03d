"""What a model has learned from stands in the file of its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.learned import learned_from, metadata_of
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec

SPEC = ModelSpec(name="tiny", channels=1, image_size=16, classes=("a", "b"), mean=(128.0,), std=(60.0,))


def test_a_model_says_which_images_it_learned_from_in_no_order(tmp_path: Path) -> None:
    keys = np.random.default_rng(0).integers(2**64, size=60_000, dtype=np.uint64)
    path, again = tmp_path / "model.safetensors", tmp_path / "again.safetensors"
    save_model(build_model(SPEC, 0), SPEC, path, {}, keys)
    save_model(build_model(SPEC, 0), SPEC, again, {}, np.append(keys[::-1], keys[:9]))
    said = learned_from(path)
    assert said is not None
    np.testing.assert_array_equal(said, np.sort(keys))
    assert path.read_bytes() == again.read_bytes()
    assert load_model(path)[1] == SPEC
    plain = tmp_path / "plain.safetensors"
    save_model(build_model(SPEC, 0), SPEC, plain, {})
    assert path.stat().st_size - plain.stat().st_size < 11 * len(keys)
    assert learned_from(plain) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\xff" * 64,
        (7).to_bytes(8, "little") + b"nothing",
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_other_files_say_nothing(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    assert (metadata_of(path), learned_from(path)) == ({}, None)
    assert learned_from(tmp_path / "none.safetensors") is None
