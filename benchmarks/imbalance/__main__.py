"""Does it help rare classes to balance them? Macro-F1 of each ``--class-balance``.

A pretrained network is fine-tuned on class folders of unequal size, as they are, once for each way and seed.

    make bench-imbalance BENCH_ARGS="--images caltech101 --workers 2 --work imbalance"

Every result is written at once, and a later call with the same ``--output`` trains only what is missing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from augsearch.policies import UserError
from benchmarks.options import pool_options, results_options

OUTPUT = Path("docs/results/imbalance.json")
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "torch")


@click.command()
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of photos in class folders.",
)
@pool_options
@click.option("--seeds", type=click.IntRange(2), help="Trainings of each way.  [default: 3; quick: 2]")
@results_options(OUTPUT)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-imbalance",
    help="Keep images and unfinished trainings here between calls.  [default: a temporary folder]",
)
def main(**options: Any) -> None:
    """Measure what balancing the classes of these images comes to."""
    measure(Options(**options))


@dataclass(frozen=True)
class Options:
    """What the command was told."""

    images: Path
    workers: int
    minutes: float | None
    seeds: int | None
    quick: bool
    output: Path | None
    markdown: Path | None
    work: Path


def measure(options: Options) -> None:
    """Train what is missing, and publish the table."""
    import torch

    from benchmarks.finals import Place
    from benchmarks.imbalance.plans import Job, comparison, sizes_of
    from benchmarks.imbalance.runs import Outcome, describe, divided, train_job
    from benchmarks.imbalance.tables import EXPLAINED, table
    from benchmarks.results import Page, ResultsFile, publish
    from benchmarks.workers import train_missing

    torch.set_num_threads(1)
    results = ResultsFile(options.output or (None if options.quick else OUTPUT), Job, Outcome)
    sizes = sizes_of(options.quick, options.seeds)
    place = Place(str(options.images.resolve()), options.work.resolve())
    try:
        data = place.images(sizes.side)
        parts_in_words = divided(place, sizes.side)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    compared = comparison(f"{options.images.name} {data.fingerprint[:12]}", sizes)
    rounds = list(zip(*(row.jobs for row in compared.rows), strict=True))
    train_missing(
        [job for jobs in rounds for job in jobs],
        train_job,
        describe,
        {rounds[0][0].data: place},
        results,
        workers=options.workers,
        minutes=options.minutes,
    )
    whole = [jobs for jobs in rounds if all(job.key in results.known for job in jobs)]
    if not whole:
        raise click.ClickException("not one seed has all its trainings yet; the same command goes on")
    by_row = zip(compared.rows, zip(*whole, strict=True), strict=True)
    found = {row.name: [results.known[job.key] for job in jobs] for row, jobs in by_row}
    page = Page("benchmarks.imbalance", PACKAGES, options.images.name, EXPLAINED)
    publish(page, [table(compared, found, parts_in_words)], results, options.markdown)


if __name__ == "__main__":
    main()
