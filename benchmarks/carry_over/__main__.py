"""Does what short trainings rank first carry over to the network that ships?

Sixteen policies, from none to strong ones, are trained in each way that a search may train its candidates,
and as final models of a pretrained network. Which way ranks them as the final models do, what choosing by it
costs, and how long it takes: what a search of photos trains by default follows from this page.

    make bench-carry-over BENCH_ARGS="--images flowers --workers 2 --work carry-over"

Every result is written at once, and a later call with the same ``--output`` trains only what is missing.
More than one data set: ``--images`` repeated.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augsearch.policies import UserError
from benchmarks.options import pool_options, results_options

if TYPE_CHECKING:
    from benchmarks.carry_over.plans import Sizes
    from benchmarks.finals import Place

OUTPUT = Path("docs/results/carry-over.json")
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "torch")


@click.command()
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="Folder of photos in class folders; repeatable.",
)
@click.option(
    "--labels",
    type=click.IntRange(2),
    multiple=True,
    help="Images of each class to learn from; once, or once for each --images.  [default: 50]",
)
@pool_options
@click.option("--folds", type=click.IntRange(1), help="Short trainings of each policy and way.  [default: 3]")
@click.option("--seeds", type=click.IntRange(1), help="Final trainings of each policy.  [default: 3]")
@click.option("--policies", type=click.IntRange(4), help="How many of the policies.  [default: 16]")
@results_options(OUTPUT)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-carry-over",
    help="Keep images and unfinished trainings here between calls.  [default: a temporary folder]",
)
def main(**options: Any) -> None:
    """Measure how well short trainings stand in for the final one."""
    measure(Options(**options))


@dataclass(frozen=True)
class Options:
    """What the command was told."""

    images: tuple[Path, ...]
    labels: tuple[int, ...]
    workers: int
    folds: int | None
    seeds: int | None
    policies: int | None
    minutes: float | None
    quick: bool
    output: Path | None
    markdown: Path | None
    work: Path


def measure(options: Options) -> None:
    """Train what is missing, and publish the tables."""
    import torch

    from benchmarks.carry_over.plans import Job, jobs, sizes_of
    from benchmarks.carry_over.runs import describe, train_job
    from benchmarks.carry_over.tables import EXPLAINED, Result, tables
    from benchmarks.comparisons import Outcome
    from benchmarks.results import Page, ResultsFile, publish
    from benchmarks.workers import train_missing

    if len(options.labels) > 1 and len(options.labels) != len(options.images):
        raise click.ClickException("give --labels once, or once for each --images")
    torch.set_num_threads(1)
    results = ResultsFile(options.output or (None if options.quick else OUTPUT), Job, Outcome)
    usual = sizes_of(options.quick, options.folds, options.seeds, options.policies)
    places, known = opened(options, usual), results.known
    labels = options.labels or (usual.labels,)
    of_each = labels * len(places) if len(labels) == 1 else labels
    sizes = {name: replace(usual, labels=own) for name, own in zip(places, of_each, strict=True)}
    train_missing(
        [job for name in places for job in jobs(name, sizes[name])],
        train_job,
        describe,
        places,
        results,
        workers=options.workers,
        minutes=options.minutes,
    )
    found = [
        Result(f"{name.split()[0]}, {own.labels} labels a class", name, own, known)
        for name, own in sizes.items()
    ]
    page = Page("benchmarks.carry_over", PACKAGES, "; ".join(one.title for one in found), EXPLAINED)
    publish(page, tables(found), results, options.markdown)


def opened(options: Options, sizes: Sizes) -> dict[str, Place]:
    """The data sets by their names, decoded once, before workers would do it side by side."""
    from benchmarks.carry_over.runs import SIDE
    from benchmarks.finals import Place

    places = {}
    try:
        for folder in options.images:
            place = Place(str(folder.resolve()), options.work.resolve())
            for side in {way.side for way in sizes.ways}:
                place.images(side)
            places[f"{folder.name} {place.images(SIDE).fingerprint[:12]}"] = place
    except UserError as error:
        raise click.ClickException(str(error)) from None
    return places


if __name__ == "__main__":
    main()
