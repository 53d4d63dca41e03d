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
from benchmarks.statistics.worlds import World
from benchmarks.tables import Table

Row = dict[str, Any]


def summarise(world: World, images: int | None, outcomes: Sequence[dict[str, Any]]) -> Row:
    """Shares and means over the runs of one world."""
    n = len(outcomes)
    leads = [outcome["lead"] for outcome in outcomes if "lead" in outcome]
    shrunken = [outcome["shrunken"] for outcome in outcomes if "shrunken" in outcome]
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
        "finalist": _share([outcome["finalist"] for outcome in outcomes]),
        "covered": _share([outcome["covered"] for outcome in outcomes if "covered" in outcome]),
        "lead": 100 * float(np.mean(leads)) if leads else None,
        "shrunken": 100 * float(np.mean(shrunken)) if shrunken else None,
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
            *("world", "images", "runs", "better, %", "and rightly, %", "as good, %", "undecided, %"),
            *("covered, %", "bias of the lead", "of the corrected", "folds to confirm"),
        ),
        [
            (
                row["world"],
                "any" if row["images"] is None else str(row["images"]),
                str(row["n"]),
                _shown(row["better"]),
                _shown(row["found"]),
                *(f"{100 * row[kind]['share']:.1f}" for kind in ("as good", "undecided", "covered")),
                *("–" if row[name] is None else f"{row[name]:+.2f}" for name in ("lead", "shrunken")),
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
    images = sorted({row["images"] for row in rows}, key=lambda count: count or 0)
    for count, colour in zip(images, ("#2563eb", "#d97706"), strict=False):
        of = sorted((r for r in rows if r["images"] == count and r["effect"] > 0), key=lambda r: r["effect"])
        effects = [row["effect"] for row in of]
        label = (
            "noise of folds alone" if count is None else f"{count} confirmation images counted as a sample"
        )
        axes.plot(effects, [100 * row["found"]["share"] for row in of], "o-", color=colour, label=label)
        axes.fill_between(
            effects,
            [100 * row["found"]["low"] for row in of],
            [100 * row["found"]["high"] for row in of],
            color=colour,
            alpha=0.2,
        )
    axes.axhline(80, color="#64748b", linestyle=":", label="80 %")
    axes.set(
        xlabel="true lead of one candidate over all else, in standard deviations between folds",
        ylabel="runs that call it better, %",
        ylim=(0, 100),
        xlim=(0, None),
        title="How often a lead that is there is found, at the default budget",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=130)


def write(rows: Sequence[Row], facts: dict[str, Any], defaults: Settings, output: Path) -> None:
    """``statistics.md``, its figure and its raw figures below ``output``."""
    output.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "rows": rows}
    (output / "statistics.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draw(rows, output / "statistics.png")
    (output / "statistics.md").write_text(page(rows, facts, defaults), encoding="utf-8")


def page(rows: Sequence[Row], facts: dict[str, Any], defaults: Settings) -> str:
    """The page."""
    search, confirmation = defaults.search, defaults.confirmation
    budget = (
        f"{search.trials} trials of up to {search.folds} folds, {confirmation.finalists} finalists and the "
        f"baselines on up to {confirmation.folds} fresh folds"
    )
    return f"""# How often the verdict is right

{markdown(facts)}

Whole searches on made scores, at the defaults of `augsearch run`: {budget}.
Pruner, looks, tests and verdict are the real ones. What a fold scores is the truth plus the luck of a
recorded fold: of the better half of the candidates in `benchmarks/recorded/`, scaled so that the standard
deviation between one candidate's folds is 1 point.

- **all alike**: no candidate is better than any baseline, so "better" is always wrong.
- **one strong baseline**: the candidates are like one baseline, the others are 4 points behind. Here the
  candidates have only one to beat by luck: the worst case.
- **planted x**: one of the twelve candidates is x points better than all else; all baselines are alike.
- **images**: with *any* number, the validation images are all there are; with 750, as the embedded data has,
  other images would say something else, and the verdict counts that in.
- **covered**: how often the interval of the best candidate's lead holds the truth. **bias**: by how many
  points that lead flatters, as measured and corrected for having been picked. **folds to confirm**: of all
  entries together.

![How often a lead is found](statistics.png)

{table(rows).markdown()}
"""
