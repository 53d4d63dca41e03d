"""What do unlabeled images bring? Pseudo-labels, self-training and FixMatch beside the labels only.

In all rows of a seed the same labels, and in all rows of a table the same number of images trained on,
forward and backward; each under RandAugment (2, 9) and under a policy that was searched for on other images.

- Fashion-MNIST, complete, with 10 and with 100 labels a class.
- CIFAR-10 with 250 labels a class, and with 40 too on a GPU.
- Fashion-MNIST with 10 labels again, for three times as many passes.

Some 2 h 30 of one core (AMD EPYC, Zen 5): 60 minutes for 10 labels a class of Fashion-MNIST, 35 for the same
three times as long, 20 for 100, 30 for CIFAR-10; half of that with ``--workers 2`` on two free ones.
``--quick`` takes a minute. Every result is written at once, and a later call with the same ``--output``
trains only what is missing.
What unlabeled images cost is measured apart, with ``--cost``, in some minutes; let nothing else run beside
it.

    make bench-unlabeled BENCH_ARGS="--cifar cifar --workers 2 --markdown page.md"

To measure anew after a change of the library, give another ``--output``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from augsearch.policies import UserError
from benchmarks import environment
from benchmarks.options import pool_options, results_options
from benchmarks.progress import Progress, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.results import ResultsFile
    from benchmarks.tables import Table
    from benchmarks.unlabeled.data import Stored
    from benchmarks.unlabeled.plans import Part, Setting, Sizes

OUTPUT = Path("docs/results/unlabeled.json")
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "optuna", "torch")
MODULE = "benchmarks.unlabeled"
Device = Literal["cpu", "cuda"]


@click.command()
@click.option(
    "--fashion",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of Fashion-MNIST's four idx .gz files.  [default: where Debian's package puts them]",
)
@click.option(
    "--cifar",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of CIFAR-10 with train/ and test/; measures it too.",
)
@click.option("--only", help="These parts, with commas: fashion-10, fashion-100, cifar-40, cifar-250.")
@click.option("--cost", is_flag=True, help="Measure what unlabeled images cost, and train nothing else.")
@pool_options
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@results_options(OUTPUT)
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-unlabeled",
    help="Keep decoded images here between calls.  [default: a temporary folder]",
)
def main(**options: Any) -> None:
    """Measure what unlabeled images bring."""
    measure(Options(**options))


@dataclass(frozen=True)
class Options:
    """What the command was told."""

    fashion: Path | None
    cifar: Path | None
    only: str | None
    cost: bool
    workers: int
    minutes: float | None
    device: Device
    quick: bool
    output: Path | None
    markdown: Path | None
    models: Path


def measure(options: Options) -> None:
    """Train what is missing, or measure the costs, and publish the tables."""
    from benchmarks.results import Page, ResultsFile, publish
    from benchmarks.unlabeled import plans
    from benchmarks.unlabeled.runs import Job, Outcome
    from benchmarks.unlabeled.tables import EXPLAINED

    full = plans.FULL[options.device]
    sizes = plans.quick(full) if options.quick else full
    parts = chosen_parts(sizes, options.only, options.cifar)
    results = ResultsFile(options.output or (None if options.quick else OUTPUT), Job, Outcome)
    minutes = 0.0 if options.cost else options.minutes
    try:
        with progress_on_stderr() as progress:
            images = Images(options.fashion, options.cifar, options.models, progress)
            if options.cost:
                measure_costs(images, options.device, options.quick, results, progress)
            benchmark = Benchmark(sizes, parts, images, options.device, results, progress)
            tables = benchmark.run(options.workers, minutes)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    publish(Page(MODULE, PACKAGES, images.used, EXPLAINED), tables, results, options.markdown)


def chosen_parts(sizes: Sizes, only: str | None, cifar: Path | None) -> tuple[Part, ...]:
    """The parts that ``--only`` names, or all whose images are given.

    Raises:
        click.UsageError: there is no such part, or no images for it.
    """
    known = {part.name: part for part in sizes.parts}
    if only is None:
        return tuple(part for part in sizes.parts if part.of_fashion or cifar)
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise click.UsageError(
                f"--only: there is no {name!r} on this device; there are {', '.join(known)}"
            )
        if not known[name].of_fashion and cifar is None:
            raise click.UsageError(f"--only {name} needs --cifar")
    return tuple(part for part in sizes.parts if part.name in names)


@dataclass(eq=False)
class Images:
    """Opens the data sets when they are wanted."""

    fashion: Path | None
    cifar: Path | None
    models: Path
    progress: Progress

    def opened(self, part: Part) -> Stored:
        """The images of ``part``.

        Raises:
            UserError: they can't be read.
        """
        return self.fashion_mnist() if part.of_fashion else self.cifar10()

    def fashion_mnist(self) -> Stored:
        """Fashion-MNIST, unpacked."""
        from benchmarks.unlabeled.data import FASHION, fashion_mnist

        return fashion_mnist(self.fashion or FASHION, self.models)

    def cifar10(self) -> Stored:
        """CIFAR-10, decoded."""
        from benchmarks.unlabeled.data import cifar10

        def decoded(done: int, of: int) -> None:
            if done % 12_800 == 0 or done == of:
                self.progress(f"CIFAR-10: {done:,} of {of:,} decoded")

        assert self.cifar is not None
        return cifar10(self.cifar, self.models, decoded)

    @property
    def used(self) -> str:
        """The data sets in words."""
        return "Fashion-MNIST and CIFAR-10" if self.cifar else "Fashion-MNIST"


@dataclass(eq=False)
class Benchmark:
    """Searches and compares, part by part; what ``results`` hold is not trained again."""

    sizes: Sizes
    parts: tuple[Part, ...]
    images: Images
    device: Device
    results: ResultsFile
    progress: Progress

    def run(self, workers: int, minutes: float | None) -> list[Table]:
        """Train what is missing as long as there is time, or until Ctrl-C; then all tables."""
        import torch

        from benchmarks.unlabeled.runs import describe, train_job
        from benchmarks.workers import WorkerPool, worker_processes

        torch.set_num_threads(1)
        # Each is opened once, and an unfit one is found before hours are spent on another.
        stored = {part.name: self.images.opened(part) for part in self.parts}
        settings = [self._setting(part, stored[part.name]) for part in self.parts]
        deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
        pool = WorkerPool(
            train_job,
            describe,
            {one.name: one for one in stored.values()},
            self.results.known,
            self.results.keep,
            self.progress,
            deadline,
            workers=workers,
        )
        try:
            with worker_processes(workers) as pool.executor:
                for setting in settings:
                    self._train(setting, pool.train)
        except KeyboardInterrupt:
            self.progress("stopped; the tables are of what is known")
        return [table for setting in settings for table in self._tables(setting)] + self._costs()

    def _setting(self, part: Part, stored: Stored) -> Setting:
        from benchmarks.unlabeled.plans import Setting

        pools = stored.pools(self.sizes.division)
        counts = ", ".join(f"{len(rows):,} {name}" for name, rows in pools.rows.items())
        self.progress(f"{part.name}, {stored.name}: {counts}")
        in_pool = (len(pools.rows["final"]), len(pools.rows["search"]))
        return Setting(part, self.sizes, stored.name, pools.num_classes, in_pool, self.device)

    def _train(self, setting: Setting, train: Callable[[Iterable[Any]], bool]) -> None:
        from benchmarks.unlabeled.plans import Rows, best_of, search

        policies = dict.fromkeys([setting.part.baseline])
        if setting.part.with_search:
            candidates, ended = search(setting, train, self.results.known)
            if not ended:
                return
            policies |= {best_of(candidates).policy: None}
        rows = [Rows.of(setting, policy) for policy in policies]
        train([job for seed in range(setting.part.seeds) for one in rows for job in one.of_seed(seed)])

    def _tables(self, setting: Setting) -> list[Table]:
        from benchmarks.unlabeled.plans import search
        from benchmarks.unlabeled.tables import baseline_tables, part_tables

        if not setting.part.with_search:
            return baseline_tables(setting, self.results.known)
        candidates, ended = search(setting, lambda jobs: True, self.results.known)
        return part_tables(setting, candidates, ended, self.results.known)

    def _costs(self) -> list[Table]:
        from benchmarks.unlabeled.costs import cost_tables

        return [table for figures in self.results.measured.values() for table in cost_tables(figures)]


def measure_costs(
    images: Images, device: Device, quick: bool, results: ResultsFile, progress: Progress
) -> None:
    """Time the loop and a labeling on Fashion-MNIST, and keep the figures."""
    import torch

    from benchmarks.unlabeled import costs
    from benchmarks.unlabeled.data import Division

    torch.set_num_threads(1)
    pools = images.fashion_mnist().pools(Division(search=0, validation=0))
    found = costs.measure(
        pools.images[:60_000],
        pools.labels[:60_000],
        device,
        costs.QUICK if quick else costs.CostSizes(),
        progress,
    )
    facts = environment.facts(sys.argv[1:], None, MODULE, PACKAGES)
    where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    kept = {name: facts[name] for name in ("command", "date", "commit", "processor", "load average")}
    shape = {"side": pools.images.shape[1], "channels": pools.images.shape[-1]}
    results.measured[f"cost on {device}"] = found | {"facts": kept | shape | {"device": where}}
    results.write()


if __name__ == "__main__":
    main()
