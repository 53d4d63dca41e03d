"""How fast is augsearch beside the libraries that people would use instead, and what memory does it take?

On one core, on the same images, in turns with its peers: RandAugment (2, 9), then operation by operation,
then the memory that a batch takes, first calls and threads. Half an hour on one core of a server processor
(AMD EPYC, Zen 4), three minutes with ``--quick``. With ``--device cuda`` instead: RandAugment on the GPU and
beside a training step, two minutes.

    make bench-throughput BENCH_ARGS="--quick --markdown page.md"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from benchmarks.progress import Progress, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.images import Images
    from benchmarks.tables import Table

SIDES = (32, 96, 224)
PARTS = ("randaugment", "operations", "memory", "starting")

Found = tuple[list["Table"], dict[str, Any]]
"""Tables, and the raw figures behind them."""


@click.command()
@click.option("--quick", is_flag=True, help="A short form: two sizes, short rounds.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this; may be repeated.")
@click.option("--side", "sides", type=click.IntRange(8), multiple=True, help="Only this size in pixels.")
@click.option("--rounds", type=click.IntRange(1), help="The median of them counts.  [default: 5; quick: 3]")
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    help="For each contestant in each round; a fifth of it for single operations.  [default: 1; quick: 0.1]",
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the images from this folder instead of making them.",
)
@click.option(
    "--without-avx512",
    "plain",
    is_flag=True,
    help="As on a processor with AVX2 alone, for all that can be told.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables here too."
)
@click.option(
    "--json", "raw", type=click.Path(dir_okay=False, path_type=Path), help="Write raw figures here."
)
def main(**options: Any) -> None:
    """Measure augsearch against its peers on this machine."""
    measure(Options(**options))


@dataclass(frozen=True)
class Options:
    """What the command was told; ``or`` its defaults."""

    quick: bool
    parts: tuple[str, ...]
    sides: tuple[int, ...]
    rounds: int | None
    seconds: float | None
    photos: Path | None
    plain: bool
    device: str
    markdown: Path | None
    raw: Path | None


def measure(options: Options) -> None:
    """Measure all parts that are asked for, and publish the tables."""
    quick = options.quick
    rounds, seconds = options.rounds or (3 if quick else 5), options.seconds or (0.1 if quick else 1.0)
    sides = options.sides or ((32, 224) if quick else SIDES)
    with progress_on_stderr() as progress:
        if options.device == "cuda":
            found = on_gpu(rounds, seconds, progress)
        else:
            if options.plain:
                from benchmarks.throughput.timing import leave_avx512

                leave_avx512()
            found = on_one_core(options.parts or PARTS, sides, options.photos, rounds, seconds, progress)
    publish(*found, options.photos, options.markdown, options.raw)


def on_one_core(
    parts: Sequence[str],
    sides: Sequence[int],
    photos: Path | None,
    rounds: int,
    seconds: float,
    progress: Progress,
) -> Found:
    """All parts that are asked for."""
    from benchmarks.throughput.timing import use_one_core

    use_one_core()

    import torch

    from benchmarks import images

    pools = [
        images.Images(images.photos(photos, side) if photos else images.smooth_images(side)) for side in sides
    ]
    tables: list[Table] = []
    figures: dict[str, Any] = {}
    with torch.inference_mode():  # no peer pays for gradients that nobody wants
        if "randaugment" in parts:
            found, figures["randaugment"] = randaugment(pools, rounds, seconds, progress)
            tables += found
        if "operations" in parts:
            found, figures["operations"] = operations(pools, rounds, seconds / 5, progress)
            tables += found
    if "memory" in parts:
        found, figures["memory"] = memory(progress)
        tables += found
    if "starting" in parts:
        found, figures["starting"] = starting(progress)
        tables += found
    return tables, figures


def randaugment(
    pools: Sequence[Images], rounds: int, seconds: float, progress: Progress
) -> tuple[list[Table], list[dict[str, Any]]]:
    """RandAugment (2, 9) in all libraries, alone and after flip + crop."""
    from benchmarks.throughput import randaugment, report, timing

    tables, figures = [], []
    for cropped, title in ((False, "RandAugment (2, 9)"), (True, "Flip + crop, then RandAugment (2, 9)")):
        by_side = {
            images.side: timing.compare(
                randaugment.contestants(images, cropped=cropped),
                rounds,
                seconds,
                partial(_tell_step, progress, f"{title}, {images.side} px"),
            )
            for images in pools
        }
        for side, timed in by_side.items():
            figures += report.plain(timed, side=side, policy=title)
        tables.append(report.randaugment_table(by_side, title))
    return tables, figures


def _tell_step(progress: Progress, what: str, step: str) -> None:
    progress(f"{what}: {step}")


def operations(
    pools: Sequence[Images], rounds: int, seconds: float, progress: Progress
) -> tuple[list[Table], list[dict[str, Any]]]:
    """Every operation that ours and at least one peer have."""
    from benchmarks.throughput import operations, report, timing

    tables, figures = [], []
    for images in pools:
        rivals = operations.all_peers(images)
        by_job = {}
        for job in operations.jobs():
            progress(f"{job.name}, {images.side} px")
            timed = timing.compare(operations.contestants(job, images, rivals), rounds, seconds)
            by_job[job.name] = timed
            figures += report.plain(timed, side=images.side, operation=job.name)
        tables.append(report.operations_table(images.side, by_job))
    return tables, figures


def memory(progress: Progress) -> tuple[list[Table], list[dict[str, Any]]]:
    """What a batch takes beyond itself."""
    from benchmarks.throughput import memory, report

    progress("memory")
    peaks = memory.peaks()
    return [report.memory_table(peaks)], memory.as_json(peaks)


def starting(progress: Progress) -> tuple[list[Table], dict[str, Any]]:
    """First calls, and a second thread."""
    from benchmarks.throughput import report, starting

    progress("first calls")
    first = starting.first_calls()
    progress("two threads")
    threads = starting.second_threads()
    plain = {"first": starting.as_json(first), "threads": starting.as_json(threads)}
    return report.starting_tables(first, threads), plain


def on_gpu(rounds: int, seconds: float, progress: Progress) -> Found:
    """RandAugment beside kornia's, and beside a training step.

    Raises:
        click.ClickException: there is no GPU that torch can use.
    """
    import torch

    if not torch.cuda.is_available():
        raise click.ClickException("torch finds no CUDA device; without --device cuda the CPU is measured")

    from benchmarks.throughput import cuda, report

    measured = cuda.measure(torch.device("cuda"), cuda.CASES, rounds, seconds, progress)
    name = torch.cuda.get_device_name()
    return report.gpu_tables(measured, name), {"gpu": {"device": name, "figures": cuda.as_json(measured)}}


def publish(
    tables: Sequence[Table],
    figures: dict[str, Any],
    photos: Path | None,
    markdown: Path | None,
    raw: Path | None,
) -> None:
    """Print the tables, and write the files that are asked for."""
    from benchmarks import environment

    facts = environment.facts(sys.argv[1:], photos)
    console = Console()
    if not console.is_terminal:
        console.width = 140  # of a file or a pipe; rich takes 80
    shown = (facts[name] for name in ("command", "date", "processor", "images"))
    console.print(*shown, sep="\n", highlight=False)
    for table in tables:
        console.print("", table.printable())
    if markdown:
        text = [environment.markdown(facts), *(table.markdown() for table in tables)]
        markdown.write_text("\n\n".join(text) + "\n", encoding="utf-8")
    if raw:
        raw.write_text(json.dumps(facts | figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
