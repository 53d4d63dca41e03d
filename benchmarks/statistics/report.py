"""What the simulations of ``benchmarks.statistics`` say: a table, a curve and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from augsearch.search.settings.settings import Settings
from benchmarks.environment import markdown
from benchmarks.statistics.learners import LEARNERS
from benchmarks.statistics.worlds import World
from benchmarks.tables import Table

Row = dict[str, Any]


def summarise(world: World, images: int, outcomes: Sequence[dict[str, Any]]) -> Row:
    """Shares and means over the runs of one world."""
    n = len(outcomes)
    leads = [outcome["lead"] for outcome in outcomes if "lead" in outcome]
    shares = {
        name: _share([outcome["kind"] == name for outcome in outcomes])
        for name in ("better", "as good", "undecided")
    }
    return {
        "world": world.name,
        "effect": max(world.candidates),
        "images": images,
        "n": n,
        **shares,
        "found": _share([outcome["found"] for outcome in outcomes]),
        "wrong": _share([outcome["wrong"] for outcome in outcomes]),
        "finalist": _share([outcome["finalist"] for outcome in outcomes]),
        "covered": _share([outcome["covered"] for outcome in outcomes if "covered" in outcome]),
        "unpicked": _share([one["covered unpicked"] for one in outcomes if "covered unpicked" in one]),
        "lead": 100 * float(np.mean(leads)) if leads else None,
        "loss": 100 * float(np.mean([outcome["loss"] for outcome in outcomes])),
        "folds": float(np.mean([outcome["folds"] for outcome in outcomes])),
    }


def _share(of: Sequence[bool]) -> dict[str, float]:
    if not of:
        return {"share": float("nan"), "low": float("nan"), "high": float("nan")}
    interval = stats.binomtest(sum(of), len(of)).proportion_ci(method="wilson")
    return {"share": sum(of) / len(of), "low": float(interval.low), "high": float(interval.high)}


def table(rows: Sequence[Row]) -> Table:
    """Every world a row."""
    return Table(
        "Worlds",
        (
            *("world", "images", "runs", "rightly better, %", "wrongly better, %", "as good, %"),
            *("undecided, %", "finalist, %", "covered, %", "of the best, %", "bias of the lead"),
            "folds to confirm",
        ),
        [
            (
                row["world"],
                f"{row['images']:,}",
                str(row["n"]),
                _shown(row["found"]),
                _shown(row["wrong"]),
                *(f"{100 * row[kind]['share']:.1f}" for kind in ("as good", "undecided", "finalist")),
                _shown(row["unpicked"]),
                f"{100 * row['covered']['share']:.1f}",
                "–" if row["lead"] is None else f"{row['lead']:+.2f}",
                f"{row['folds']:.0f}",
            )
            for row in rows
        ],
    )


def _shown(share: dict[str, float]) -> str:
    return f"{100 * share['share']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"


def printed(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    return table(rows).markdown()


def draw(rows: Sequence[Row], path: Path) -> None:
    """How often an effect is found, against its size."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    images = sorted({row["images"] for row in rows})
    for count, colour in zip(images, ("#d97706", "#2563eb", "#059669"), strict=False):
        of = sorted((r for r in rows if r["images"] == count and r["effect"] > 0), key=lambda r: r["effect"])
        effects = [row["effect"] for row in of]
        shares = [100 * row["found"]["share"] for row in of]
        axes.plot(effects, shares, "o-", color=colour, label=f"{count:,} images to confirm on")
        axes.fill_between(
            effects,
            [100 * row["found"]["low"] for row in of],
            [100 * row["found"]["high"] for row in of],
            color=colour,
            alpha=0.2,
        )
    axes.axhline(80, color="#64748b", linestyle=":", label="80 %")
    axes.set(
        xlabel="true lead of one candidate over all else, in points",
        ylabel="runs that call it better, %",
        ylim=(0, 100),
        xlim=(0, None),
        title="How often a lead that is there is found, at the default budget",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=130)


def write(
    rows: Sequence[Row], learners: Sequence[Row], facts: dict[str, Any], defaults: Settings, output: Path
) -> None:
    """``statistics.md``, its figure and its raw figures below ``output``."""
    output.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "rows": rows, "learners": learners}
    (output / "statistics.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draw(rows, output / "statistics.png")
    (output / "statistics.md").write_text(page(rows, learners, facts, defaults), encoding="utf-8")


def of_learners(rows: Sequence[Row]) -> list[Row]:
    """The same with the share that is covered in the place of every single one."""
    return [{**row, "covered": _share(row["covered"])} for row in rows]


def learners_table(rows: Sequence[Row]) -> Table:
    """Every pair of learners a row."""
    return Table(
        "Learners",
        ("pair", "images", "pools", "true difference", "covered, %", "half width", "error of the mean"),
        [
            (
                row["pair"],
                f"{row['images']:,}",
                str(row["pools"]),
                f"{row['truth']:+.2f}",
                _shown(row["covered"]),
                f"{row['half']:.2f}",
                f"{row['rmse']:.2f}",
            )
            for row in rows
        ],
    )


def page(rows: Sequence[Row], learners: Sequence[Row], facts: dict[str, Any], defaults: Settings) -> str:
    """The page."""
    search, confirmation = defaults.search, defaults.confirmation
    budget = (
        f"{search.trials} trials of up to {search.folds} folds, {confirmation.finalists} finalists and the "
        f"baselines on up to {confirmation.folds} fresh folds"
    )
    return f"""# How often the verdict is right

{markdown(facts)}

Whole searches on made scores, at the defaults of `augsearch run`: {budget}.
Pruner, looks, tests and verdict are the real ones; only the trainings are drawn. In the search a fold scores
the truth plus the luck of a recorded fold, scaled so that the standard deviation between one candidate's
folds is 1 point. In the confirmation everything is drawn anew in each run: the images that are scored, chance
on each of them in each fold, and the images that are learned from. How much each counts is measured on
recorded trainings (`benchmarks/recorded/`).

- **all alike**: no candidate is better than any baseline.
- **one strong baseline**: the candidates are like one baseline, the others are 4 points behind. Here the
  candidates have only one to beat by luck: the worst case.
- **planted x**: one candidate is x points better than all else; all baselines are alike.
- **images**: how many are neither scored by the search nor sealed: what cross-fitting divides anew for each
  fold. Data with a validation part of its own is confirmed on images apart, which is not simulated: of the
  1,750 such images of the embedded data folds learn from 1,000 and are scored on the other 750.
- **rightly better**: the verdict names the planted candidate; **wrongly better**: one that is no better.
- **finalist**: how often the search let the best candidate come to the confirmation; **covered**: how often
  the 95 % interval between two entries that nothing picked holds the truth, and that of the best candidate's
  lead over the best baseline, which are picked for their luck; **bias**: by how many points it flatters.
- **folds to confirm**: of all entries together.

![How often a lead is found](statistics.png)

{table(rows).markdown()}

## Learners whose truth is known

The same intervals, where the truth is known without any model of the noise: simple learners on points that
are drawn from a known distribution ({LEARNERS}). Each pool of images is drawn anew, cross-fitted on
{confirmation.folds} folds, and the interval of the difference compared with the mean over many training sets.
Nothing here has a seed: all that differs between folds is made by their training images, as for no network.

{learners_table(learners).markdown()}
"""
