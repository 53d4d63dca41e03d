"""Is the search good? Races and searches replayed on recorded trainings, without training anything.

- Racing: candidates whose every fold is recorded race with each pruner and with none. How many of the
  images does that save, and is what it picks as good?
- Proposing: the default search and random search search in a surrogate that is fitted to those tables, for
  as many images as each other. How far is what they pick from the best there is?

The driver, the pruners and the samplers are the real ones. A quarter of an hour on two
idle cores (AMD EPYC, Zen 5), an hour where others use them too; ``--quick`` takes a minute. Every
replay is kept at once, and a later call with the same ``--work`` replays only what is missing.

    make bench-search BENCH_ARGS="--markdown page.md"

To measure anew after a change of the library, give another ``--work``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click

from augsearch.trainers.system.threads import available_cores
from benchmarks import environment
from benchmarks.progress import Progress, progress_on_stderr
from benchmarks.recordings import RECORDED
from benchmarks.search.plans import (
    QUICK,
    Sizes,
    Task,
    default_tasks,
    other_tasks,
    race_tasks,
    surrogate_tasks,
    table_of,
    work,
)
from benchmarks.search.tables import (
    Measured,
    draw,
    race_figures,
    race_table,
    search_figures,
    search_table,
    surrogate_table,
)

OUTPUT = Path("docs/results/search.json")
PACKAGES = ("augsearch", "numpy", "optuna", "scikit-learn", "scipy")
MODULE = "benchmarks.search"
AHEAD = 32
"""Replays that wait or are being done."""
EXPLAINED = """\
Nothing is trained here. The driver, the pruners and the samplers are those of a run; the engine looks each
fold up.

**Racing**: every candidate of a table ran all its folds, half of them drawn at random and half small steps
from the baselines and from each other. A replay races the baselines and then
12 others, as many as a default run has, or all of them, in random order on folds in random order; the same
replay without pruning says what it should have picked.

**Proposing**: the searches look for the best of a surrogate, a model fitted to a table: the mean of a
Gaussian process and of boosted trees. A fold is its value and what some recorded candidate that scored alike
had on a fold more or less than on average; all searches of a replay meet the same folds. It says which search
finds more of what the 64 candidates show. It can't say what no recorded candidate hints at, and where
candidates are far from the recorded ones it tends to what is usual; so a regret compares searches, and is no
forecast of accuracy."""


class Log:
    """Every replay that was done, in memory and in a file of JSON lines."""

    def __init__(self, file: Path) -> None:
        self._file, self.known = file, dict[Task, dict[str, Any]]()
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            whole = file.read_text(encoding="utf-8").rpartition("\n")[
                0
            ]  # a line without an end was cut short
            for line in whole.splitlines():
                one = json.loads(line)
                self.known[Task(**one["task"])] = one["result"]
            file.write_text(f"{whole}\n" if whole else "", encoding="utf-8")

    def keep(self, task: Task, result: dict[str, Any]) -> None:
        """Add a result."""
        self.known[task] = result
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"task": asdict(task), "result": result}) + "\n")


@dataclass(frozen=True)
class Replayer:
    """Has processes do replays on the tables of ``folder``."""

    folder: Path
    pool: Executor
    progress: Progress

    def run(self, tasks: Iterable[Task], log: Log) -> None:
        """Do and keep what the log doesn't have."""
        missing = [task for task in tasks if task not in log.known]
        waiting, ended = iter(missing), 0
        running: dict[Future[dict[str, Any]], Task] = {}
        while True:
            # So few that a call that is cut short needn't wait, and enough that no process does.
            for task in islice(waiting, AHEAD - len(running)):
                running[self.pool.submit(work, task, self.folder)] = task
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                log.keep(task, future.result())
                ended += 1
                if ended % 100 == 0 or ended == len(missing):
                    self.progress(
                        f"{task.data}: {ended:,} of {len(missing):,} replays, last {task.part} {task.way}"
                    )


@click.command()
@click.option("--workers", type=click.IntRange(1), default=available_cores, show_default="one a core")
@click.option("--quick", is_flag=True, help="A short form, for a look: nothing follows from its figures.")
@click.option(
    "--recorded",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=RECORDED,
    help="Folder of the recorded tables.  [default: those that come with the benchmarks]",
)
@click.option(
    "--work",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the replays here.  [default: mlruns/search; quick: mlruns/search-quick]",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The figures as JSON.")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here too.")
def main(
    workers: int, quick: bool, recorded: Path, folder: Path | None, output: Path | None, markdown: Path | None
) -> None:
    """Measure racing and proposing."""
    sizes = QUICK if quick else Sizes()
    folder = folder or Path("mlruns") / ("search-quick" if quick else "search")
    data = [path.stem for path in sorted(recorded.glob("*.npz"))]
    if not data:
        raise click.ClickException(
            f"{recorded}: no recorded table; python -m benchmarks.recordings makes them"
        )
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the processes below
    log = Log(folder / "replays.jsonl")
    context = multiprocessing.get_context("spawn")
    with progress_on_stderr() as progress, ProcessPoolExecutor(workers, mp_context=context) as pool:
        measured = [measure(name, sizes, log, Replayer(recorded, pool, progress)) for name in data]
    publish(measured, sizes, output or (None if quick else OUTPUT), markdown)


def measure(name: str, sizes: Sizes, log: Log, replayer: Replayer) -> Measured:
    """Replay what is missing on one recorded table; all that is known of it."""
    table = table_of(replayer.folder, name)
    surrogates = surrogate_tasks(name, sizes)
    first = [*race_tasks(name, len(table.candidates) - table.baselines, sizes), *default_tasks(name, sizes)]
    replayer.run([*surrogates, *first], log)
    others = [
        task
        for one in first
        if one.part == "search"
        for task in other_tasks(one, sizes, log.known[one]["path"])
    ]
    replayer.run(others, log)
    return Measured(
        name,
        {task: log.known[task] for task in (*first, *others)},
        {task.truth: log.known[task] for task in surrogates},
    )


def publish(measured: Sequence[Measured], sizes: Sizes, output: Path | None, markdown: Path | None) -> None:
    """Print the tables, and write the files that are asked for."""
    facts = environment.facts(sys.argv[1:], None, MODULE, PACKAGES)
    facts["images"] = "folds recorded on " + " and ".join(one.name for one in measured)
    races = {one.name: race_figures(one) for one in measured}
    searches = {one.name: search_figures(one, sizes.marks) for one in measured}
    tables = [
        *(race_table(name, figures) for name, figures in races.items()),
        *(search_table(name, figures) for name, figures in searches.items()),
        surrogate_table(measured),
    ]
    page = [environment.markdown(facts), EXPLAINED, *(table.markdown() for table in tables)]
    if output is not None:
        surrogates = {one.name: one.surrogates for one in measured}
        document = {"facts": facts, "racing": races, "proposing": searches, "surrogates": surrogates}
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if markdown is not None:
        draw(measured, markdown.with_suffix(".svg"))
        picture = f"![Mean regret by the images used]({markdown.with_suffix('.svg').name})"
        text = "\n\n".join(["# Is the search good?", *page, picture]) + "\n"
        markdown.write_text(text, encoding="utf-8")
    click.echo("\n\n".join(page))


if __name__ == "__main__":
    main()
