"""Does it matter in whose form a policy is trained with? Our transform, and each exported form.

flower_photos at 64 px, 100 labels a class, a small network from scratch, RandAugment (2, 9) after flip +
crop. All rows of a seed have the same labels, fresh weights and order of images, and go through the same
loop; only what augments a batch is another. A form that can't say all of the policy is exported with
``--approximate``, as a user would, and the page says what it only comes near to. How much draws alone do
is seen in a row with our transform once more, under other seeds.

    make bench-exported BENCH_ARGS="--flowers flowers --markdown docs/results/exported.md"

Every result is written at once, and a later call with the same ``--output`` trains only what is missing. A
library that isn't installed is left out, and the page says so.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Policy, PolicyFile, UserError
from augsearch.policies.exchange.form import Written, forms, written
from augsearch.trainers import LabeledImages, Learner, Recipe, prepared, train
from augsearch.trainers.training.setup import TrainingSetup
from benchmarks.comparisons import Comparison, Outcome, Row, report, trained
from benchmarks.options import results_options
from benchmarks.progress import progress_on_stderr
from benchmarks.results import Page, ResultsFile, publish
from benchmarks.techniques import runs

OUTPUT = Path("docs/results/exported.json")
PACKAGES = ("augsearch", "keras", "kornia", "numpy", "opencv-python-headless", "timm", "torch", "torchvision")
POLICY = "flip-crop+randaugment(2,9)"
OURS, AGAIN, NONE = "augsearch", "augsearch, other draws", "no augmentation"
SIDE, LABELS, TESTED, EPOCHS, SEEDS = 64, 100, 150, 20, 3
ALBUMENTATIONS = Path(".venv") / "albumentations-2.0.8"
"""Where ``make .venv/albumentations-2.0.8`` puts it, which else would replace AlbumentationsX."""

Images = NDArray[np.uint8]
Change = Callable[[Images, int], Images]
"""``change(images, seed)``: a new batch (B, H, W, 3), RGB, drawn by the seed."""


class Job(runs.Job):
    """One training with one form of the policy."""

    form: str


@dataclass(frozen=True, eq=False)
class Augmented(LabeledImages):
    """Images that something else than the policy augments."""

    change: Change | None = None

    def views(self, chosen: NDArray[np.int64], policy: Policy, rng: np.random.Generator) -> Images:
        """The ``chosen`` images, changed; what the policy says is left to ``change``."""
        assert self.change is not None
        return self.change(self.images[chosen], int(rng.integers(2**31)))


def change_of(form: str, policy: Policy, folder: Path) -> tuple[Change, Written | None]:
    """How ``form`` augments, by a file of its own in ``folder``, and what was written.

    Raises:
        ImportError: its library isn't installed.
    """
    if form == OURS:
        return lambda images, seed: policy.batch_transform(seed)(images), None
    if form == AGAIN:
        return lambda images, seed: policy.batch_transform(2**31 + seed)(images), None
    if form == NONE:
        return lambda images, seed: images, None
    own = forms()[form]
    made = written(PolicyFile(policy=policy), own, approximate=True)
    path = folder / f"augment{own.suffix}"
    path.write_text(own.head(made.text, [f"For {form}."]), encoding="utf-8")
    return _CHANGES[form](path), made


def _by_torchvision(path: Path) -> Change:
    import torch
    from PIL import Image

    augment = _module(path).Augment()

    def change(images: Images, seed: int) -> Images:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return np.stack([np.asarray(augment(Image.fromarray(image))) for image in images])

    return change


def _by_albumentations(path: Path) -> Change:
    if ALBUMENTATIONS.is_dir() and str(ALBUMENTATIONS) not in sys.path:
        sys.path.insert(0, str(ALBUMENTATIONS))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    albumentations: Any = importlib.import_module("albumentations")
    transform = albumentations.load(path, data_format="json")

    def change(images: Images, seed: int) -> Images:
        transform.set_random_seed(seed)
        return np.stack([transform(image=image)["image"] for image in images])

    return change


def _by_timm(path: Path) -> Change:
    import random

    import torch
    from PIL import Image

    words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    flags: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            flags[word.removeprefix("--")] = []
        else:
            flags[[*flags][-1]].append(word)
    one = {name: float(flags[name][0]) for name in ("hflip", "vflip", "color-jitter")}
    timm_data: Any = importlib.import_module("timm.data")
    transform = timm_data.create_transform(
        SIDE,
        is_training=True,
        auto_augment=flags["aa"][0],
        hflip=one["hflip"],
        vflip=one["vflip"],
        color_jitter=one["color-jitter"],
        scale=tuple(map(float, flags["scale"])),
        ratio=tuple(map(float, flags["ratio"])),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )

    def change(images: Images, seed: int) -> Images:
        with torch.random.fork_rng():
            for seeded in (torch.manual_seed, random.seed, np.random.seed):
                seeded(seed)
            tensors = torch.stack([transform(Image.fromarray(image)) for image in images])
        return _array(tensors.permute(0, 2, 3, 1))

    return change


def _by_kornia(path: Path) -> Change:
    import torch

    augment = _module(path).Augment()

    def change(images: Images, seed: int) -> Images:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _array(augment(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))

    return change


def _by_keras(path: Path) -> Change:
    os.environ["KERAS_BACKEND"] = "torch"
    module = _module(path)

    def change(images: Images, seed: int) -> Images:
        return _array(module.Augment(seed=seed)(images, training=True) / 255)

    return change


_CHANGES: dict[str, Callable[[Path], Change]] = {
    "torchvision": _by_torchvision,
    "albumentations": _by_albumentations,
    "timm": _by_timm,
    "kornia": _by_kornia,
    "keras": _by_keras,
}


def _array(tensors: Any) -> Images:
    levels: Images = (tensors.detach() * 255).round().byte().cpu().numpy()
    return levels


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outcome_of(job: Job, data: runs.Data, change: Change) -> Outcome:
    """Train ``job``, whose batches ``change`` augments, and test it."""
    chosen = data.drawn(job)
    images, labels = data.images[chosen], data.labels[chosen]
    model, _ = prepared(runs.spec_of(job, images, data.classes), "none", job.seed)
    recipe = Recipe(epochs=job.epochs, precision=job.precision)
    learner = Learner.prepare(model, recipe, None, runs.CPU)
    learned = Augmented(images, labels, len(data.classes), change=change)
    setup = TrainingSetup(learned, job.policy, recipe, seed=job.seed, device=runs.CPU)
    return runs.outcome_of(learner, train(learner, setup), data, data.pools["test"])


def comparison_of(data: str, names: list[str], sizes: tuple[int, int, int], notes: str) -> Comparison[Job]:
    """A row for each of ``names``; ``sizes`` are epochs, labels of each class and seeds."""
    epochs, labels, seeds = sizes
    rows = []
    for name in names:
        jobs = tuple(
            Job(
                data=data,
                images_per_class=labels,
                network="small",
                epochs=epochs,
                precision="float32",
                policy=Policy.named(POLICY),
                seed=seed,
                form=name,
            )
            for seed in range(seeds)
        )
        rows.append(Row(name, jobs))
    title = f"One policy in several forms, {labels} labels a class, {epochs} epochs"
    return Comparison(title, tuple(rows), notes=notes)


def changes_and_notes(folder: Path) -> tuple[dict[str, Change], str]:
    """What augments, by form, and what isn't the same or isn't there."""
    found: dict[str, Change] = {}
    said = [f"The policy is `{POLICY}`."]
    for form in (OURS, AGAIN, *_CHANGES, NONE):
        try:
            found[form], made = change_of(form, Policy.named(POLICY), folder)
        except ImportError as error:
            said.append(f"{form} is not here: {error.name or error} can't be imported.")
            continue
        if made is not None and made.differences:
            said.append(f"{form} only comes near to: {', '.join(one.what for one in made.differences)}.")
    return found, " ".join(said)


@click.command()
@click.option(
    "--flowers",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of flower_photos with train/ and val/.",
)
@results_options(OUTPUT)
def main(flowers: Path, quick: bool, output: Path | None, markdown: Path | None) -> None:
    """Train with our transform, and with each exported form of the same policy."""
    import torch

    torch.set_num_threads(1)
    results = ResultsFile(output or (None if quick else OUTPUT), Job, Outcome)
    sizes = (1, 4, 2) if quick else (EPOCHS, LABELS, SEEDS)
    data = runs.read_data("flower_photos", flowers, SIDE, TESTED)
    with tempfile.TemporaryDirectory() as folder, progress_on_stderr() as progress:
        changes, notes = changes_and_notes(Path(folder))

        def result(job: Job) -> Outcome:
            if job.key not in results.known:
                outcome = outcome_of(job, data, changes[job.form])
                results.keep(job, outcome)
                accuracy = f"{100 * outcome.accuracy:.1f} %"
                progress(f"seed {job.seed}, {job.form}: {accuracy}, {outcome.seconds:.0f} s")
            known: Outcome = results.known[job.key]
            return known

        comparison = comparison_of(data.name, [*changes], sizes, notes)
        found = trained(comparison, result)
    page = Page(
        "benchmarks.exported",
        tuple(name for name in PACKAGES if importlib.util.find_spec(name.partition("-")[0]) or "-" in name),
        f"flower_photos at {SIDE} px",
    )
    publish(page, report(comparison, found), results, markdown)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise click.ClickException(str(error)) from None
