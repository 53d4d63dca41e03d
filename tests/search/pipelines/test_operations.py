"""``augsearch operations``: a table, JSON and a sheet."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from augsearch.policies import OPERATIONS
from augsearch.search.cli import main
from augsearch.search.pipelines.operations import SIDE, draw_operations


def operations(*options: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["operations", *map(str, options)])
    return done.exit_code, done.output


def test_the_table_has_every_operation_and_fits_a_terminal() -> None:
    status, output = operations()
    assert status == 0
    lines = {line.split()[0]: line for line in output.splitlines() if line.split()}
    assert set(OPERATIONS) <= set(lines)
    assert "warp" in lines["rotate"]
    assert "0 to ±30°" in lines["rotate"]
    assert "0 to ±135°" in lines["rotate"]
    assert lines["rotate"].split()[-3:] == ["r", "g", "w"]
    assert max(map(len, output.splitlines())) <= 80


def test_json_says_the_same_to_machines() -> None:
    status, output = operations("--json")
    assert status == 0
    listed = {one["name"]: one for one in json.loads(output)}
    assert list(listed) == list(OPERATIONS)
    assert listed["rotate"]["standard"] == {"magnitude 0": 0, "magnitude 30": 30, "times": None}
    assert listed["translate_x"]["standard"]["times"] == "the image's width"
    assert listed["equalize"]["standard"] is None


def test_a_sheet_is_drawn_on_the_users_image(tmp_path: Path) -> None:
    image = tmp_path / "mine.png"
    Image.fromarray(np.full((50, 80, 3), (200, 30, 30), np.uint8)).save(image)
    status, output = operations("--sheet", tmp_path / "new" / "sheet.png", "--image", image)
    assert status == 0
    assert "new/sheet.png: 1068 ×" in output
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert ((np.asarray(sheet) == (200, 30, 30)).all(axis=-1)).sum() > 50 * 80


def drawn_on(image: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """What the sheet shows as the original: the image as it was decoded."""
    seen: list[np.ndarray] = []

    def keep(decoded: np.ndarray) -> Image.Image:
        seen.append(decoded)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr("augsearch.search.pipelines.operations.operations_sheet", keep)
    draw_operations(image.with_name("sheet.png"), image)
    return seen[0]


def test_any_image_is_drawn_as_a_search_would_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "mine.png"
    ramp = np.tile(np.linspace(0, 65535, 40), (30, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(image)
    sixteen = drawn_on(image, monkeypatch)
    assert sixteen.shape == (30, 30, 1)
    assert 10 < sixteen[0, 0, 0] < 60 < 200 < sixteen[0, -1, 0] < 245, "of 16 bits the upper 8, not all white"

    lies_on_its_side = Image.Exif()
    lies_on_its_side[0x0112] = 6
    image = tmp_path / "mine.jpg"
    Image.fromarray((ramp >> 8).astype(np.uint8)).convert("RGB").save(image, exif=lies_on_its_side)
    upright = drawn_on(image, monkeypatch).astype(int)
    assert upright[-1, 0, 0] - upright[0, 0, 0] > 100
    assert abs(upright[0, -1, 0] - upright[0, 0, 0]) < 10

    Image.new("RGBA", (900, 700), (200, 30, 30, 99)).save(tmp_path / "large.png")
    assert drawn_on(tmp_path / "large.png", monkeypatch).shape == (SIDE, SIDE, 3)


def test_json_and_a_sheet_go_together(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["operations", "--json", "--sheet", str(tmp_path / "sheet.jpg")])
    assert [one["name"] for one in json.loads(done.stdout)] == list(OPERATIONS)
    assert "sheet.jpg: 1068 ×" in done.stderr
    assert (tmp_path / "sheet.jpg").stat().st_size < 1_000_000


def test_a_sheet_is_drawn_on_a_sample_photo(tmp_path: Path) -> None:
    assert operations("--sheet", tmp_path / "sheet.jpg")[0] == 0
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size[0] == 1068


def claimed_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("default")  # as for a user: Pillow only warns of a large picture
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image", "a.png"], "--image is what to draw the --sheet on; give --sheet FILE.png too"),
        (["--sheet", "s.png", "--image", "none.png"], "none.png: no such file or directory; give an image"),
        (["--sheet", "s.png", "--image", "."], ".: is a directory; give an image"),
        (["--sheet", "s.png", "--image", "text.png"], "text.png: cut off, or not an image that Pillow can"),
        (["--sheet", "s.png", "--image", "cut.png"], "cut.png: "),
        (
            ["--sheet", "s.png", "--image", "bomb.png"],
            "bomb.png: 3,600,000,000 pixels, and more than 89,478,485 may be an attack",
        ),
        (
            ["--sheet", "s.png", "--image", "large.png"],
            "large.png: 100,000,000 pixels, and more than 89,478,485 may be an attack",
        ),
        (["--sheet", "s.wrong"], "s.wrong: can't be written (unknown file extension: .wrong); give a .png"),
        (["--sheet", "text.png/s.png"], "text.png/s.png: can't be written"),
    ],
)
def test_bad_input_is_one_line(options: list[str], message: str, workplace: Path) -> None:
    (workplace / "text.png").write_text("not an image")
    (workplace / "bomb.png").write_bytes(claimed_size(60_000, 60_000))
    (workplace / "large.png").write_bytes(claimed_size(10_000, 10_000))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(workplace / "whole.png")
    (workplace / "cut.png").write_bytes((workplace / "whole.png").read_bytes()[:2000])
    status, output = operations(*options)
    assert status == 2
    assert output.startswith(f"Error: {message}")
    assert output.count("\n") == 1
