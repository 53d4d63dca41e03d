"""The replays of ``benchmarks.search``: which there are, and doing one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

import optuna
from optuna.pruners import BasePruner

from augsearch.search.settings.sections import Pruner, Sampler
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.pruner import pruner_of
from benchmarks.recordings import read_recording
from benchmarks.search.both import BothPruner
from benchmarks.search.replays import FoldTable, ReplayEngine, new_study, race, replay
from benchmarks.search.surrogate import Kind, Surrogate

OPTUNAS = "Optuna's Wilcoxon"
"""Its pruner as it comes, but for a start at the third fold: it knows nothing of the noise."""
BOTH = "accuracy and log-loss"
"""Ours, by the sum of their z-scores."""
PRUNERS = ("none", "wilcoxon", BOTH, OPTUNAS, "median", "hyperband")
ALONE = "random alone"
"""Random search without the baselines."""
SEEDS_APART = 10_000
"""Between the seeds of two searches."""


@dataclass(frozen=True, slots=True)
class Task:
    """One replay."""

    part: Literal["race", "search", "surrogate"]
    data: str
    way: str = ""
    """A pruner or a search."""
    count: int = 0
    """Candidates beside the baselines; trials; draws."""
    seed: int = 0
    truth: Kind = "both"
    """What a search searches in."""
    slots: int = 1
    images: float | None = None
    """A search goes on until it has used so many, whatever its trials."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is replayed."""

    races: int = 500
    all_races: int = 200
    """Races of all recorded candidates."""
    few: int = 12
    """Candidates of a default run."""
    searches: int = 200
    trials: int = 100
    others: int = 40
    """Trials in the other surrogates."""
    few_searches: int = 50
    """Searches in the other surrogates."""
    pool: int = 4000
    """Draws among which the best there is is looked for."""

    marks: tuple[int, ...] = (16, 40, 100)
    """Trials of the default search after which the others are compared with it."""


QUICK = Sizes(races=8, all_races=2, searches=4, trials=16, others=16, few_searches=2, pool=200, marks=(16,))


@lru_cache
def table_of(folder: Path, data: str) -> FoldTable:
    """A recorded table."""
    recording = read_recording(folder / f"{data}.npz")
    return FoldTable.of(recording, recording.space)


@lru_cache
def surrogate_of(folder: Path, data: str, kind: Kind) -> Surrogate:
    """The surrogate that is fitted to it."""
    table = table_of(folder, data)
    return Surrogate(table, table.space, kind)


def work(task: Task, folder: Path) -> dict[str, Any]:
    """Do one replay."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, of what is experimental
        return {"race": _race, "search": _search, "surrogate": _surrogate}[task.part](task, folder)


def pruner_named(way: str, folds: int) -> BasePruner:
    """The pruner of that name in the settings, ``BOTH`` or ``OPTUNAS``."""
    if way == OPTUNAS:
        return optuna.pruners.WilcoxonPruner(n_startup_steps=2)
    if way == BOTH:
        return BothPruner()
    return pruner_of(cast(Pruner, way), folds)


def _race(task: Task, folder: Path) -> dict[str, Any]:
    table = table_of(folder, task.data)
    pruner = pruner_named(task.way, table.accuracy.shape[1])
    raced = race(table, task.count, pruner, task.seed, task.slots)
    means = table.means
    return {
        "images": raced.images,
        "best": float(means[raced.best]),
        "found": None if raced.found is None else float(means[raced.found]),
    }


def _search(task: Task, folder: Path) -> dict[str, Any]:
    surrogate = surrogate_of(folder, task.data, task.truth)
    settings = Settings.of(
        trials=task.count if task.images is None else 100_000,
        sampler=cast(Sampler, task.way.partition(" ")[0]),
        seed=SEEDS_APART * task.seed,
    )
    pruner = pruner_of(settings.search.pruner, settings.search.folds)
    study = new_study(table_of(folder, task.data).space, pruner, baselines=task.way != ALONE)
    engine = ReplayEngine(surrogate.answer(task.seed), task.slots)
    path = [
        (state.images, *(pick and surrogate.value(pick) for pick in (state.best, state.found)))
        for state in replay(study, engine, settings, task.images or float("inf"))
    ]
    return {"path": path}


def _surrogate(task: Task, folder: Path) -> dict[str, Any]:
    surrogate, table = surrogate_of(folder, task.data, task.truth), table_of(folder, task.data)
    baselines = surrogate.values(table.candidates[: table.baselines])
    return {
        "rank correlation": surrogate.rank_correlation,
        "explained": surrogate.explained,
        "best": surrogate.best(task.count, rounds=10, seed=0),
        "best baseline": float(baselines.max()),
        "best baseline, longer": float((baselines + table.gains_of_longer).max()),
        "best recorded": float(table.means.max()),
    }


def race_tasks(data: str, recorded: int, sizes: Sizes) -> Iterator[Task]:
    """The races of some of a table's ``recorded`` candidates, as many as a default run has, and of all."""
    for count, replays in ((sizes.few, sizes.races), (recorded, sizes.all_races)):
        for seed in range(replays):
            for pruner in PRUNERS:
                yield Task("race", data, pruner, count, seed)
            for slots in (2, 8):
                yield Task("race", data, "wilcoxon", count, seed, slots=slots)


def surrogate_tasks(data: str, sizes: Sizes) -> list[Task]:
    """How good each surrogate is."""
    return [Task("surrogate", data, count=sizes.pool, truth=truth) for truth in get_args(Kind)]


def default_tasks(data: str, sizes: Sizes) -> Iterator[Task]:
    """The default search, in each surrogate."""
    for seed in range(sizes.searches):
        yield Task("search", data, "tpe", sizes.trials, seed)
    for seed in range(sizes.few_searches):
        for truth in get_args(Kind)[1:]:
            yield Task("search", data, "tpe", sizes.others, seed, truth)


def other_tasks(default: Task, sizes: Sizes, path: list[Any]) -> Iterator[Task]:
    """What is compared with a replay of the default search: each with as many images."""
    one = replace(default, way="random", count=0, images=path[-1][0])
    yield one
    if default.truth == "both":
        yield replace(one, way=ALONE)
