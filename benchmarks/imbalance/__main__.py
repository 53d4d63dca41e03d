"""Does it help rare classes to balance them? Macro-F1 of each ``--class-balance``.

A pretrained network is fine-tuned on class folders of unequal size, as they are, once for each way and seed.

    make bench-imbalance BENCH_ARGS="--images caltech101 --workers 2 --work imbalance"

Every result is written at once, and a later call with the same ``--output`` trains only what is missing.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from augsearch.policies import UserError
from benchmarks.options import pool_options, results_options
from benchmarks.progress import progress_on_stderr

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
def main(
    images: Path,
    workers: int,
    minutes: float | None,
    seeds: int | None,
    quick: bool,
    output: Path | None,
    markdown: Path | None,
    work: Path,
) -> None:
    """Measure what balancing the classes of these images comes to."""
    import numpy as np
    import torch

    from benchmarks.finals import Place
    from benchmarks.imbalance.plans import Job, comparison, sizes_of
    from benchmarks.imbalance.runs import Outcome, describe, parts, train_job
    from benchmarks.imbalance.tables import EXPLAINED, table
    from benchmarks.results import Page, ResultsFile, publish
    from benchmarks.workers import WorkerPool, worker_processes

    torch.set_num_threads(1)
    results = ResultsFile(output or (None if quick else OUTPUT), Job, Outcome)
    sizes = sizes_of(quick, seeds)
    deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    place = Place(str(images.resolve()), work.resolve())
    try:
        data = place.images(sizes.side)
        splits = parts(place, sizes.side)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    compared = comparison(f"{images.name} {data.fingerprint[:12]}", sizes)
    rounds = list(zip(*(row.jobs for row in compared.rows), strict=True))
    with progress_on_stderr() as progress:
        pool = WorkerPool(
            train_job,
            describe,
            {rounds[0][0].data: place},
            results.known,
            results.keep,
            progress,
            deadline,
            workers=workers,
        )
        try:
            with worker_processes(workers) as pool.executor:
                pool.train([job for jobs in rounds for job in jobs])
        except KeyboardInterrupt:
            progress("stopped; the table is of what is known")
    whole = [jobs for jobs in rounds if all(job.key in results.known for job in jobs)]
    if not whole:
        raise click.ClickException("not one seed has all its trainings yet; the same command goes on")
    names = [row.name for row in compared.rows]
    by_row = zip(names, zip(*whole, strict=True), strict=True)
    found = {name: [results.known[job.key] for job in jobs] for name, jobs in by_row}
    counts = np.bincount(data.labels[splits.train])
    divided = (
        f"{len(counts)} classes of {min(counts)} to {max(counts)} images, {sum(counts):,} to learn from."
    )
    page = Page("benchmarks.imbalance", PACKAGES, images.name, EXPLAINED)
    publish(page, [table(compared, found, divided)], results, markdown)


if __name__ == "__main__":
    main()
