"""How many more folds do two workers of one machine train than one?

The embedded data's folds by the real engine, ``--engine local``, with one worker and with several in turns;
workers have started and trained a fold each before it is timed. Let nothing else run beside it.

    python -m benchmarks.driver.scaling
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from concurrent.futures import wait
from contextlib import closing

import click

from augsearch.policies import Policy
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.registry import start_engine
from augsearch.search.engines.tasks import evaluate
from augsearch.search.race.resume import open_begun
from augsearch.search.settings.sections import EngineSettings
from augsearch.search.settings.settings import Settings
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, Stage
from benchmarks.driver.quiet import Quiet


def folds_a_second(engine: Engine, workspace: Workspace, folds: int) -> float:
    """By a real engine, all folds at once."""
    candidate = Candidate(policy=Policy.named("flip-crop+randaugment"))
    began = time.perf_counter()
    tasks = [
        engine.submit(evaluate, workspace.folder, candidate, Fold(Stage.SEARCH, fold))
        for fold in range(folds)
    ]
    for future in wait(tasks).done:
        future.result()
    return folds / (time.perf_counter() - began)


@click.command()
@click.option("--workers", default=2, show_default=True, help="Against one.")
@click.option("--folds", default=12, show_default=True, help="Of a round.")
@click.option("--rounds", default=3, show_default=True, help="Each with one worker, then with several.")
def main(workers: int, folds: int, rounds: int) -> None:
    """Compare several workers with one."""
    os.chdir(tempfile.mkdtemp(prefix="augsearch-bench-"))
    _, data = open_begun(Settings.of(study="bench", budget="none", teacher="none", final=False), Quiet())
    engines = [start_engine(EngineSettings(name="local", workers=number)) for number in (1, workers)]
    with closing(engines[0]), closing(engines[1]):
        for engine, number in zip(engines, (1, workers), strict=True):
            folds_a_second(engine, data.workspace, number)
        ratios = []
        for _ in range(rounds):
            alone, together = (folds_a_second(engine, data.workspace, folds) for engine in engines)
            ratios.append(together / alone)
            click.echo(f"1: {alone:.3f} folds/s, {workers}: {together:.3f}, {ratios[-1]:.2f} times", err=True)
    click.echo(f"{workers} workers train {statistics.median(ratios):.2f} times the folds of one")


if __name__ == "__main__":
    main()
