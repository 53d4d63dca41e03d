"""What the site's own pages show and tell is true; ``make docs`` finds their broken links."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.test_docs import ROOT, STORY


def test_the_drawings_are_what_their_program_draws() -> None:
    command = [sys.executable, "docs/make_drawings.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_quickstart_tells_commands_that_the_tests_of_the_story_run() -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) > 5
    assert set(commands) <= set(STORY.splitlines())


def test_every_picture_is_shown_and_small() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    pictures = [path for folder in ("pictures", "drawings") for path in (ROOT / "docs" / folder).iterdir()]
    assert len(pictures) > 5
    for picture in pictures:
        assert f"({picture.parent.name}/{picture.name})" in pages
        assert picture.stat().st_size < 150_000
        drawn = picture.read_text(encoding="utf-8") if picture.suffix == ".svg" else ""
        assert not re.search(r"(url\(|href=|src=)[\"']?https?:", drawn), "loads from another host"
