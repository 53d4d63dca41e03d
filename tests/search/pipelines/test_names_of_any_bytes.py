"""A whole run on folders and files whose names are not UTF-8, to the model that is trained from the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from augsearch.search.cli import main

ODD = b"caf\xe9".decode("utf-8", "surrogateescape")
SIZES = (
    *("--trials", "6", "--folds", "1", "--epochs", "1", "--fold-size", "4", "--confirm-folds", "2"),
    *("--teacher", "none", "--engine", "inline", "--proxy-model", "tiny", "--image-size", "8"),
    *("--final-model", "tiny", "--final-size", "72", "--final-epochs", "1"),
)


def test_a_run_goes_through_to_its_report(workplace: Path) -> None:
    rng = np.random.default_rng(0)
    for name in (ODD, "dogs"):
        (workplace / ODD / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (76, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(workplace / ODD / name / f"{ODD}{number}.png")
    run = CliRunner().invoke(main, ["run", ODD, *SIZES, "--study", "odd", "--output", "out"])
    assert run.exit_code == 0, run.output
    assert r"(caf\udce9, dogs)" in run.output
    assert "final model: test accuracy" in run.output
    assert r"caf\udce9" in (workplace / "out" / "report.html").read_text(encoding="utf-8")
    again = CliRunner().invoke(main, ["run", ODD, *SIZES, "--study", "odd", "--output", "out"])
    assert again.exit_code == 0, again.output
