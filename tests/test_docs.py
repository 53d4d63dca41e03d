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

from augsearch.policies import OPERATIONS, read_policy
from augsearch.policies.describe import shown_range
from augsearch.search.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

QUICK = {
    "run": [
        *("--trials", "5", "--folds", "1", "--epochs", "1", "--confirm-folds", "2", "--final-epochs", "1"),
        *("--proxy-model", "tiny", "--final-model", "tiny", "--teacher", "tiny"),
    ],
    "compare": [
        *("--trials", "5", "--folds", "1", "--epochs", "1", "--confirm-folds", "2"),
        *("--proxy-model", "tiny", "--teacher", "tiny"),
    ],
    "train": ["--epochs", "1", "--model", "tiny"],
}
"""Added to the README's commands, so that they take seconds."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def make_photos(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for label, grey in (("cats", 60), ("dogs", 190)):
        (folder / label).mkdir(parents=True)
        for index in range(12):
            noise = rng.integers(-50, 50, (20, 24, 3))
            cv2.imwrite(str(folder / label / f"{index}.jpg"), np.clip(grey + noise, 0, 255).astype(np.uint8))


def test_the_readmes_commands_and_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photos(tmp_path / "photos", seed=0)
    make_photos(tmp_path / "more-photos", seed=1)
    make_photos(tmp_path / "field-photos", seed=2)
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("augsearch ")
    ]
    assert {command.split()[1] for command in commands} == set(main.list_commands(click.Context(main)))
    for command in commands:
        words, _, target = command.partition(" > ")
        arguments = shlex.split(words)[1:]
        full = [sys.executable, "-m", "augsearch.search.cli", *arguments, *QUICK.get(arguments[0], [])]
        if "--unlabeled" in arguments and arguments[0] == "run":
            full += ["--trials", "8"]  # each technique has a baseline
        if arguments[0] == "ui":
            with subprocess.Popen(
                full, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
                assert process.stdout is not None
                assert "http://127.0.0.1:" in process.stdout.readline()
                process.send_signal(signal.SIGTERM)
            continue
        done = subprocess.run(full, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if target:
            Path(target).write_text(done.stdout, encoding="utf-8")
    assert read_policy("policy.json")
    assert Path("sheet.png").exists()
    assert Path("operations.jpg").exists()
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_make_targets_in_the_readme_exist() -> None:
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


def test_no_command_is_left_out_of_the_readme() -> None:
    for name in main.list_commands(click.Context(main)):
        assert f"augsearch {name}" in README
    assert shutil.which("make")
