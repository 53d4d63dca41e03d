"""The page about Python is true: its code runs, block after block, as one script."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.pictures import make_photos

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
SIZES = 'trials=7, folds=1, epochs=1, confirm_folds=2, final_epochs=1, proxy_model="tiny", final_model="tiny"'
QUICK = {
    'budget="10m"': f'{SIZES}, teacher="none", workers=1',
    "trials=12": "trials=7, folds=1, confirm_folds=2",
}
"""What stands in the page, and what the test has in its place so that it takes seconds."""


def test_the_code_of_the_page_runs_as_a_script_without_a_guard(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos")
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    for said, instead in QUICK.items():
        assert said in code
        code = code.replace(said, instead)
    (tmp_path / "page.py").write_text(f"print('the script began')\n{code}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the script began") == 1  # its workers did not run it again
    assert "final model: test accuracy" in done.stdout
    assert "trained by __main__:train_fold" in done.stdout
    for written in ("race.svg", "report.html", "policy.json", "mine.json"):
        assert (tmp_path / written).stat().st_size > 300, written
