"""What is published: an sdist and a wheel with everything, which install and run away from the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TINY = (
    *(
        "--trials",
        "7",
        "--folds",
        "1",
        "--epochs",
        "1",
        "--fold-size",
        "40",
        "--confirm-folds",
        "2",
        "--no-final",
    ),
    *("--proxy-model", "tiny", "--teacher", "none", "--engine", "inline", "--limit", "200"),
)


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel from the sdist, and the one from the tree."""
    # A copy, as setuptools leaves in a tree what it built there, and packs it again when its source is gone.
    tree = tmp_path_factory.mktemp("tree")
    for name in run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    folders = {"from the sdist": (), "from the tree": ("--wheel",)}
    wheels = {}
    for name, flags in folders.items():
        folder = tmp_path_factory.mktemp("dist")
        build = (sys.executable, "-m", "uv", "build", "--quiet", "--offline", "--no-build-isolation")
        run(*build, "--python", sys.executable, *flags, "--out-dir", folder, tree, cwd=folder)
        (wheels[name],) = folder.glob("*.whl")
    return wheels


def contents(wheel: Path) -> dict[str, int]:
    """The files of a wheel, and a checksum of each."""
    with zipfile.ZipFile(wheel) as opened:
        return {one.filename: one.CRC for one in opened.infolist()}


def test_the_sdist_builds_the_same_wheel_as_the_tree(built: dict[str, Path]) -> None:
    assert contents(built["from the sdist"]) == contents(built["from the tree"])


def test_the_wheel_has_every_file_of_the_source(built: dict[str, Path]) -> None:
    packed = contents(built["from the sdist"])
    listed = run("git", "ls-files", "policies", "trainers", "search", cwd=ROOT).splitlines()
    assert [name for name in listed if f"augsearch/{name}" not in packed] == []
    assert {name.split("/")[0] for name in packed} == {"augsearch", "augsearch-0.1.0.dist-info"}


def test_the_wheel_runs_in_an_environment_of_its_own(built: dict[str, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", where, cwd=tmp_path).strip())
    # Its dependencies are seen where they are installed already. A folder that a .pth names is not asked for
    # .pth files in turn, so the tree that is being worked on, to which one there leads, is not seen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    install = ("uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python)
    run(sys.executable, "-m", *install, built["from the sdist"], cwd=tmp_path)
    file = run(python, "-c", "import augsearch.policies as p; print(p.__file__)", cwd=tmp_path)
    assert file.startswith(str(site))
    command = [str(scripts / "augsearch"), "run", "--study", "demo", *TINY]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as begun:
        assert begun.stdout is not None
        told = []
        for line in begun.stdout:
            told.append(line)
            if line.startswith("trial   0"):
                break
        begun.terminate()
    assert "fashion-mnist-small" in told[0]
    assert told[-1].startswith("trial   0"), "".join(told)


def test_what_is_to_be_cited_is_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
