"""README and docs are true: their commands run, their examples work, their tables are the registry's."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import yaml

from augsearch.policies import OPERATIONS, Mixing, Policy, PolicyFile, read_policy, write_policy
from augsearch.policies.describe import shown_range
from augsearch.search.cli import main
from tests.pictures import make_photos

ROOT = Path(__file__).parents[1]
FOLDERS = ("policies", "trainers", "search")
PAGES = ("README.md", "docs/guide.md", "docs/in-your-code.md", "docs/how-it-searches.md")
"""A story, in this order: what a page's commands make, those of the next may use."""
STORY = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)

QUICK = {
    "run": [
        *("--trials", "7", "--folds", "1", "--epochs", "1", "--confirm-folds", "2", "--final-epochs", "1"),
        *("--teacher", "tiny", "--engine", "inline"),
    ],
    "compare": [
        *("--trials", "7", "--folds", "1", "--epochs", "1", "--confirm-folds", "2"),
        *("--proxy-model", "tiny", "--teacher", "tiny", "--engine", "inline"),
    ],
    "ablate": ["--folds", "2", "--engine", "inline"],
    "check-proxy": ["--candidates", "4", "--seeds", "1", "--folds", "1", "--engine", "inline"],
    "train": ["--epochs", "1", "--model", "tiny"],
}
"""Added to the pages' commands, so that they take seconds."""


EVERY_PAGE = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"))
    if page.name != "CHANGELOG.md"
)


def blocks(language: str, text: str = STORY) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def told_commands() -> list[str]:
    lines = "\n".join(blocks("sh")).splitlines()
    return [line for line in lines if line.startswith("augsearch ")]


def chains() -> list[list[str]]:
    """The pages' commands: the first is one after the other, the others need nothing that it made."""
    story, others = [], []
    commands = iter(told_commands())
    for command in commands:
        words = shlex.split(command)
        if words[1] not in ("run", "compare") or "--study" in words:
            story.append(command)
        else:
            others.append([command, next(commands)] if ">" in words else [command])
    return [story, *others]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of photos that the pages speak of, in the working directory."""
    for seed, name in enumerate(("photos", "more-photos", "field-photos")):
        make_photos(tmp_path / name, seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(command: str) -> None:
    words, _, target = command.partition(" > ")
    arguments = shlex.split(words)[1:]
    full = [sys.executable, "-m", "augsearch.search.cli", *arguments, *QUICK.get(arguments[0], [])]
    if arguments[0] == "run":
        tiny = ["--proxy-model", "tiny", "--final-model", "tiny"]
        full += ["--proxy-size", "32", "--final-size", "32"] if "--proxy" in arguments else tiny
    if "--unlabeled" in arguments and arguments[0] == "run":
        full += ["--trials", "10"]  # each technique has a baseline
    if arguments[0] in ("ui", "watch"):
        with subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            assert "http://127.0.0.1:" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
        return
    done = subprocess.run(full, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    if target:
        Path(target).write_text(done.stdout, encoding="utf-8")


def test_the_pages_name_every_command() -> None:
    named = {command.split()[1] for command in told_commands()}
    assert named == set(main.list_commands(click.Context(main)))


def named_commands(page: Path) -> list[str]:
    """Whatever a page writes as a command, in its lines too."""
    text = page.read_text(encoding="utf-8")
    lines = "\n".join(blocks(r"\w*", text)).replace("\\\n", " ").splitlines()
    spans = [" ".join(span.split()) for span in re.findall(r"`(augsearch [^`]*)`", text)]
    return [*(line for line in lines if re.match(r"(\w+=\S+ )*augsearch ", line)), *spans]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_on_a_page_is_one_with_such_options(page: Path) -> None:
    for told in named_commands(page):
        words = shlex.split(re.split(r" [>|#] ", told[told.index("augsearch ") :])[0])[1:]
        if words[0] in ("--help", "--version", "COMMAND"):
            continue
        command = main.get_command(click.Context(main), words[0])
        assert command is not None, told
        command.make_parser(click.Context(command, info_name=words[0])).parse_args(words[1:])


def test_the_quickstart_has_no_command_that_is_not_run_here() -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    lines = filter(None, "\n".join(blocks("sh", page)).splitlines())
    assert set(lines) <= set(told_commands())


@pytest.mark.parametrize("commands", chains()[1:], ids=lambda commands: commands[-1])
def test_the_other_runs_run(photos: Path, commands: list[str]) -> None:
    for command in commands:
        run_command(command)


def test_the_story_and_its_examples_run(photos: Path) -> None:
    for command in chains()[0]:
        run_command(command)
    assert read_policy("policy.json")
    assert Path("sheet.png").exists()
    assert Path("operations.jpg").exists()
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert named == {"run", "test"}
    assert named <= targets


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith("https://"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def operations_table() -> str:
    """The registry as a table in Markdown."""
    rows = [
        "| operation | kind | standard | wide | sets | what it does |",
        "|---|---|---|---|---|---|",
    ]
    for operation in OPERATIONS.values():
        standard, wide = shown_range(operation, "standard"), shown_range(operation, "wide")
        rows.append(
            f"| `{operation.name}` | {operation.kind} | {standard} | {wide if wide != standard else ''} "
            f"| {', '.join(operation.sets)} | {operation.summary} |"
        )
    return "\n".join(rows)


def test_the_documented_operations_are_the_registry() -> None:
    document = (ROOT / "docs" / "policy-format.md").read_text(encoding="utf-8")
    assert operations_table() in document, f"replace the table by:\n{operations_table()}"


def test_the_architecture_page_names_every_room_and_only_files_that_there_are() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for folder in FOLDERS for path in (ROOT / folder).glob("*/**/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in page} == set()
    for name in re.findall(r"`([\w/]+/\w+\.py)`", page):
        places = [ROOT / name, *(ROOT / folder / name for folder in FOLDERS)]
        assert any(place.is_file() for place in places), name


def test_the_page_of_commands_says_what_the_commands_say() -> None:
    done = run_python("docs/make_cli.py", "--check")
    assert done.returncode == 0, done.stderr


def run_python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """60 grey images of two classes, in an .npz file."""
    labels = np.arange(60) % 2
    pattern = np.stack(np.mgrid[:16, :16])[labels] % 4 * 60
    noise = np.random.default_rng(0).integers(0, 60, pattern.shape)
    np.savez(tmp_path / "stripes.npz", images=(pattern + noise).astype(np.uint8), labels=labels)
    return tmp_path / "stripes.npz"


def test_an_example_trains_under_a_policy_in_a_loop_of_its_own(stripes: Path, tmp_path: Path) -> None:
    mixing = Mixing(kind="cutmix", alpha=1.0)
    write_policy(PolicyFile(policy=Policy(num_ops=2, magnitude=9, mixing=mixing)), tmp_path / "policy.json")
    example = str(ROOT / "examples" / "own_training_loop.py")
    flags = ("--policy", "policy.json", "--epochs", "2", "--workers", "1")
    done = run_python(example, str(stripes), *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch 2: loss" in done.stdout
    assert "accuracy on 12 other images" in done.stdout


def test_an_example_augments_without_torch(tmp_path: Path) -> None:
    write_policy(PolicyFile(policy=Policy(num_ops=2, magnitude=9)), tmp_path / "policy.json")
    example, photo = ROOT / "examples" / "numpy_only.py", ROOT / "docs" / "operations.jpg"
    words = [str(example), str(photo), "--policy", "policy.json", "-o", "sheet.png"]
    # As where torch is not installed: importing it fails.
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"sys.argv = {words!r}; runpy.run_path({str(example)!r}, run_name='__main__')"
    )
    done = run_python("-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "batch: (4, 128, 128, 3) uint8" in done.stdout
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (512, 512, 3)


def test_every_example_is_run_by_a_test() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    for example in (ROOT / "examples").glob("*.py"):
        assert any(f'"{example.name}"' in text for text in texts), example


def test_pre_commit_can_run_its_hooks() -> None:
    valid = run_python("-m", "pre_commit", "validate-config")
    assert valid.returncode == 0, valid.stdout + valid.stderr
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0][
        "hooks"
    ]
    assert {"ruff-check", "ruff-format", "mypy", "architecture"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        program, *words = shlex.split(hook["entry"])
        assert program.startswith(".venv/bin/")
        assert shutil.which(Path(program).name, path=str(Path(sys.executable).parent)), program
        for word in words:
            assert not word.endswith(".py") or (ROOT / word).exists(), word
