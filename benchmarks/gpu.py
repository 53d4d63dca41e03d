"""Everything that this project would know of a GPU, in less than ten minutes: is it right, then how fast.

The tests that need a GPU, among them that both paths of augmentation, torch's own operations and Triton's
kernels, give the same pixels, and that trainings and predictions come near to a CPU's; then a whole search
on it, then both paths beside kornia and torchvision, with the share of a training step that each takes, then
the training loop beside the recipe that everybody writes. What does not end in its time is left out and said;
the exit status is 1 where anything was.

    make bench-gpu BENCH_ARGS="--output page.md"
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import environment

ROOT = Path(__file__).parents[1]
PACKAGES = ("augsearch", "kornia", "numpy", "torch", "torchvision")


@dataclass(frozen=True)
class Part:
    """A command, and how long it may take."""

    title: str
    module: str
    arguments: tuple[str, ...]
    seconds: int
    elsewhere: bool = False
    """Whether it works in a folder that is thrown away."""


PARTS = (
    Part(
        "The tests that need a GPU",
        "pytest",
        (
            "-q",
            "-n",
            "0",
            "-rs",
            "-k",
            "a_gpu",
            "tests/policies/test_tensor.py",
            "tests/policies/test_mixing.py",
            "tests/policies/test_triton.py",
            "tests/trainers/test_on_a_gpu.py",
        ),
        seconds=105,
    ),
    Part(
        "A whole search, within two minutes",
        "augsearch.search.cli",
        ("run", "--device", "cuda", "--budget", "2m", "--study", "gpu"),
        seconds=200,
        elsewhere=True,
    ),
    Part("Augmentation", "benchmarks.throughput", ("--device", "cuda", "--quick"), seconds=120),
    Part("Training", "benchmarks.training", ("--device", "cuda", "--quick"), seconds=170),
)
"""Right first, then quick."""


@click.command()
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write what is printed here too."
)
def main(output: Path | None) -> None:
    """Measure all of it on the first GPU of this machine."""
    import torch

    if not torch.cuda.is_available():
        raise click.ClickException("torch finds no GPU here; nvidia-smi says whether the driver sees one")
    facts = environment.facts(sys.argv[1:], None, "benchmarks.gpu", PACKAGES)
    facts["processor"] = f"{torch.cuda.get_device_name()}, {facts['processor']}"
    texts, failed = [environment.markdown(facts)], []
    for part in PARTS:
        click.echo(f"{part.title}, {part.seconds} s at most", err=True)
        text, done = run(part)
        texts.append(text)
        failed += [] if done else [part.title]
    page = "\n\n".join(texts) + "\n"
    click.echo(page)
    if output is not None:
        output.write_text(page, encoding="utf-8")
    if failed:
        raise click.ClickException(f"not done: {'; '.join(failed)}")


def run(part: Part) -> tuple[str, bool]:
    """What a part printed, under its title, and whether it did its work in its time."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            ended = subprocess.run(
                [sys.executable, "-m", part.module, *part.arguments],
                cwd=folder if part.elsewhere else ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=part.seconds,
                check=False,
            )
            said, done = ended.stdout, ended.returncode == 0
            how = f"ended with status {ended.returncode} after {time.monotonic() - began:.0f} s"
        except subprocess.TimeoutExpired as expired:
            said = (expired.stdout or b"").decode("utf-8", "replace") if expired.stdout else ""
            done, how = False, f"was ended after {part.seconds} s"
    text = said.strip() if part.module.startswith("benchmarks") else f"```\n{said.strip()}\n```"
    return f"## {part.title}\n\n{text}\n\n`{part.module}` {how}.", done


if __name__ == "__main__":
    main()
