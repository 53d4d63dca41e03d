"""Does the search find more than random search does, and than more seeds of the baselines do? Live, on seeds.

``augsearch compare`` on the embedded images, with default settings, for several seeds, each with its own
division of the images: the default search, random search with as many image passes, and the baselines with as
many. What each picks by its search score is trained again on fresh folds and scored on images that none has
seen. ``benchmarks/search/`` asks the same on recorded trainings, many more times.

Some 7 minutes a seed on two free cores (AMD EPYC, Zen 5). Every fold is kept at once, and a later call with
the same ``--work`` trains only what is missing; more ``--seeds`` go on from fewer.

    make bench-compare BENCH_ARGS="--workers 2 --markdown docs/results/compare.md"

To measure anew after a change of the library, give another ``--work``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click

from augsearch.trainers.evaluation.metrics import METRICS, Metric
from benchmarks import environment
from benchmarks.tables import Table

OUTPUT = Path("docs/results/compare.json")
MODULE = "benchmarks.compare"
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "optuna", "torch")
QUICK = (
    *("--trials", "8", "--folds", "2", "--epochs", "2", "--fold-size", "200", "--confirm-folds", "2"),
    *("--proxy-model", "tiny"),
)


@click.command()
@click.option("--seeds", type=click.IntRange(2), help="How many, from 0 on.  [default: 5; quick: 2]")
@click.option("--data", help="Images that augsearch takes.  [default: the embedded ones]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that train.")
@click.option("--fold-size", type=click.IntRange(2), help="Training images of a fold.  [default: compare's]")
@click.option("--quick", is_flag=True, help="A short form, for a look: nothing follows from its figures.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Raw results.  [default: {OUTPUT}; quick: none]",
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here too.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-compare",
    help="Keep the studies here between calls.  [default: a temporary folder]",
)
def main(
    seeds: int | None,
    data: str | None,
    workers: int,
    fold_size: int | None,
    quick: bool,
    output: Path | None,
    markdown: Path | None,
    work: Path,
) -> None:
    """Compare the default search with random search and the baselines alone, seed by seed."""
    work.mkdir(parents=True, exist_ok=True)
    count = seeds or (2 if quick else 5)
    raw = work / "found.json"
    source = [str(Path(data).resolve()) if Path(data).exists() else data] if data else []
    arguments = [*source, "--seeds", str(count), "--workers", str(workers), "--json", raw.name]
    if fold_size is not None:
        arguments += ["--fold-size", str(fold_size)]
    command = [sys.executable, "-m", "augsearch.search.cli", "compare", *arguments, *(QUICK if quick else ())]
    done = subprocess.run(command, cwd=work, stdout=2, check=False)  # what it says goes to stderr
    if done.returncode:
        raise click.ClickException(f"augsearch compare ended with status {done.returncode}")
    found = json.loads(raw.read_text(encoding="utf-8"))
    images = " ".join(found["comparisons"][0]["data"].split()[:1])
    facts = environment.facts(sys.argv[1:], None, MODULE, PACKAGES) | {"images": images}
    page = "\n\n".join([environment.markdown(facts), *(one.markdown() for one in tables(found))]) + "\n"
    click.echo(page)
    if markdown:
        markdown.write_text(page, encoding="utf-8")
    if target := output or (None if quick else OUTPUT):
        text = json.dumps({"facts": facts} | found, indent=1, ensure_ascii=False)
        target.write_text(text + "\n", encoding="utf-8")


def tables(found: dict[str, Any]) -> list[Table]:
    """What the default search's picks are better by; and every seed."""
    return [summary(found), every_seed(found)]


def summary(found: dict[str, Any]) -> Table:
    """Each contestant's mean over seeds, and the default search's lead over it."""
    metric, comparisons = METRICS[found["metric"]], found["comparisons"]
    rows = []
    for index, first in enumerate(comparisons[0]["contestants"]):
        mine = [comparison["contestants"][index] for comparison in comparisons]
        leads = [(one["default_minus_this"] or {"mean": 0.0})["mean"] for one in mine]
        lead = ("", "", "", "")
        if index:
            lead = (
                _difference(metric, found["default search minus"][first["name"]]),
                metric.shown_spread(stdev(leads)),
                str(len(leads)),
                f"{sum(lead > 0 for lead in leads)} of {len(leads)}",
            )
        means = [one["confirmed"]["mean"] for one in mine]
        rows.append(
            (
                first["name"],
                f"{metric.shown(fmean(means), unit=False)} ± {metric.shown_spread(stdev(means))}",
                *lead,
                f"{fmean(one['ledger']['search']['images'] for one in mine):,.0f}",
                f"{fmean(one['ledger']['search']['seconds'] for one in mine):,.0f}",
                f"{fmean(one['trials'] for one in mine):,.0f}",
            )
        )
    folds = comparisons[0]["contestants"][0]["confirmed"]["n"]
    return Table(
        "What was picked, confirmed",
        (
            *("contestant", metric.title, "default − this", "sd", "n", "default ahead"),
            *("image passes", "worker s", "trials"),
        ),
        rows,
        notes=f"Mean ± sd of n = {len(comparisons)} seeds; a seed's figure is the mean over {folds} fresh "
        "folds on images that no search has scored. Differences are paired by seed, their 95 % intervals are "
        f"over seeds. Passes, seconds and trials are a search's, on average. {found['sentence']}",
    )


def every_seed(found: dict[str, Any]) -> Table:
    """All picks."""
    metric = METRICS[found["metric"]]
    rows = []
    for comparison in found["comparisons"]:
        for index, one in enumerate(comparison["contestants"]):
            pick, confirmed = one["pick"], one["confirmed"]
            trial = pick["name"].startswith("trial")
            mean, sd = metric.shown(confirmed["mean"], unit=False), metric.shown_spread(confirmed["sd"])
            rows.append(
                (
                    str(comparison["seed"]),
                    one["name"],
                    f"{pick['name']}: {pick['in_words']}" if trial else pick["name"],
                    metric.shown(pick["search_score"], unit=False),
                    f"{mean} ± {sd}",
                    _difference(metric, one["default_minus_this"]) if index else "",
                )
            )
    return Table(
        "Seed by seed",
        ("seed", "contestant", "what it picked", "search score", "confirmed", "default − this"),
        rows,
        words=3,
        notes="*Confirmed* is mean ± sd over folds; intervals take folds and images for samples.",
    )


def _difference(metric: Metric, lead: dict[str, Any] | None) -> str:
    if lead is None:
        return "the same"
    return metric.shown_difference(lead["mean"], lead["low"], lead["high"]).replace("-", "−")


if __name__ == "__main__":
    main()
