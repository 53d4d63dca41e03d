"""Is a searched policy worth it? What ``augsearch run`` exports, beside what anyone has without a search.

On the embedded images, CIFAR-10 with 4,000 labels and flower_photos: no augmentation, flip + crop,
RandAugment (2, 9), TrivialAugment and the exported policy, each through the library's own final training
with the same network, schedule and number of image passes, on five paired seeds, and tested once.

First come the baselines of all data sets, seed by seed; then the searches, one ``augsearch run`` with default
settings for each data set; then what they exported. On two cores (AMD EPYC, Zen 5) some 20 minutes for the
baselines, 30 for the searches and 20 for the rest. Every result is written at once, and a later call with
the same ``--output`` and ``--work`` trains only what is missing.

    make bench-quality BENCH_ARGS="--cifar cifar --flowers flowers --workers 2 --markdown page.md"

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
from benchmarks.techniques.__main__ import Ledger, publish
from benchmarks.throughput.__main__ import Tell, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.quality.data import DataSet
    from benchmarks.quality.plans import Row, Sizes
    from benchmarks.quality.tables import Result
    from benchmarks.tables import Table

OUTPUT = Path("docs/results/quality.json")
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "optuna", "torch")
MODULE = "benchmarks.quality"
Only = Literal["baselines", "searched"]
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--cifar", type=FOLDER, help="Folder of CIFAR-10 with train/ and test/; measures it too.")
@click.option("--flowers", type=FOLDER, help="Folder of flower_photos with train/ and val/; measures it too.")
@click.option(
    "--policies",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of exported policies, embedded.json, cifar-10.json and flower_photos.json; what is missing "
    "is searched and put there.  [default: WORK/policies]",
)
@click.option(
    "--only",
    type=click.Choice(["baselines", "searched"]),
    help="Train only what needs no search, or only what does.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that train.")
@click.option("--seeds", type=click.IntRange(2), help="Of each row.  [default: 5; quick: 2]")
@click.option(
    "--minutes", type=click.FloatRange(0), help="Begin nothing new after so long; 0: only the tables."
)
@click.option("--quick", is_flag=True, help="A short form, for a look: nothing follows from its figures.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Raw results, read first if it exists.  [default: {OUTPUT}; quick: none]",
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here too.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-quality",
    help="Keep images, searches and unfinished trainings here between calls.  [default: a temporary folder]",
)
def main(
    cifar: Path | None,
    flowers: Path | None,
    policies: Path | None,
    only: Only | None,
    workers: int,
    seeds: int | None,
    minutes: float | None,
    quick: bool,
    output: Path | None,
    markdown: Path | None,
    work: Path,
) -> None:
    """Measure what a searched policy brings beside the baselines."""
    from benchmarks.quality.plans import sizes_of
    from benchmarks.quality.runs import Job, Outcome
    from benchmarks.quality.tables import EXPLAINED

    ledger = Ledger(output or (None if quick else OUTPUT), (Job, Outcome))
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    try:
        with progress_on_stderr() as tell:
            sizes = sizes_of(quick, seeds)
            bench = Bench(sizes, cifar, flowers, policies or work / "policies", work, workers, ledger, tell)
            tables = bench.run(only, minutes)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    images = ", ".join(data.title for data in bench.sets)
    publish(tables, ledger, markdown, MODULE, PACKAGES, images, EXPLAINED)


@dataclass(eq=False)
class Bench:
    """Trains and searches; what the ledger holds is not trained again."""

    sizes: Sizes
    cifar: Path | None
    flowers: Path | None
    policies: Path
    work: Path
    workers: int
    ledger: Ledger
    tell: Tell

    @cached_property
    def sets(self) -> list[DataSet]:
        """The data sets, opened."""
        from benchmarks.quality.data import cifar_10, embedded, flower_photos

        def say(name: str, done: int, of: int) -> None:
            if done % 12_800 == 0 or done == of:
                self.tell(f"{name}: {done:,} of {of:,} decoded")

        found = [embedded(self.work)]
        if self.cifar is not None:
            labels, tested = self.sizes.cifar_labels, self.sizes.cifar_tested
            found.append(cifar_10(self.cifar, self.work, labels, tested, say))
        if self.flowers is not None:
            found.append(flower_photos(self.flowers, self.work, say))
        return found

    def run(self, only: Only | None, minutes: float | None) -> list[Table]:
        """Train what is missing as long as there is time, or until Ctrl-C; then all tables."""
        import torch

        from benchmarks.quality.runs import described, train_job
        from benchmarks.quality.tables import tables
        from benchmarks.workers import Crew, processes

        torch.set_num_threads(1)
        for data in self.sets:
            self.tell(data.in_words)
        deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
        places = {data.name: (data, self.work) for data in self.sets}
        known, keep = self.ledger.known, self.ledger.keep
        crew = Crew(train_job, described, places, known, keep, self.tell, deadline, workers=self.workers)
        try:
            with processes(self.workers) as crew.processes:
                ended = only == "searched" or self._train(crew.train, self._baselines)
                if ended and only != "baselines" and self._search(deadline):
                    self._train(crew.train, self._searched)
        except KeyboardInterrupt:
            self.tell("stopped; the tables are of what is known")
        return tables([self._result(data) for data in self.sets])

    def _train(self, train: Callable[[Any], bool], rows: Callable[[DataSet], list[Row]]) -> bool:
        from benchmarks.quality.plans import seed_by_seed

        return train(seed_by_seed([row for data in self.sets for row in rows(data)]))

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

        for data in self.sets:
            if self._files(data)[0] is None:
                if time.monotonic() > deadline:
                    return False
                self.tell(f"{data.title}: searching")
                search(data, self.work, self.policies, self.workers, self.sizes.search)
            kept = [file.model_dump(mode="json") for file in self._files(data) if file is not None]
            self.ledger.measured[data.key] = dict(zip(("exported", "candidate"), kept, strict=False))
            self.ledger.write()
        return True

    def _files(self, data: DataSet) -> tuple[PolicyFile | None, PolicyFile | None]:
        """What was exported, and the best candidate where that is another; None: there is none."""
        from benchmarks.quality.search import exported, runner_up

        return exported(data, self.policies), runner_up(data, self.policies)

    def _result(self, data: DataSet) -> Result:
        from benchmarks.quality.tables import Result

        rows = [*self._searched(data), *self._baselines(data)]
        return Result(data, rows, self.ledger.known, self._files(data)[0])


if __name__ == "__main__":
    main()
