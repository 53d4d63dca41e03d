"""How often the verdict is wrong, and how often it finds what is there: simulated from recorded fold noise.

Every run is a whole search on made scores: 16 trials race over folds under the pruner, the finalists and
the baselines are confirmed look by look, and the verdict is spoken, by the code that does it in earnest;
only the trainings are drawn. The standard deviation between a candidate's folds is 1 point in all worlds.

``python -m benchmarks.statistics --help`` says what it takes; 8,500 runs take ten minutes of two cores. It
can be stopped, and goes on where it stood.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import optuna

from augsearch.trainers.system.threads import available_cores
from benchmarks.environment import facts
from benchmarks.statistics import report
from benchmarks.statistics.learners import measured
from benchmarks.statistics.simulation import CHUNK, DEFAULTS, POOLS, run, worlds

RESULTS = Path("docs/results")
POOLS_OF_LEARNERS = 60


@click.command()
@click.option("--runs", type=click.IntRange(1), default=500, show_default=True, help="Of each world.")
@click.option("--quick", is_flag=True, help="50 runs of each; writes nothing but what it prints.")
@click.option("--workers", type=click.IntRange(1), default=available_cores, show_default="one a core")
@click.option(
    "--log", type=click.Path(path_type=Path), default=Path("mlruns/statistics.jsonl"), show_default=True
)
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(runs: int, quick: bool, workers: int, log: Path, output: Path) -> None:
    """Simulate whole searches and say how often their verdicts are right."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    outcomes = run(CHUNK if quick else runs, workers, log)
    rows = [report.summarise(world, images, outcomes[i]) for i, (world, images) in enumerate(worlds())]
    print(report.printed(rows))
    pools = 4 if quick else POOLS_OF_LEARNERS
    learners = report.of_learners(measured(pools, POOLS[:1] if quick else POOLS, workers))
    print(report.learners_table(learners).markdown())
    if not quick:
        made = facts(sys.argv[1:], None, "benchmarks.statistics", ("augsearch", "numpy", "optuna", "scipy"))
        made["images"] = "recorded folds of Fashion-MNIST and CIFAR-10"
        report.write(rows, learners, made, DEFAULTS, output)


if __name__ == "__main__":
    main()
