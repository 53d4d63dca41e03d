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
