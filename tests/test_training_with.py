"""The pages of docs/training-with: every example runs with the real package, where it is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from augsearch.policies import Mixing, Policy, PolicyFile, write_policy
from augsearch.policies.regions import Erasing, ResizedCrop
from augsearch.search.cli import main

PAGES = Path(__file__).parents[1] / "docs" / "training-with"
NEEDS = {
    "timm.md": ("timm",),
    "lightning.md": ("lightning",),
    "hugging-face.md": ("transformers", "datasets", "accelerate"),
    "keras.md": ("keras",),
    "kornia.md": ("kornia",),
    "fastai.md": ("fastai",),
    "ultralytics.md": ("ultralytics",),
}
"""The packages of a page, beside PyTorch's."""
EXPORTS = (
    "policy.timm.txt --format timm --approximate",
    "augment.py --format torchvision",
    "augment_batch.py --format kornia",
    "augment_layer.py --format keras",
)
"""What the pages say to export first."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)


EXAMPLES = [
    pytest.param(page.name, number, id=f"{page.stem}-{number}")
    for page in sorted(PAGES.glob("*.md"))
    for number in range(len(blocks(page.name, "python")))
]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``photos/train`` and ``photos/val``, and a policy file."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for label, grey in (("cats", 60), ("dogs", 190)):
            folder = tmp_path / "photos" / part / label
            folder.mkdir(parents=True)
            for index in range(count):
                noise = rng.integers(-50, 50, (70, 80, 3))
                cv2.imwrite(str(folder / f"{index}.jpg"), np.clip(grey + noise, 0, 255).astype(np.uint8))
    mixing = Mixing(kind="cutmix", alpha=1.0, probability=0.5)
    policy = Policy(num_ops=2, magnitude=9, crop=1.0, flip_horizontal=0.5, mixing=mixing)
    write_policy(PolicyFile(policy=policy), tmp_path / "policy.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_every_example_runs(page: str, number: int, photos: Path) -> None:
    missing = [name for name in NEEDS.get(page, ()) if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not here; make .venv/.trained-with")
    for line in EXPORTS:
        export(line)
    run_program(blocks(page, "python")[number], photos)


def export(line: str) -> None:
    output, *flags = line.split()
    done = CliRunner().invoke(main, ["export", "policy.json", "-o", output, *flags])
    assert done.exit_code == 0, done.stderr


def run_program(program: str, folder: Path) -> str:
    """What it prints."""
    environment = os.environ | {
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(folder),
    }
    # In a file, as workers of loaders want it.
    Path("example.py").write_text(program, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "example.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("policy", "used"),
    [
        (Policy.load("none"), ()),
        (Policy.load("trivialaugment"), ("RandAugment",)),
        (
            Policy(num_ops=0, resized_crop=ResizedCrop(), erasing=Erasing(probability=0.3)),
            ("scale=(0.08, 1.0)", "RandomErasing(p=0.3, mode=const"),
        ),
    ],
    ids=["none", "trivialaugment", "erasing"],
)
def test_timms_page_trains_without_mixing_and_erases(
    policy: Policy, used: tuple[str, ...], photos: Path
) -> None:
    write_policy(PolicyFile(policy=policy), photos / "policy.json")
    export(EXPORTS[0])
    said = run_program(blocks("timm.md", "python")[0] + "print(loader.dataset.transform)\n", photos)
    for part in used:
        assert part in said


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_every_command_of_a_page_runs(page: str, photos: Path) -> None:
    for block in blocks(page, "sh"):
        for command in block.strip().splitlines():
            name, *arguments = command.split()
            assert name == "augsearch"
            done = CliRunner().invoke(main, arguments)
            assert done.exit_code == 0, done.stderr


def test_every_page_is_listed() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in PAGES.glob("*.md")} - {"README.md"} == set(
        re.findall(r"\]\(([^/()]*)\)", index)
    )
