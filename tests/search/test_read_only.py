"""Places that may not be written: one line names them and says what to do, and reading needs no writing."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from augsearch.policies import Policy, PolicyFile, write_policy
from augsearch.policies.errors import ASK_OWNER, OWN_PLACE
from augsearch.search.options.faults import in_one_line
from augsearch.search.studies.study import open_storage
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.saved import save_model
from augsearch.trainers.models.spec import ModelSpec

PLAIN_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root without the right to go anywhere: its files' permissions hold for it as for their owner."""
ASKS = "import os, sys; sys.exit(os.access(sys.argv[1], os.W_OK))"
Augsearch = Callable[..., subprocess.CompletedProcess[str]]
Close = Callable[[Path], None]
MODEL = ModelSpec(
    name="tiny", classes=("a", "b"), channels=3, image_size=16, mean=(128.0,) * 3, std=(64.0,) * 3
)
RUN = """
run stripes.npz --study s --proxy-model tiny --epochs 1 --folds 1 --trials 7 --confirm-folds 2
--teacher none --engine inline --no-final
"""


@pytest.fixture(scope="session")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What a command begins with, so that permissions hold for it."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o500)
    for before in ((), PLAIN_ROOT):
        if before and shutil.which(before[0]) is None:
            continue
        if subprocess.run([*before, sys.executable, "-c", ASKS, str(closed)], check=False).returncode == 0:
            return before
    pytest.skip("everything may be written here; root needs setpriv (util-linux), to be without its rights")


@pytest.fixture
def closing() -> Iterator[Callable[[Path], None]]:
    """Closes files and folders to writing until the test's end."""
    closed: list[tuple[Path, int]] = []

    def close(place: Path) -> None:
        for path in (place, *place.rglob("*")) if place.is_dir() else (place,):
            closed.append((path, path.stat().st_mode))
            path.chmod(0o555 if path.is_dir() else 0o444)

    yield close
    for path, mode in closed:
        path.chmod(mode)


@pytest.fixture
def augsearch(plainly: tuple[str, ...]) -> Augsearch:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*plainly, sys.executable, "-m", "augsearch.search.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return call


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_run_and_its_kind_say_at_once_where_they_may_not_write(
    augsearch: Augsearch, stripes: str, workplace: Path, closing: Close
) -> None:
    closing(workplace)
    for words in (RUN, "train stripes.npz --policy flip-crop --model tiny", "compare stripes.npz"):
        line = one_line(augsearch(*shlex.split(words)))
        assert "mlruns: " in line
        assert line.endswith(OWN_PLACE)


def test_reading_makes_nothing(augsearch: Augsearch, workplace: Path, closing: Close) -> None:
    closing(workplace)
    listed = augsearch("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    for words in ("show s", "report s", "export s", "diff s flip-crop", "ablate s"):
        assert one_line(augsearch(*words.split())).endswith("there are: none yet; augsearch run makes one")
    assert not list(workplace.iterdir())


def test_a_study_that_may_only_be_read_is_read_and_written_elsewhere(
    augsearch: Augsearch, make_study: Callable[..., object], workplace: Path, closing: Close
) -> None:
    make_study()
    closing(workplace / "mlruns")
    for words in ("list", "show demo", "report demo", "export demo -o p.json"):
        done = augsearch(*words.split())
        assert done.returncode == 0, done.stderr
    assert Path("report.html").exists()
    assert Path("p.json").exists()
    line = one_line(augsearch("sync", "demo"))
    assert line.startswith("Error: mlruns/studies.db: can't be written (permission denied); give another")
    assert one_line(augsearch("clean", "--yes")).endswith(OWN_PLACE)


@pytest.mark.parametrize("part", ["mlruns/cache", "mlruns/confirmations", "mlruns/s", "mlruns/studies.db"])
def test_a_part_that_somebody_else_made_is_named_before_the_first_training(
    augsearch: Augsearch, part: str, stripes: str, workplace: Path, closing: Close
) -> None:
    if part.endswith(".db"):
        open_storage(f"sqlite:///{part}")
    else:
        Path(part).mkdir(parents=True)
    closing(workplace / part)
    done = augsearch(*shlex.split(RUN))
    line = one_line(done)
    assert line.startswith(f"Error: {part}: can't be written (permission denied); ")
    assert "trial" not in done.stdout


def test_what_may_not_be_read_is_told_so_and_not_as_broken(
    augsearch: Augsearch, stripes: str, workplace: Path
) -> None:
    write_policy(PolicyFile(policy=Policy()), "p.json")
    save_model(build_model(MODEL, seed=0), MODEL, workplace / "m.safetensors", {})
    Image.new("RGB", (16, 16)).save("photo.png")
    Path("closed").mkdir()
    for hidden in ("m.safetensors", "p.json", "closed"):
        Path(hidden).chmod(0)
    for words in (
        "predict m.safetensors photo.png",
        "run stripes.npz --final-model m.safetensors",
        "diff p.json flip-crop",
        "import p.json",
        "inspect closed",
    ):
        assert one_line(augsearch(*words.split())).endswith(f"permission denied); {ASK_OWNER}"), words
    Path("closed").chmod(0o700)


def test_a_class_folder_that_may_not_be_listed_is_named(
    augsearch: Augsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path)
    save_model(build_model(MODEL, seed=0), MODEL, tmp_path / "model.safetensors", {})
    closed = tmp_path / "photos" / "dog"
    closed.chmod(0)
    try:
        found = [one_line(augsearch(*command)) for command in (["inspect", "photos"], ["run", "photos"])]
        predicted = one_line(augsearch("predict", "model.safetensors", "photos"))
    finally:
        closed.chmod(0o700)
    assert set(found) == {f"Error: cannot list {closed}: Permission denied; {ASK_OWNER}"}
    assert predicted.startswith("Error: photos/dog: permission denied; ")
    assert ASK_OWNER in predicted


def test_a_database_that_may_only_be_read_is_no_passing_fault() -> None:
    said = in_one_line(sqlite3.OperationalError("attempt to write a readonly database"))
    assert said is not None
    assert said.endswith(OWN_PLACE)
