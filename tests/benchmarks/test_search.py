"""The benchmark of the search is fair: the same replay for all, and figures that are right."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from optuna.pruners import NopPruner

from augsearch.search.settings.settings import Settings

ROOT = Path(__file__).parents[2]
CANDIDATES, FOLDS, PASSES = 16, 6, 100

pytestmark = pytest.mark.filterwarnings("ignore")  # Optuna's, of what is experimental


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("plans", "replays", "surrogate", "tables")
        yield SimpleNamespace(
            main=importlib.import_module("benchmarks.search.__main__"),
            recordings=importlib.import_module("benchmarks.recordings"),
            **{name: importlib.import_module(f"benchmarks.search.{name}") for name in names},
        )


def recording(benchmarks: Any, noise: float) -> Any:
    """A table that was not trained: flips do harm, a teacher helps, and the folds differ by ``noise``."""
    space, rng = Settings().space, np.random.default_rng(3)
    params = benchmarks.recordings.drawn_params(space, CANDIDATES, 1)
    worth = [
        0.8
        - 0.1 * one["flip_vertical"]
        - 0.1 * one["quarter_turns"]
        + 0.05 * one["distillation"]
        + 0.001 * index
        for index, one in enumerate(params)
    ]
    accuracy = np.array(worth)[:, None] + noise * rng.normal(size=(CANDIDATES, FOLDS))
    table = np.zeros_like(accuracy)
    return benchmarks.recordings.Recording(
        name="made",
        params=params,
        baselines=[*space.baselines, *[None] * (CANDIDATES - len(space.baselines))],
        accuracy=accuracy,
        log_loss=table,
        ece=table,
        seconds=table,
        images=table + PASSES,
        correct=np.zeros((CANDIDATES, FOLDS, 1), dtype=bool),
        longer=accuracy[: len(space.baselines)] + 0.01,
        facts={},
    )


def made(benchmarks: Any, noise: float = 0.0) -> Any:
    return benchmarks.replays.FoldTable.of(recording(benchmarks, noise), Settings().space)


def test_without_a_pruner_all_folds_are_run_and_the_best_is_picked(benchmarks: Any) -> None:
    table = made(benchmarks, noise=0.02)
    others = len(table.candidates) - table.baselines
    for seed in range(3):
        raced = benchmarks.replays.race(table, others, NopPruner(), seed)
        assert raced.images == table.images.sum() == len(table.candidates) * FOLDS * PASSES
        assert raced.best == table.means.argmax()
        assert raced.found == table.baselines + table.means[table.baselines :].argmax()


@pytest.mark.parametrize("way", ["wilcoxon", "median", "hyperband", "Optuna's Wilcoxon"])
def test_pruners_save_images_and_keep_a_best_that_is_best_on_every_fold(benchmarks: Any, way: str) -> None:
    table = made(benchmarks, noise=1e-5)
    plans = benchmarks.plans
    others = len(table.candidates) - table.baselines
    for seed in range(3):
        raced = benchmarks.replays.race(table, others, plans.pruner_named(way, FOLDS), seed)
        assert raced.images < table.images.sum()
        assert raced.images >= table.baselines * FOLDS * PASSES + others * PASSES, "each runs a fold at least"
        assert raced.best == table.means.argmax()


def test_log_loss_stops_whom_accuracy_leaves_open(benchmarks: Any) -> None:
    """Where folds differ so much in accuracy that it says little, and log-loss tells the candidates apart."""
    made = recording(benchmarks, 0.05)
    clear = replace(
        made, log_loss=1 - made.accuracy.mean(axis=1, keepdims=True) + np.zeros((CANDIDATES, FOLDS))
    )
    images = {}
    for way in ("wilcoxon", benchmarks.plans.BOTH):
        table = benchmarks.replays.FoldTable.of(clear, clear.space)
        raced = [
            benchmarks.replays.race(table, 10, benchmarks.plans.pruner_named(way, FOLDS), seed)
            for seed in range(3)
        ]
        images[way] = sum(one.images for one in raced)
    assert images[benchmarks.plans.BOTH] < images["wilcoxon"]


def test_a_replay_repeats_itself_and_others_differ(benchmarks: Any) -> None:
    table = made(benchmarks, noise=0.02)
    raced = [benchmarks.replays.race(table, 4, NopPruner(), seed) for seed in (0, 0, 1, 2, 3)]
    assert raced[0] == raced[1]
    assert len({one.found for one in raced}) > 1


def test_workers_side_by_side_race_the_same_candidates(benchmarks: Any) -> None:
    table = made(benchmarks, noise=0.02)
    one, many = (benchmarks.replays.race(table, 8, NopPruner(), 5, slots) for slots in (1, 8))
    assert one == many


def test_equal_candidates_are_one_row(benchmarks: Any) -> None:
    one = recording(benchmarks, 0.0)
    one.params.append(dict(one.params[7]))
    one.baselines.append(None)
    twice = benchmarks.recordings.Recording(
        **{name: getattr(one, name) for name in ("name", "params", "baselines", "longer", "facts")},
        **{
            name: np.concatenate([getattr(one, name), getattr(one, name)[7:8]])
            for name in ("accuracy", "log_loss", "ece", "seconds", "images", "correct")
        },
    )
    assert benchmarks.replays.FoldTable.of(twice, Settings().space).candidates == made(benchmarks).candidates


def test_what_longer_training_brings_a_baseline_is_paired_by_fold(benchmarks: Any) -> None:
    table = made(benchmarks, noise=0.02)
    assert table.gains_of_longer == pytest.approx(np.full(table.baselines, 0.01))


def test_the_surrogate_knows_what_matters_and_draws_the_same_folds_for_all(benchmarks: Any) -> None:
    table, space = made(benchmarks, noise=0.01), Settings().space
    surrogate = benchmarks.surrogate.Surrogate(table, space, "trees")
    best, worst = (table.candidates[row] for row in (table.means.argmax(), table.means.argmin()))
    assert surrogate.value(best) > surrogate.value(worst) + 0.05
    assert surrogate.best(count=40, rounds=2, seed=0) >= surrogate.values(table.candidates).max() - 0.02
    answer, again, other = (surrogate.answer(seed) for seed in (1, 1, 2))
    folds = [answer(best, fold) for fold in range(FOLDS)]
    assert folds == [again(best, fold) for fold in range(FOLDS)]
    assert folds != [other(best, fold) for fold in range(FOLDS)]
    assert {images for _, _, images in folds} == {PASSES}


def test_figures_are_those_that_one_reckons_by_hand(benchmarks: Any) -> None:
    tables, task = benchmarks.tables, benchmarks.plans.Task
    paths = {"tpe": [[10, 0.5, None], [20, 0.7, 0.6]], "random": [[15, 0.5, 0.4], [30, 0.9, 0.9]]}
    known = {task("search", "made", way, 2, 0): {"path": path} for way, path in paths.items()}
    known |= {
        task("race", "made", "none", 3, seed): {"images": 100, "best": 0.9, "found": 0.8} for seed in range(2)
    }
    known[task("race", "made", "median", 3, 0)] = {"images": 40, "best": 0.898, "found": None}
    known[task("race", "made", "median", 3, 1)] = {"images": 80, "best": 0.897, "found": 0.8}
    measured = tables.Measured("made", known, {"both": {"best": 0.8, "best baseline, longer": 0.65}})

    (race,) = tables.race_figures(measured)
    assert race["images"] == pytest.approx(0.6)
    assert race["best"][0] == race["found"][0] == race["half and near"][0] == 0.5
    assert race["same"] == 0

    assert tables.best_of(measured, "both") == 0.9, "what a search found is there"
    default, random, longer = tables.search_figures(measured, marks=(2,))
    assert default["regret, best"][0] == pytest.approx(0.2)
    assert random["regret, best"][0] == 0, "it may end the trial that it is at"
    assert random["default's lead, best"][0] == pytest.approx(-0.2)
    assert random["default's lead, found"][0] == pytest.approx(-0.3)
    assert longer["regret, best"][0] == pytest.approx(0.25)
    assert longer["default's lead, best"][0] == pytest.approx(0.05)
    assert longer["default's lead, found"][0] == pytest.approx(-0.05)


def test_a_quick_call_writes_its_page_and_a_second_one_replays_nothing(
    benchmarks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    one = recording(benchmarks, 0.01)
    figures = {name: getattr(one, name) for name in (*benchmarks.recordings.FIGURES, "longer")}
    document = {"params": one.params, "baselines": one.baselines, "facts": {}}
    np.savez(
        recorded / "made.npz",
        document=np.array(json.dumps(document)),
        scored=np.array(1),
        correct=np.packbits(one.correct, axis=-1),
        **figures,
    )
    page, raw = tmp_path / "page.md", tmp_path / "raw.json"
    command = ["--quick", "--workers=1", f"--recorded={recorded}", f"--work={tmp_path / 'work'}"]
    command += [f"--markdown={page}", f"--output={raw}"]
    first = CliRunner().invoke(benchmarks.main.main, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert page.with_suffix(".svg").exists()
    found = json.loads(raw.read_text())
    assert {one["search"] for one in found["proposing"]["made"]} == {
        *("tpe", "random", "random alone", "longer")
    }
    assert all(
        one[f"regret, {pick}"][0] >= 0 for one in found["proposing"]["made"] for pick in ("best", "found")
    )
    assert str(tmp_path) not in page.read_text() + raw.read_text()

    log = tmp_path / "work" / "replays.jsonl"
    done = log.read_text()
    log.write_text(done + '{"task": {"part": "ra')  # killed while it wrote
    monkeypatch.setattr(benchmarks.main, "work", None)
    second = CliRunner().invoke(benchmarks.main.main, command, catch_exceptions=False)
    assert second.exit_code == 0
    assert log.read_text() == done
    assert json.loads(raw.read_text())["racing"] == found["racing"]
