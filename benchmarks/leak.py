"""Whether the test score of grouped data agrees with fresh images, where every image has eight edited copies.

``make bench-leak BENCH_ARGS="--cifar DIR"``, DIR/train of class folders: 60 images a class, each saved eight
times with another brightness, contrast, noise and JPEG quality; a final training on them with ``--group-by
near-duplicates`` (``--plain``: one without as well); then other images, edited likewise, each once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from augsearch.trainers import Classifier
from benchmarks.tables import Table

ORIGINALS, COPIES, FRESH = 60, 8, 200
"""Of each class: images to learn from and test on, edited copies of each of them, other images."""


class Score(NamedTuple):
    """A model's accuracy in % on its own test part and on fresh images, and how many those are."""

    test: float
    fresh: float
    images: int


def edited(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """A JPEG of ``image`` (H, W, 3): ± 20 % of brightness, ± 15 % of contrast, noise of 5 grey levels."""
    values = image * rng.uniform(0.8, 1.2)
    values = values.mean() + (values - values.mean()) * rng.uniform(0.85, 1.15)
    noisy = np.clip(np.rint(values + rng.normal(0, 5, image.shape)), 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
    return cv2.imencode(".jpg", noisy, quality)[1].tobytes()


def plant(cifar: Path, folder: Path, seed: int) -> None:
    """Write ``folder``/data and ``folder``/fresh, of class folders; no name says what is whose copy."""
    rng = np.random.default_rng(seed)
    for classed in sorted(one for one in (cifar / "train").iterdir() if one.is_dir()):
        files = sorted(file for file in classed.iterdir() if file.suffix in (".jpg", ".png"))
        chosen = rng.choice(len(files), ORIGINALS + FRESH, replace=False)
        for place, index in enumerate(chosen):
            image = np.asarray(cv2.imread(str(files[index])), np.uint8)
            part, copies = ("data", COPIES) if place < ORIGINALS else ("fresh", 1)
            target = folder / part / classed.name
            target.mkdir(parents=True, exist_ok=True)
            for _ in range(copies):
                (target / f"{rng.bytes(8).hex()}.jpg").write_bytes(edited(image, rng))


def score(folder: Path, seed: int, epochs: int, *, grouped: bool) -> Score:
    """Train on ``folder``/data, and predict ``folder``/fresh."""
    output = folder / ("grouped" if grouped else "plain")
    words = ["train", str(folder / "data"), "--policy", "flip-crop", "--final-model", "small", "--json"]
    words += ["--final-epochs", str(epochs), "--seed", str(seed), "--output", str(output)]
    words += ["--group-by", "near-duplicates"] if grouped else []
    program = "from augsearch.search.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr.strip().splitlines()[-1])
    files = sorted((folder / "fresh").glob("*/*.jpg"))
    found = Classifier.load(output / "model.safetensors").predict(files)
    right = [one.label == file.parent.name for one, file in zip(found, files, strict=True)]
    test: float = json.loads(done.stdout)["figures"]["test_accuracy"]
    return Score(100 * test, 100 * float(np.mean(right)), len(files))


def table(scores: Sequence[Score], title: str) -> Table:
    """A row for each draw, then the mean and the deviation between draws."""
    differences = np.array([one.test - one.fresh for one in scores])
    rows: list[tuple[str, ...]] = [
        (str(number), f"{one.test:.1f}", f"{one.fresh:.1f}", f"{one.test - one.fresh:+.1f}")
        for number, one in enumerate(scores, 1)
    ]
    spread = f" ± {differences.std(ddof=1):.1f}" if len(scores) > 1 else ""
    means = [f"{np.mean([one[place] for one in scores]):.1f}" for place in (0, 1)]
    rows.append(("mean ± sd", *means, f"{differences.mean():+.1f}{spread}"))
    fresh = f"on {scores[0].images:,} fresh images, %"
    return Table(title, ("draw", "on its own test part, %", fresh, "difference"), rows)


@click.command()
@click.option("--cifar", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True, help="Of originals.")
@click.option("--epochs", type=click.IntRange(1), default=12, show_default=True)
@click.option("--plain", is_flag=True, help="Train without groups as well.")
def main(cifar: Path, draws: int, epochs: int, *, plain: bool) -> None:
    """Print the scores of each draw of originals, and how far they are from fresh images."""
    found: dict[bool, list[Score]] = {True: [], False: []}
    for seed in range(1, draws + 1):
        with tempfile.TemporaryDirectory() as name:
            plant(cifar, Path(name), seed)
            for grouped in (True, False) if plain else (True,):
                found[grouped].append(score(Path(name), seed, epochs, grouped=grouped))
    for grouped, title in ((True, "with --group-by near-duplicates"), (False, "as it is")):
        if found[grouped]:
            click.echo(table(found[grouped], title).markdown() + "\n")


if __name__ == "__main__":
    main()
