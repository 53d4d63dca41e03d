"""What does a trial cost the driver, where its folds cost nothing?

The real command's search: ask, suggest, candidates, reports, the pruner, tell, and MLflow's log, with the
study in SQLite, in a PostgreSQL server of its own, and in one that is 20 ms away; and with --many also late
in a long study, then without MLflow. Only the folds are no trainings, but results that follow from the
candidate. There is one worker, so nothing is beside anything.

    make bench-driver BENCH_ARGS="--markdown page.md"

A trial is the time from one's first fold to the next one's. MLflow's own thread works beside it, and what it
has left at the end is told apart. PostgreSQL needs root and Debian's ``postgresql``; else it is left out.

With --workers there are many workers instead, whose folds take their time, and it is told how busy they were:

    make bench-driver BENCH_ARGS="--workers 1000 --trials 2000"
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import optuna
from sqlalchemy import event
from sqlalchemy.engine import Engine

from augsearch.search.engines import inline
from augsearch.search.pipelines import run as pipeline
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.driver_storage import driver_storage, together
from augsearch.search.studies.study import open_storage
from benchmarks import environment
from benchmarks.driver.busy import Timed
from benchmarks.driver.instant import Instant, SearchIsOverError
from benchmarks.driver.quiet import Quiet
from benchmarks.servers import FarAway, Postgres, postgres_programs

PACKAGES = ("augsearch", "mlflow", "optuna", "psycopg", "sqlalchemy")
AWAY = 0.02
"""Seconds there and back."""
LAST = 20
"""Trials at the end of which the median is told."""


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy the driver kept many workers."""

    workers: int
    seconds: float
    """Of a fold."""
    first: float
    """The share of their time in which they ran a fold, in the first while: as long as three folds."""
    then: float
    """The same from there until the last fold began."""
    folds: int
    trials: int
    minutes: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What the last trials of a search cost each."""

    where: str
    trials: int
    milliseconds: float
    """Median of the last trials, by the clock."""
    processor: float
    """Milliseconds of the driver's thread, the mean over the same."""
    statements: float
    """Of the study's database, all of the run's: opening it too."""
    commits: float
    logging: float
    """Seconds that MLflow needed at the end, its start too."""
    mebibytes: float
    """The most memory the process had."""


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts the statements and commits that the study's database gets."""
    seen = {"statements": 0, "commits": 0}

    def statement(connection: Any, *_: Any) -> None:
        seen["statements"] += "mlflow" not in str(connection.engine.url)

    def commit(connection: Any) -> None:
        seen["commits"] += "mlflow" not in str(connection.engine.url)

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", commit)
    yield seen
    event.remove(Engine, "before_cursor_execute", statement)
    event.remove(Engine, "commit", commit)


def searched(where: str, trials: int, **settings: Any) -> Cost:
    """Search for ``trials`` more trials than there are, in the working directory."""
    engine = Instant()
    inline.start = lambda _: engine  # type: ignore[assignment,return-value]
    asked = Settings.of(
        study="bench", trials=trials, engine="inline", budget="none", teacher="none", final=False, **settings
    )
    with counted() as seen:
        try:
            pipeline.run(asked, Quiet())
        except SearchIsOverError:
            ended = time.perf_counter()
    last = engine.began[-LAST - 1 :]
    began = [clock for clock, _ in last]
    each = [after - before for before, after in pairwise(began)]
    busy = (last[-1][1] - last[0][1]) / len(each)
    many = len(engine.began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(
        where,
        trials,
        1000 * statistics.median(each),
        1000 * busy,
        seen["statements"] / many,
        seen["commits"] / many,
        ended - began[-1],
        memory,
    )


def many_workers(workers: int, seconds: float, trials: int) -> Busy:
    """A search by ``workers`` whose folds take ``seconds``, in SQLite and with MLflow's log, by the clock."""
    os.chdir(tempfile.mkdtemp(prefix="augsearch-bench-"))
    engine = Timed(workers, seconds)
    inline.start = lambda _: engine  # type: ignore[assignment,return-value]
    asked = Settings.of(
        study="bench", trials=trials, engine="inline", budget="none", teacher="none", final=False
    )
    with suppress(SearchIsOverError):
        pipeline.run(asked, Quiet())
    began, ended = engine.ran[0][0], engine.ran[-1][0]
    full = began + 3 * seconds
    return Busy(
        workers,
        seconds,
        engine.busy(began, full),
        engine.busy(full, ended),
        len(engine.ran),
        len(engine.trials),
        (ended - began) / 60,
    )


def everywhere(trials: int, many: int) -> Iterator[Cost]:
    """Each place of the study in turn."""
    yield _fresh("SQLite", trials)
    programs = postgres_programs()
    if programs is not None:
        server = Postgres(programs)
        try:
            yield _fresh("PostgreSQL", trials, storage=server.address)
        finally:
            server.remove()
        server = Postgres(programs)
        far = FarAway(server.port, AWAY)
        try:
            yield _fresh("PostgreSQL, 20 ms away", trials, storage=Postgres.address_at(far.port))
        finally:
            far.close()
            server.remove()
    if many:
        yield _grown(trials, many)


def _fresh(where: str, trials: int, **settings: Any) -> Cost:
    os.chdir(tempfile.mkdtemp(prefix="augsearch-bench-"))
    return searched(where, trials, **settings)


def _grown(trials: int, many: int) -> Cost:
    """The last of ``many`` trials, those before them copied from a search of ``trials``."""
    pipeline._track = lambda *_: None
    _fresh("", trials)
    storage = driver_storage(open_storage(TrackingSettings().storage), "bench")
    study = optuna.load_study(storage=storage, study_name="bench")
    known = study.get_trials(deepcopy=False)
    with together(study):
        for number in range(many - 2 * trials):
            study.add_trial(known[number % trials])
    return searched("SQLite, no MLflow", many - trials + LAST)


def table(costs: list[Cost]) -> str:
    """The costs as a table of Markdown."""
    head = (
        "| study in | trials | ms a trial | ms of the processor | statements | commits | s for MLflow's rest "
        "| MiB |\n|---|---|---|---|---|---|---|---|\n"
    )
    rows = (
        f"| {one.where} | {one.trials:,} | {one.milliseconds:.0f} | {one.processor:.0f} "
        f"| {one.statements:.1f} | {one.commits:.1f} | {one.logging:.0f} | {one.mebibytes:.0f} |\n"
        for one in costs
    )
    return head + "".join(rows)


@click.command()
@click.option("--trials", default=100, show_default=True, help="Trials of a search.")
@click.option("--many", default=0, help="Trials of a long study, whose last are measured too; slow.")
@click.option(
    "--workers", default=0, help="How busy it keeps so many instead, in --trials trials, by the clock."
)
@click.option("--seconds", default=60.0, show_default=True, help="What a fold of these takes.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Page to write.")
def main(trials: int, many: int, workers: int, seconds: float, markdown: Path | None) -> None:
    """Measure what a trial costs the driver."""
    if workers:
        click.echo(f"{many_workers(workers, seconds, trials)}")
        return
    page = markdown.resolve() if markdown else None
    facts = environment.facts(sys.argv[1:], None, "benchmarks.driver", PACKAGES)
    costs = []
    for cost in everywhere(trials, many):
        costs.append(cost)
        click.echo(f"{cost}", err=True)
    text = f"{table(costs)}\n{environment.markdown(facts)}\n"
    click.echo(text)
    if page is not None:
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
