"""How fast does augsearch's loop train, beside the recipe that everybody writes?

The same network, images, batches, schedule and RandAugment (2, 9) in both. The recipe is torch's
``DataLoader`` with torchvision's v2 transforms, and each contestant runs at the setting (threads, workers,
form of the images) that is fastest here: all are tried, the best two meet in rounds, epoch by epoch in
turns, so that a noisy moment of the machine hits all alike. Some ten minutes on two cores, two with
``--quick``; let nothing else run beside it.

    make bench-training BENCH_ARGS="--quick --output page.md"
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from benchmarks import environment
from benchmarks.progress import Progress, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.tables import Table
    from benchmarks.training.parts import Parts
    from benchmarks.training.recipes import Contestant, Epoch, Family, Job, Precision, Setting

SIDE, CLASSES = 32, 10
"""The size and the classes of CIFAR-10."""
SCOUTED = 24
"""Batches of an epoch in which a setting is tried."""
FINALISTS = 2
"""Settings of each family that meet in the rounds: the scouts of two close ones are too short to choose."""
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "pillow", "torch", "torchvision")


@dataclass(frozen=True, eq=False)
class Result:
    """What was measured of a family at one setting, an epoch each round."""

    family: Family
    setting: Setting
    optimizers: str
    epochs: list[Epoch]

    @property
    def rate(self) -> float:
        """The median, in images per second."""
        return median(epoch.rate for epoch in self.epochs)


@click.command()
@click.option("--quick", is_flag=True, help="A short form: short epochs, few rounds.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--rounds", type=click.IntRange(1), help="The median of them counts.  [default: 9; quick: 3]")
@click.option("--network", help="A built-in one.  [default: small; on a GPU wide]")
@click.option("--batch", type=click.IntRange(2), help="Images in a batch.  [default: 64; on a GPU 512]")
@click.option("--images", type=click.IntRange(12), help="Images in an epoch; at least six batches.")
@click.option("--workers", type=click.IntRange(0), multiple=True, help="Only so many; may be repeated.")
@click.option("--threads", type=click.IntRange(1), multiple=True, help="torch's; may be repeated.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float32", "bfloat16"]),
    multiple=True,
    help="Only this; may be repeated.  [default: both; on a GPU bfloat16]",
)
@click.option(
    "--data",
    "photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the images from this folder instead of making them.",
)
@click.option("--parts", "parts_only", is_flag=True, help="Only where a step's time goes, on one CPU core.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write what is printed here too."
)
@click.option(
    "--json", "raw", type=click.Path(dir_okay=False, path_type=Path), help="Write raw figures here."
)
def main(**options: Any) -> None:
    """Measure augsearch's training against the plain recipe on this machine."""
    measure(Options(**options))


@dataclass(frozen=True)
class Options:
    """What the command was told."""

    quick: bool
    device: str
    rounds: int | None
    network: str | None
    batch: int | None
    images: int | None
    workers: tuple[int, ...]
    threads: tuple[int, ...]
    precisions: tuple[Precision, ...]
    photos: Path | None
    parts_only: bool
    output: Path | None
    raw: Path | None


def measure(options: Options) -> None:
    """Let all contestants compete, and publish what was found.

    Raises:
        click.UsageError: the epoch would be too short.
    """
    from benchmarks.training.parts import measure_parts

    quick, on_gpu = options.quick, options.device == "cuda"
    if on_gpu and options.parts_only:
        raise click.UsageError("--parts is of a CPU; leave --device cuda out")
    batch = options.batch or (512 if on_gpu else 64)
    batches = (24 if quick else 48) if on_gpu else (24 if quick else 78)
    images = options.images or batch * batches
    if images < 6 * batch:
        raise click.UsageError(f"--images must be at least six batches of {batch}, got {images}")
    workers = options.workers or worker_counts(on_gpu)
    threads = options.threads or tuple(sorted({1, cores()}))
    precisions = options.precisions or (("bfloat16",) if on_gpu else ("float32", "bfloat16"))
    network = options.network or ("wide" if on_gpu else "small")
    facts = environment.facts(sys.argv[1:], options.photos, "benchmarks.training", PACKAGES)
    with progress_on_stderr() as progress:
        job = make_job(network, images, batch, options.photos, options.device)
        rounds = Rounds(options.rounds or (3 if quick else 9), 1 if quick else 3)
        results: list[Result] = []
        if not options.parts_only:
            results = compete(job, families(precisions), threads, workers, rounds, progress)
        parts = [] if on_gpu else measure_parts(job, precisions, rounds.finals, progress)
    publish(Found(job, results, parts), facts, options.output, options.raw)


@dataclass(frozen=True, eq=False)
class Found:
    """All that was measured."""

    job: Job
    results: Sequence[Result]
    """The fastest of each family; none where only the parts were asked for."""
    parts: Sequence[Parts]
    """Where a step's time goes; nothing on a GPU."""


@dataclass(frozen=True)
class Rounds:
    """How often is timed."""

    finals: int
    """Epochs of each finalist; their median counts."""
    scouts: int
    """Short epochs of each setting, to choose the finalists."""


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_counts(on_gpu: bool) -> tuple[int, ...]:
    """Numbers worth trying: up to the cores; beside a GPU powers of two, and some at least."""
    if not on_gpu:
        return tuple(range(cores() + 1)) if cores() <= 4 else (0, 1, cores() // 2, cores())
    return tuple(sorted({2**power for power in range(cores().bit_length())} | {cores()}))


def make_job(network: str, count: int, batch: int, photos: Path | None, device: str) -> Job:
    """The same network, images and labels for all; labels cost the same whatever they say.

    Raises:
        click.ClickException: there is no GPU that torch can use.
    """
    import numpy as np
    import torch

    from augsearch.trainers import ModelSpec
    from augsearch.trainers.models.build import channel_statistics
    from benchmarks import images
    from benchmarks.training.recipes import Job

    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("torch finds no CUDA device; without --device cuda the CPU is measured")
    arrays = np.stack(images.photos(photos, SIDE, count) if photos else images.smooth_images(SIDE, count))
    mean, std = channel_statistics(arrays)
    classes = tuple(str(number) for number in range(CLASSES))
    return Job(
        images=arrays,
        labels=np.arange(count, dtype=np.int64) % CLASSES,
        spec=ModelSpec(name=network, channels=3, image_size=SIDE, classes=classes, mean=mean, std=std),
        batch_size=batch,
        epochs=1,
        device=torch.device(device),
    )


def families(precisions: Sequence[Precision]) -> list[Family]:
    """The recipe with our optimizers and, in the first precision, with SGD; and ours."""
    from benchmarks.training.recipes import Family

    plain = [Family(ours=False, precision=precision) for precision in precisions]
    plain.insert(1, Family(ours=False, precision=precisions[0], optimizers="SGD"))
    return [*plain, *(Family(ours=True, precision=precision) for precision in precisions)]


def compete(
    job: Job,
    families: Sequence[Family],
    threads: Sequence[int],
    workers: Sequence[int],
    rounds: Rounds,
    progress: Progress,
) -> list[Result]:
    """The best result of each family: all settings are tried alone, the best of them in turns."""
    from benchmarks.training.recipes import Contestant, settings

    tried = {family: settings(family, job.device, threads, workers) for family in families}
    final = replace(job, epochs=rounds.finals + 1)
    finalists = [
        Contestant(final, family, setting)
        for family, rates in scouted(job, tried, rounds.scouts, progress).items()
        for setting in sorted(rates, key=lambda setting: -rates[setting])[:FINALISTS]
    ]
    return best_of_each(in_turns(finalists, rounds.finals, progress))


def scouted(
    job: Job, tried: Mapping[Family, Sequence[Setting]], scouts: int, progress: Progress
) -> dict[Family, dict[Setting, float]]:
    """The highest rate of each setting in so many visits, which lie far apart, with a short epoch each.

    The highest, because a noisy moment can only slow a setting down, and must not put it out of the race.
    """
    from benchmarks.training.recipes import Contestant

    count = min(len(job.labels), SCOUTED * job.batch_size)
    short = replace(job, images=job.images[:count], labels=job.labels[:count], epochs=2)
    rates = {family: dict.fromkeys(settings, 0.0) for family, settings in tried.items()}
    for number in range(scouts):
        for family, settings in tried.items():
            for setting in settings:
                contestant = Contestant(short, family, setting)
                contestant.rate()  # warms up, and starts the workers
                rate = contestant.rate()
                whose = "augsearch" if family.ours else f"plain recipe, {family.optimizers} optimizer"
                progress(
                    f"scout {number + 1} of {scouts}: {whose}, {family.precision}, {setting}: {rate:,.0f}/s"
                )
                rates[family][setting] = max(rates[family][setting], rate)
    return rates


def in_turns(contestants: Sequence[Contestant], rounds: int, progress: Progress) -> list[Result]:
    """An epoch of each in each round, after one to warm up; every round begins with another one."""
    epochs: list[list[Epoch]] = [[] for _ in contestants]
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "warm-up")
        for index in range(len(contestants)):
            turn = (index + number) % len(contestants)
            epoch = contestants[turn].epoch()
            if number:
                epochs[turn].append(epoch)
    return [
        Result(
            one.family,
            one.setting,
            " + ".join(type(each).__name__ for each in one.training.optimizers),
            found,
        )
        for one, found in zip(contestants, epochs, strict=True)
    ]


def best_of_each(results: Sequence[Result]) -> list[Result]:
    """The fastest of each family."""
    return [
        max((one for one in results if one.family == family), key=lambda one: one.rate)
        for family in dict.fromkeys(one.family for one in results)
    ]


def tables(job: Job, results: Sequence[Result]) -> list[Table]:
    """What each does, and how many times the other's that is."""
    from benchmarks.tables import Table, rounded

    def spread(values: Sequence[float]) -> str:
        return f"{rounded(median(values))} ± {50 * (max(values) - min(values)) / median(values):.0f} %"

    rows = []
    for one in results:
        waiting = [epoch.waiting for epoch in one.epochs if epoch.waiting is not None]
        rows.append(
            (
                f"**{_name(one)}**" if one.family.ours else _name(one),
                str(one.setting),
                spread([epoch.rate for epoch in one.epochs]),
                spread([epoch.rate_of_steps for epoch in one.epochs]),
                _percent(median(1 - epoch.rate / epoch.rate_of_steps for epoch in one.epochs)),
                _percent(median(epoch.outside for epoch in one.epochs)),
                _percent(median(waiting)) if waiting else "",
            )
        )
    ours, plain = ([one for one in results if one.family.ours is whose] for whose in (True, False))
    return [
        Table(
            f"Epochs of the {job.spec.name} network, {job.spec.image_size} px, batches of {job.batch_size}",
            (
                *("training", "fastest setting", "images per second", "steps alone"),
                *("slower than steps alone", "outside", "waiting, by the loop"),
            ),
            rows,
            words=2,
            notes=f"Medians of {len(results[0].epochs)} rounds ± half of their range; whole epochs of "
            f"{job.trained:,} images, RandAugment (2, 9), one cycle, label smoothing. *Steps "
            "alone*: the same training with batches that lie ready. *Outside*: the share of an epoch between "
            "an optimizer's step and the next forward pass, seen by hooks from outside"
            + (" (of the host's time; the GPU may be busy)." if job.device.type == "cuda" else "."),
        ),
        Table(
            "How many times as fast",
            ("beside", *(f"**{_name(one)}**" for one in ours)),
            [(_name(rival), *(times(one, rival) for one in ours)) for rival in plain],
            notes="Median of the rounds' ratios (lowest to highest).",
        ),
    ]


def times(one: Result, other: Result) -> str:
    """How many times as fast ``one`` is, round by round."""
    ratios = [mine.rate / theirs.rate for mine, theirs in zip(one.epochs, other.epochs, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def publish(found: Found, facts: dict[str, Any], output: Path | None, raw: Path | None) -> None:
    """Print the page, and write the files that are asked for."""
    import torch

    from benchmarks.training.parts import parts_table

    job = found.job
    shown = [
        *(tables(job, found.results) if found.results else ()),
        *([parts_table(found.parts)] if found.parts else ()),
    ]
    where = torch.cuda.get_device_name(job.device) if job.device.type == "cuda" else f"{cores()} cores"
    page = [
        environment.markdown(facts | {"processor": f"{facts['processor']} ({where})"}),
        f"Load average when it began: {facts['load average'][0]}.",
        *(table.markdown() for table in shown),
    ]
    text = "\n\n".join(page) + "\n"
    click.echo(text)
    if output:
        output.write_text(text, encoding="utf-8")
    if raw:
        raw.write_text(json.dumps(facts | as_json(found), indent=1) + "\n", encoding="utf-8")


def as_json(found: Found) -> dict[str, Any]:
    """Raw figures."""
    job = found.job
    return {
        "network": job.spec.name,
        "batch": job.batch_size,
        "steps": job.steps,
        "device": str(job.device),
        "trainings": [
            asdict(one.family) | asdict(one.setting) | {"epochs": [asdict(epoch) for epoch in one.epochs]}
            for one in found.results
        ],
        "parts": [asdict(one) for one in found.parts],
    }


def _name(result: Result) -> str:
    who = "augsearch" if result.family.ours else "plain recipe"
    return f"{who}, {result.optimizers}, {result.family.precision}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
