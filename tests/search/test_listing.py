"""``augsearch operations``: a table, JSON and a sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from augsearch.policies import OPERATIONS
from augsearch.search.cli import main


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


def test_a_sheet_is_drawn_on_a_sample_photo(tmp_path: Path) -> None:
    assert operations("--sheet", tmp_path / "sheet.jpg")[0] == 0
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size[0] == 1068


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image", "a.png"], "--image is what to draw the --sheet on; give --sheet FILE.png too"),
        (["--sheet", "s.png", "--image", "none.png"], "none.png: no such file or directory; give an image"),
        (["--sheet", "s.png", "--image", "."], ".: is a directory; give an image"),
        (["--sheet", "s.png", "--image", "text.png"], "text.png: no image file that can be read; give an"),
        (["--sheet", "s.wrong"], "s.wrong: can't be written (unknown file extension: .wrong); give a .png"),
        (["--sheet", "text.png/s.png"], "text.png/s.png: can't be written"),
    ],
)
def test_bad_input_is_one_line(options: list[str], message: str, workplace: Path) -> None:
    (workplace / "text.png").write_text("not an image")
    status, output = operations(*options)
    assert status == 2
    assert output.startswith(f"Error: {message}")
    assert output.count("\n") == 1
