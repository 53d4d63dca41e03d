"""``augsearch inspect`` says what is in a data set, and which command runs on it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.summary import summary_of
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings


def scene(path: Path, seed: int, edit: float = 0.0, size: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 230, (6, 6, 3), dtype=np.uint8))
    values = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) * (1 + edit)
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def signs(workplace: Path) -> Path:
    """20 signs of two classes, four frames of each, and what goes wrong with data."""
    for number in range(20):
        for frame in range(4):
            name = f"sign{number:02}_{frame}.png"
            scene(workplace / "signs" / ("stop", "yield")[number % 2] / name, number, 0.04 * frame)
    shutil.copy(workplace / "signs" / "stop" / "sign00_0.png", workplace / "signs" / "yield" / "wrong.png")
    (workplace / "signs" / "stop" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (workplace / "signs" / "stop" / "notes.txt").write_text("of the street")
    return workplace / "signs"


def invoke(*words: str) -> str:
    done = CliRunner().invoke(main, ["inspect", *words])
    assert done.exit_code == 0, done.output
    return done.output


def found(*words: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(invoke(*words, "--json"))
    return facts


def test_everything_that_a_person_should_know_is_found(signs: Path) -> None:
    facts = found(str(signs))
    assert (facts["images"], facts["classes"], facts["side"]) == (81, ["stop", "yield"], 32)
    assert facts["bad"]["count"] == 1
    assert facts["bad"]["examples"][0].startswith("stop/broken.png: ")
    assert facts["sizes"] == [[40, 32, 81]]
    assert facts["modes"] == {"RGB": 81}
    assert facts["conflicts"]["count"] == 2
    assert "stop/sign00_0.png (stop) and yield/wrong.png (yield)" in facts["conflicts"]["examples"]
    assert facts["group_guess"]["groups"] == 20
    assert facts["group_guess"]["alike"] > 0.9
    assert any("1 .txt" in line for line in facts["notes"])
    words = shlex.split(facts["command"])
    assert words[:3] == ["augsearch", "run", str(signs)]
    assert words[3:] == ["--skip-bad-images", "--group-by", "near-duplicates"]


def test_its_parts_and_repeats_are_those_of_a_run(signs: Path) -> None:
    facts = found(str(signs))
    settings = load_settings(None, {"data": str(signs), "teacher": "none", "skip_bad_images": True})
    summary = summary_of(str(signs), open_data(settings, Display()))
    for name in ("counts", "duplicates", "near"):
        assert facts[name] == summary[name], name


def test_what_it_advises_is_taken_by_a_run_and_cures_it(
    signs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (signs / "yield" / "wrong.png").unlink()
    words = shlex.split(found(str(signs))["command"])
    assert "--group-by" in words
    again = found(*(word for word in words[2:] if word != "--skip-bad-images"))
    assert [one for one in again["near"] if len(one["parts"]) > 1] == []
    assert again["groups"] == 20
    by_name = found(str(signs), "--group-by", found(str(signs))["group_guess"]["expression"])
    assert (by_name["groups"], by_name["near"]) == (20, again["near"])


def test_the_page_stands_alone_and_shows_what_looks_alike(signs: Path) -> None:
    said = invoke(str(signs), "-o", "page/inspect.html")
    page = Path("page/inspect.html").read_text(encoding="utf-8")
    assert "page/inspect.html: " in said
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert page.count("data:image/jpeg;base64,") > 8
    assert "The same picture, different labels" in page
    assert "yield/wrong.png" in page
    assert "stop/broken.png" in page


def test_names_are_text_in_the_page(workplace: Path) -> None:
    for number in range(12):
        scene(workplace / "pets" / ("<b>cat", "dog")[number % 2] / f"{number}.png", number)
    invoke("pets", "-o", "inspect.html")
    page = Path("inspect.html").read_text(encoding="utf-8")
    assert "<b>cat" not in page
    assert "&lt;b&gt;cat" in page


def test_a_table_in_the_terminal_ends_with_the_command(signs: Path) -> None:
    said = invoke(str(signs))
    assert re.search(r"unreadable +1", said)
    assert said.rstrip().splitlines()[-1].strip().startswith("augsearch run ")


def test_too_few_images_are_told_with_the_option_that_makes_it_work(workplace: Path) -> None:
    for number in range(22):
        name = ("cat", "dog")[number % 2] if number < 20 else "fox"
        scene(workplace / "pets" / name / f"{number}.png", number)
    facts = found("pets")
    assert facts["problem"].startswith("class 'fox' has 2 images")
    assert "--min-per-class 4" in facts["command"]
    assert facts["counts"] == {"train": {"cat": 10, "dog": 10, "fox": 2}}


def test_numbers_that_start_anew_in_each_class_are_no_groups(workplace: Path) -> None:
    for number in range(60):
        scene(workplace / "pets" / ("cat", "dog")[number % 2] / f"{number // 2:03}_n.png", number)
    assert found("pets")["group_guess"] is None


def test_images_of_which_most_are_long_are_told_of_fit(workplace: Path) -> None:
    for number in range(12):
        scene(workplace / "pets" / ("cat", "dog")[number % 2] / f"{number}.png", number, size=(80, 30))
    assert any("--fit squash" in line for line in found("pets")["advice"])
    squashed = found("pets", "--fit", "squash")
    assert squashed["command"] == "augsearch run pets --fit squash"
    assert not any("--fit" in line for line in squashed["advice"]), "which it was given"


def test_the_embedded_images_and_arrays_are_looked_at_too(workplace: Path) -> None:
    facts = found()
    assert (facts["images"], facts["unlabeled"], facts["modes"]) == (6000, 1500, {"grey": 6000})
    assert facts["command"] == "augsearch run"
    assert facts["network"] == f"final network: {Settings().network}, because the embedded images are small"


def test_what_is_no_data_set_is_one_line(workplace: Path) -> None:
    done = CliRunner().invoke(main, ["inspect", "nowhere"])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert "there is no file or folder nowhere" in done.output
