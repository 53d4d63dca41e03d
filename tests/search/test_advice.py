"""What an error advises is followed, and works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from augsearch.policies import Policy, PolicyFile, write_policy
from augsearch.search.cli import main


def augsearch(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(*arguments: str) -> str:
    """The one line that a command ends with."""
    done = augsearch(*arguments)
    assert done.exit_code == 2, done.output
    return done.stderr.strip().splitlines()[-1]


WRITING = {
    "preview": ("preview", "p.json", "stripes.npz", "-o", "sheet.png"),
    "operations": ("operations", "--sheet", "sheet.png"),
    "report": ("report", "demo", "-o", "page.html"),
    "inspect": ("inspect", "stripes.npz", "-o", "page.html"),
    "export": ("export", "p.json", "-o", "out.json"),
    "export --format": ("export", "p.json", "--format", "torchvision", "-o", "out.py"),
    "import": ("import", "given.py", "-o", "out.json"),
    "init": ("init", "out.toml"),
}
"""Commands that write a file, which is the last word."""


@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_a_place_that_can_not_be_written_is_named_and_another_can_be(
    arguments: tuple[str, ...], stripes: str, make_study: Callable[..., object]
) -> None:
    write_policy(PolicyFile(policy=Policy(num_ops=2, magnitude=9)), "p.json")
    if "demo" in arguments:
        make_study()
    if "given.py" in arguments:
        assert augsearch("export", "p.json", "--format", "torchvision", "-o", "given.py").exit_code == 0
    *words, file = arguments
    inside = f"p.json/{file}"  # no folder, so nothing can be written in it
    line = refused(*words, inside)
    assert line.startswith(f"Error: {inside}: can't be written (")
    assert re.search(r"give another (--output|name)$", line)
    assert augsearch(*arguments).exit_code == 0
    assert Path(file).stat().st_size > 0


def test_a_picture_of_no_known_kind_is_told_to_be_a_png(stripes: str) -> None:
    write_policy(PolicyFile(policy=Policy()), "p.json")
    assert refused("preview", "p.json", stripes, "-o", "s.xyz").endswith("give a .png file")
    assert augsearch("preview", "p.json", stripes, "-o", "s.png").exit_code == 0


def test_a_study_or_trial_that_is_not_there_is_told_with_those_that_are(
    make_study: Callable[..., object],
) -> None:
    assert refused("show", "demo").endswith("there are: none yet; augsearch run makes one")
    make_study(trials=6)
    assert refused("show", "dem").endswith("there are: demo")
    line = refused("export", "demo", "--trial", "99")
    assert line.endswith("has no trial 99 with results; it has 0, 1, 2, 3, 4, 5")
    assert augsearch("show", "demo").exit_code == 0
    assert augsearch("export", "demo", "--trial", "5").exit_code == 0


def test_a_ready_policy_with_a_typo_is_guessed_and_the_guess_is_one(stripes: str) -> None:
    guess = re.search(r"did you mean (\S+) or (\S+)\?", refused("preview", "trivialaugmnt", stripes))
    assert guess is not None
    for name in guess.groups():
        assert augsearch("preview", name, stripes).exit_code == 0


def test_what_nobody_can_confirm_is_done_with_yes(make_study: Callable[..., object], stripes: str) -> None:
    assert augsearch("preview", "flip-crop", stripes).exit_code == 0  # its images are kept, of no study
    line = refused("clean")
    assert line.endswith("--yes does it without asking")
    assert augsearch("clean", "--yes").exit_code == 0
    assert "nothing in mlruns can go" in augsearch("clean").output
