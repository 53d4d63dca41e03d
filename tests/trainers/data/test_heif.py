"""HEIC photos, as phones take them: read as others are; without the package it is said what reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.trainers.data.decode import decode_file, decode_shrunk, size_of
from augsearch.trainers.data.images import open_images

WITHOUT = """
import sys
from pathlib import Path
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "pillow_heif":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
from augsearch.trainers.data.decode import BadImageError, decode_file
try:
    decode_file(Path(sys.argv[1]), 8)
except BadImageError as error:
    print(error)
"""


def photo() -> Image.Image:
    """Smooth colours, of which each corner has its own."""
    corners = np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [250, 250, 20]]], np.uint8)
    return Image.fromarray(corners).resize((96, 64), Image.Resampling.BILINEAR)


def written(path: Path, **more: object) -> Path:
    heif = pytest.importorskip("pillow_heif", reason="it is not here; pip install 'augsearch[heif]'")
    path.parent.mkdir(parents=True, exist_ok=True)
    heif.from_pillow(photo()).save(path, quality=95, **more)
    return path


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".HEIC"])
def test_a_heic_photo_is_read_as_any_other(tmp_path: Path, suffix: str) -> None:
    for name in ("cats/1", "cats/2", "dogs/1", "dogs/2"):
        written((tmp_path / "heic" / name).with_suffix(suffix))
        (tmp_path / "png" / name).parent.mkdir(parents=True, exist_ok=True)
        photo().save((tmp_path / "png" / name).with_suffix(".png"))
    heic, png = (
        open_images(str(tmp_path / kind), image_size=32, cache=tmp_path / "cache") for kind in ("heic", "png")
    )
    assert np.abs(heic.images.astype(int) - png.images).mean() < 3
    assert heic.skipped == ()


def test_it_is_upright_at_any_size_and_from_bytes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    path = written(tmp_path / "1.heic", exif=exif.tobytes())
    upright = np.asarray(photo().transpose(Image.Transpose.ROTATE_270))
    assert sorted(size_of(path)) == [64, 96]
    shrunk = decode_shrunk(path, 64)
    assert shrunk.shape == (96, 64, 3)
    assert np.abs(shrunk.astype(int) - upright).mean() < 3
    np.testing.assert_array_equal(decode_file(path, 16), decode_file(path.read_bytes(), 16))


def test_without_the_package_it_is_said_what_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "1.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    command = [sys.executable, "-c", WITHOUT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "HEIC pictures need one more package: pip install 'augsearch[heif]'\n"
