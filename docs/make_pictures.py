"""Makes the screenshots of ``docs/quickstart.md`` anew, in ``docs/pictures``, from runs on embedded images.

python docs/make_pictures.py FOLDER

FOLDER keeps the run, and one of before is taken as it is: ten minutes the first time, two the second. Needs
Chromium with its driver, as the tests in a browser do. No test runs it: what a run comes to differs from
machine to machine, and so do the pictures.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text
from selenium import webdriver

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browsers import open_browser  # noqa: E402

PICTURES = Path(__file__).with_name("pictures")
STUDY, LIVE = "quickstart", "at-work"
AUGSEARCH = (sys.executable, "-m", "augsearch.search.cli")
SHORT = ("--trials", "18", "--folds", "4", "--fold-size", "100", "--epochs", "4", "--teacher", "none")
"""Of the run that is photographed while it runs: small folds, so that some minutes are enough."""
WIDE, HIGH = 1180, 900
COLUMNS = 112
"""Characters of a line of the terminal."""
LARGEST = 150_000
"""Bytes of a picture, at most."""
PATIENCE = 600
"""Seconds until something must be there."""


def main(folder: Path) -> None:
    """Run what is not there yet, then draw and photograph it."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    log = Path("run.txt")
    if not log.exists():
        done = subprocess.run([*AUGSEARCH, "run", "--study", STUDY], stdout=subprocess.PIPE, check=True)
        log.write_bytes(done.stdout)
    draw_terminal(log.read_text(encoding="utf-8"), PICTURES / "terminal.svg")
    with open_browser() as browser:
        browser.set_window_size(WIDE, HIGH)
        browser.get(Path(f"mlruns/{STUDY}/report.html").absolute().as_uri())
        photograph(browser, PICTURES / "report.png")
        with started("ui", STUDY, "--no-open") as lines:
            trials = re.findall(r"http://\S+", next(line for line in lines if "its trials" in line))[0]
            browser.set_window_size(1800, HIGH)
            browser.get(trials)
            wait_for(browser, "matching runs")
            photograph(browser, PICTURES / "mlflow.png")
            browser.set_window_size(WIDE, HIGH)
        subprocess.run([*AUGSEARCH, "inspect", "-o", "inspect.html"], stdout=subprocess.DEVNULL, check=True)
        browser.get(Path("inspect.html").absolute().as_uri())
        photograph(browser, PICTURES / "inspect.png")
        with (
            started("watch", LIVE, "--no-open") as lines,
            started("run", "--study", LIVE, *SHORT),
        ):
            browser.get(re.findall(r"http://\S+", next(lines))[0])
            wait_for(browser, r"\b([4-9]|1\d) of 18 trials have ended")
            browser.execute_script("document.querySelector('#race').scrollIntoView(); scrollBy(0, -60)")
            photograph(browser, PICTURES / "watch.png")


def draw_terminal(text: str, path: Path) -> None:
    """What a run wrote, up to its verdict, as an SVG that needs no font of another host."""
    told = text.partition("\ncost (")[0]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), legacy_windows=False)
    console.print(Text.from_ansi(f"$ augsearch run --study {STUDY}\n{told}"))
    drawn = console.export_svg(title="augsearch run", unique_id="terminal")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    path.write_text(re.sub(r"\s*\n\s*", "\n", drawn), encoding="utf-8")


@contextmanager
def started(*arguments: str) -> Iterator[Iterator[str]]:
    """A command at work, ended after the block; its lines as they come."""
    with subprocess.Popen(
        [*AUGSEARCH, *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            yield iter(process.stdout)
        finally:
            process.terminate()


def wait_for(browser: webdriver.Chrome, words: str) -> None:
    """Until the page has ``words``, a regular expression."""
    until = time.monotonic() + PATIENCE
    while not re.search(words, browser.execute_script("return document.body.innerText")):
        if time.monotonic() > until:
            raise SystemExit(f"{browser.current_url}: does not come to say {words!r}")
        time.sleep(0.2)


def photograph(browser: webdriver.Chrome, path: Path) -> None:
    """Keep what the window shows, in no more colours than keep it small."""
    time.sleep(1)  # what fades in
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    for colours in (256, 128, 64):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return
    raise SystemExit(f"{path}: larger than {LARGEST:,} bytes")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    main(Path(sys.argv[1]))
