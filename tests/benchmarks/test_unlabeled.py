"""The benchmark of unlabeled images is fair: equal passes, no image for two ends, figures that are right."""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from augsearch.policies import Policy, UserError
from augsearch.trainers.semi.self_training import SelfTraining

ROOT = Path(__file__).parents[2]
SIDE, CLASSES, TRAINED, HELD = 12, 3, 40, 6
SEARCH, VALIDATION, LABELS, BUDGET = 12, 4, 4, 400


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    threads = torch.get_num_threads()  # the benchmark takes one
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("plans", "runs", "tables", "data", "costs")
        found = {name: importlib.import_module(f"benchmarks.unlabeled.{name}") for name in names}
        main = importlib.import_module("benchmarks.unlabeled.__main__")
        results = importlib.import_module("benchmarks.results").ResultsFile
        workers = importlib.import_module("benchmarks.workers")
        yield SimpleNamespace(main=main, ResultsFile=results, workers=workers, **found)
        torch.set_num_threads(threads)


def pictures(per_class: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), per_class))
    noise = rng.integers(0, 60, (len(labels), SIDE, SIDE))
    return (80 * labels[:, None, None] + noise).clip(0, 255).astype(np.uint8), labels.astype(np.uint8)


def write_idx(file: Path, array: Any) -> None:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    file.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    for seed, (prefix, per_class) in enumerate((("train", TRAINED), ("t10k", HELD))):
        images, labels = pictures(per_class, seed)
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture(scope="module")
def stored(benchmarks: Any, fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return benchmarks.data.fashion_mnist(fashion, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def sizes(benchmarks: Any) -> Any:
    plans = benchmarks.plans
    part = replace(
        plans.FASHION_10,
        images_per_class=LABELS,
        seeds=2,
        budget=BUDGET,
        candidate_budget=60,
        # Sure of all, so that every batch is full.
        techniques=plans.techniques(ratio=2, threshold=0.0),
        network="tiny",
    )
    division = benchmarks.data.Division(search=SEARCH, validation=VALIDATION)
    parts = (part, replace(part, name="cifar-250"))
    return plans.Sizes(parts, division, candidates=3, draws=2, together=2)


@pytest.fixture(scope="module")
def setting(benchmarks: Any, sizes: Any, stored: Any) -> Any:
    rows = stored.pools(sizes.division).rows
    in_pool = (len(rows["final"]), len(rows["search"]))
    return benchmarks.plans.Setting(sizes.parts[0], sizes, stored.name, CLASSES, in_pool)


def outcome(benchmarks: Any, accuracy: float, log_loss: float = 1.0, **more: Any) -> Any:
    common = {"tested": 100, "passes": 400, "seconds": 2.0, "cpu_seconds": 1.0, "looked_at": 0}
    return benchmarks.runs.Outcome(accuracy=accuracy, log_loss=log_loss, **common | more)


def test_no_image_serves_two_ends(benchmarks: Any, stored: Any, setting: Any) -> None:
    pools = stored.pools(setting.sizes.division)
    assert {name: len(rows) for name, rows in pools.rows.items()} == {
        "test": CLASSES * HELD,
        "search": CLASSES * SEARCH,
        "validation": CLASSES * VALIDATION,
        "final": CLASSES * (TRAINED - SEARCH - VALIDATION),
    }
    together = np.concatenate(list(pools.rows.values()))
    assert len(np.unique(together)) == len(together) == len(pools.labels)
    assert (pools.rows["test"] >= CLASSES * TRAINED).all()

    policy = setting.part.baseline
    for technique in setting.part.techniques:
        row, candidate = setting.job(technique, policy, 1), setting.searched(policy, 1)
        assert (row.tested_on, candidate.tested_on) == ("test", "validation")
        seen = {}
        for job in (row, candidate):
            labeled, unlabeled = benchmarks.runs.drawn(job, pools)
            assert (np.bincount(pools.labels[labeled]) == LABELS).all()
            seen[job.pool] = np.concatenate((labeled, unlabeled))
            assert np.array_equal(np.sort(seen[job.pool]), pools.rows[job.pool])
        assert not np.isin(seen["final"], seen["search"]).any()


def test_all_rows_of_a_seed_have_the_same_labels_drawn_anew_for_each_seed(
    benchmarks: Any, stored: Any, setting: Any
) -> None:
    pools, policies = stored.pools(setting.sizes.division), (setting.part.baseline, Policy(num_ops=1))
    rows = [benchmarks.plans.Rows.of(setting, policy) for policy in policies]
    by_seed = [
        {benchmarks.runs.drawn(job, pools)[0].tobytes() for one in rows for job in one.of_seed(seed)}
        for seed in range(2)
    ]
    assert [len(draws) for draws in by_seed] == [1, 1]
    assert by_seed[0] != by_seed[1]


@pytest.mark.parametrize("name", ["labels only", "pseudo", "self-training", "fixmatch"])
def test_every_row_trains_on_as_many_images(benchmarks: Any, stored: Any, setting: Any, name: str) -> None:
    technique, labeled = setting.technique(name), CLASSES * LABELS
    unlabeled = setting.in_pool[0] - labeled
    job = setting.job(technique, setting.part.baseline, 0)
    done = benchmarks.runs.train_job(job, stored)
    epoch = benchmarks.plans.passes(technique, labeled, unlabeled, job.recipe.epochs + 1) - done.passes
    assert abs(done.passes - BUDGET) <= epoch / 2
    assert done.passes == benchmarks.plans.passes(technique, labeled, unlabeled, job.recipe.epochs)
    assert done.tested == CLASSES * HELD
    of_labels = job.recipe.epochs * 8  # of twelve labels a batch takes eight, and four fill none
    looked_at = {
        "labels only": 0,
        "pseudo": 3 * unlabeled,
        "self-training": 3 * unlabeled,
        "fixmatch": done.passes - of_labels,
    }
    assert done.looked_at == looked_at[name]
    assert done.used == (None if name == "labels only" else 1.0)
    assert (done.pseudo_accuracy is None) == (name == "labels only")


def test_epochs_come_as_near_to_the_budget_as_whole_ones_can(benchmarks: Any) -> None:
    plans = benchmarks.plans
    for part in plans.FULL["cuda"].parts + plans.FULL["cpu"].parts:
        labeled = 10 * part.images_per_class
        for technique in part.techniques:
            epochs = plans.epochs_within(part.budget, technique, labeled, 48_000 - labeled)
            off = [
                abs(plans.passes(technique, labeled, 48_000 - labeled, one) - part.budget)
                for one in range(max(1, epochs - 9), epochs + 10)
            ]
            assert min(off) == abs(plans.passes(technique, labeled, 48_000 - labeled, epochs) - part.budget)
            assert min(off) < 0.03 * part.budget, (part.name, technique.name)
    # 100 labels make 6 steps of 16, each with 7 · 16 unlabeled: 768 passes an epoch.
    fixmatch = plans.FASHION_10.techniques[-1]
    assert plans.passes(fixmatch, 100, 47_900, 10) == 7_680
    assert plans.epochs_within(300_000, fixmatch, 100, 47_900) == 391


def test_what_is_learned_of_unlabeled_images_is_what_is_said_of_them(
    benchmarks: Any, stored: Any, setting: Any
) -> None:
    sure_of_none = SelfTraining(threshold=1.0, rounds=2)
    technique = replace(setting.technique("self-training"), semi=sure_of_none)
    done = benchmarks.runs.train_job(setting.job(technique, setting.part.baseline, 0, epochs=2), stored)
    assert done.used == 0.0
    assert done.pseudo_accuracy is None
    assert done.passes == 3 * 2 * 8
    patient = replace(technique, teacher_factor=3)
    done = benchmarks.runs.train_job(setting.job(patient, setting.part.baseline, 0, epochs=2), stored)
    assert done.passes == (3 + 2) * 2 * 8
    # Students begin with weights of their own, and the first to learn as all rows of its seed do.
    seeds = [benchmarks.runs.seeds(5, student) for student in range(4)]
    assert seeds[0] == (5, 5)
    assert len({weights for weights, _ in seeds}) == 4


def test_the_search_begins_with_the_baseline_and_goes_on_from_the_best(benchmarks: Any, setting: Any) -> None:
    known: dict[str, Any] = {}
    asked: list[list[Any]] = []

    def train(jobs: Any) -> bool:
        asked.append(list(jobs))
        for number, job in enumerate(asked[-1]):
            known.setdefault(job.key, outcome(benchmarks, 0.5 + 0.01 * len(asked) + 0.001 * number))
        return True

    setting = replace(setting, sizes=replace(setting.sizes, candidates=8, together=3))
    first, ended = benchmarks.plans.search(setting, train, known)
    assert ended
    assert [len(jobs) for jobs in asked] == [2, 6, 6, 2]
    assert first[0].policy == setting.part.baseline
    assert len({one.policy for one in first}) == 8
    assert all((job.pool, job.tested_on) == ("search", "validation") for jobs in asked for job in jobs)
    for jobs in asked:
        by_draw = {seed: [job for job in jobs if job.seed == seed] for seed in (0, 1)}
        assert [job.policy for job in by_draw[0]] == [job.policy for job in by_draw[1]]
    assert benchmarks.plans.best_of(first) is first[-1]
    assert benchmarks.plans.search(setting, lambda jobs: True, known) == (first, True)

    del known[asked[-1][-1].key]
    found, ended = benchmarks.plans.search(setting, lambda jobs: False, known)
    assert (found, ended) == (first[:-1], False)


def test_figures_are_those_that_one_reckons_by_hand(benchmarks: Any, setting: Any) -> None:
    searched = Policy(num_ops=1, magnitude=5)
    sets = [benchmarks.plans.Rows.of(setting, policy) for policy in (setting.part.baseline, searched)]
    known: dict[str, Any] = {}
    accuracies = {"labels only": (0.5, 0.6), "pseudo": (0.6, 0.72), "fixmatch": (0.45, 0.7)}
    for better, rows in zip((0.0, 0.02), sets, strict=True):
        for name, jobs in rows.jobs.items():
            for job, accuracy in zip(jobs, accuracies.get(name, (0.4, 0.5)), strict=True):
                more = {"used": accuracy, "pseudo_accuracy": 0.9} if job.semi else {}
                known[job.key] = outcome(benchmarks, accuracy + better, 1 - better, looked_at=20, **more)
    assert benchmarks.tables.whole_seeds(sets, known) == [0, 1]
    under_baseline, under_searched, steps = benchmarks.tables.comparisons(setting, sets, [0, 1], known)
    rows = {row[0]: row[1:] for row in under_baseline.rows}
    assert list(rows) == [
        *("labels only", "pseudo", "self-training", "fixmatch"),
        f"labels only, {setting.epochs(setting.technique('fixmatch'))} epochs",
    ]
    # √2 · 5 = 7.1; of 10 and 12 points the mean is 11 and the deviation 1.41: t = 11.0, and 12.7 is wanted.
    assert rows["labels only"] == ("55.0 ± 7.1", "1.000 ± 0.000", *4 * ("",), "400", "1", "20", "", "")
    assert rows["pseudo"][2:6] == ("+11.00 ± 1.41", "2 of 2", "+0.000 ± 0.000", "not shown")
    assert rows["pseudo"][-2:] == ("66.0 ± 8.5", "90.0 ± 0.0")
    assert rows["fixmatch"][2:4] == ("+2.50 ± 10.61", "1 of 2")
    assert {row[0]: row for row in under_searched.rows}["pseudo"][3] == "+11.00 ± 1.41"
    for row in steps.rows:
        assert row[1:4] == ("+2.00 ± 0.00", "2 of 2", "+0.020 ± 0.000")

    del known[sets[1].jobs["pseudo"][1].key]
    assert benchmarks.tables.whole_seeds(sets, known) == [0]
    table = benchmarks.tables.comparisons(setting, sets, [0], known)[0]
    assert "1 more seeds are to come" in table.notes
    assert table.rows[1][1] == "60.0"


def test_a_run_is_taken_up_where_it_ended(
    benchmarks: Any, fashion: Path, sizes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks.plans, "quick", lambda full: sizes)
    raw, page = tmp_path / "raw.json", tmp_path / "page.md"
    arguments = ["--quick", f"--fashion={fashion}", f"--output={raw}", f"--markdown={page}"]

    def run(*more: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(
            benchmarks.main.main, [*arguments, f"--models={tmp_path / 'models'}", *more]
        )
        assert done.exit_code == 0, done.output
        trainings: list[dict[str, Any]] = json.loads(raw.read_text())["trainings"] if raw.exists() else []
        return trainings

    assert run("--minutes=0") == []
    trained = run()
    # Three candidates in two draws; two seeds of five rows, under one policy or two.
    assert len(trained) in (6 + 2 * 5, 6 + 2 * 10)
    seeds = [one["job"]["seed"] for one in trained[6:]]
    assert seeds == sorted(seeds)
    assert run() == trained  # with the same seconds: nothing was trained again
    assert "The search for a policy: Fashion-MNIST, 4 labels a class" in page.read_text()

    document = json.loads(raw.read_text())
    document["trainings"] = trained[:-1]
    raw.write_text(json.dumps(document))
    assert run("--minutes=0") == trained[:-1]
    assert "Not all is trained: 1 more seeds are to come" in page.read_text()
    again = run()
    assert again[:-1] == trained[:-1]
    assert again[-1]["job"] == trained[-1]["job"]
    measured = ("accuracy", "log_loss", "passes", "looked_at")
    assert [again[-1]["outcome"][name] for name in measured] == [
        trained[-1]["outcome"][name] for name in measured
    ]
    for text in (raw.read_text(), page.read_text()):
        assert str(tmp_path) not in text
        assert str(ROOT) not in text


def test_processes_train_what_one_would(benchmarks: Any, stored: Any, setting: Any, tmp_path: Path) -> None:
    runs, workers = benchmarks.runs, benchmarks.workers
    jobs = [setting.searched(Policy(num_ops=1), draw) for draw in range(3)]
    results = benchmarks.ResultsFile(tmp_path / "raw.json", runs.Job, runs.Outcome)
    with workers.worker_processes(2) as executor:  # of which one is started: each imports torch
        pool = workers.WorkerPool(
            runs.train_job,
            runs.describe,
            {stored.name: stored},
            results.known,
            results.keep,
            lambda line: None,
            executor=executor,
            workers=1,
        )
        assert pool.train(jobs)
        assert pool.trained == 3
        assert pool.train(jobs)
        assert pool.trained == 3
    kept = benchmarks.ResultsFile(tmp_path / "raw.json", runs.Job, runs.Outcome).known
    here = runs.train_job(jobs[2], stored)
    assert kept[jobs[2].key].model_dump(exclude={"seconds", "cpu_seconds"}) == here.model_dump(
        exclude={"seconds", "cpu_seconds"}
    )


def test_only_the_parts_that_are_named_are_measured(benchmarks: Any) -> None:
    full, some = benchmarks.plans.FULL, Path("cifar")

    def names(device: str, only: str | None, cifar: Path | None) -> list[str]:
        return [part.name for part in benchmarks.main.chosen_parts(full[device], only, cifar)]

    assert names("cpu", None, None) == ["fashion-10", "fashion-100", "fashion-10-long"]
    assert names("cpu", None, some) == ["fashion-10", "fashion-100", "cifar-250", "fashion-10-long"]
    assert names("cuda", None, some) == ["fashion-10", "fashion-100", "cifar-40", "cifar-250"]
    assert names("cpu", "cifar-250, fashion-10", some) == ["fashion-10", "cifar-250"]
    for only, cifar, complaint in (
        ("fashion-11", some, "there is no 'fashion-11'"),
        ("cifar-40", some, "there is no 'cifar-40' on this device"),
        ("cifar-250", None, "--only cifar-250 needs --cifar"),
    ):
        done = CliRunner().invoke(
            benchmarks.main.main, ["--quick", f"--only={only}", *([f"--cifar={ROOT}"] if cifar else [])]
        )
        assert done.exit_code == 2
        assert complaint in done.output


def test_images_that_are_missing_or_damaged_are_named_in_one_line(
    benchmarks: Any, fashion: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(benchmarks.main.main, ["--quick", f"--fashion={tmp_path}"])
    assert done.exit_code == 1
    assert "apt-get install dataset-fashion-mnist, or give --fashion" in done.output
    assert "Traceback" not in done.output
    file = tmp_path / "labels.gz"
    write_idx(file, np.zeros(7, np.uint8))
    assert len(benchmarks.data.read_idx(file, 1)) == 7
    for content in (b"no gzip", gzip.compress(b"\0\0\x08\x01\0\0\0\x09123"), gzip.compress(b"")):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"labels\.gz"):
            benchmarks.data.read_idx(file, 1)


def test_class_folders_are_decoded_once(benchmarks: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cifar"
    for part, per_class in (("train", 5), ("test", 2)):
        images, labels = pictures(per_class, 0)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            (folder / part / f"class{label}").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(folder / part / f"class{label}" / f"{number}.png"), cv2.merge([image] * 2 + [image // 2])
            )
    told: list[int] = []
    first, second = (
        benchmarks.data.cifar10(folder, tmp_path / "models", lambda done, of: told.append(done))
        for _ in range(2)
    )
    assert first == second
    assert told == [CLASSES * 7]
    pools = first.pools(benchmarks.data.Division(search=1, validation=1))
    assert pools.images.shape == (CLASSES * 7, 32, 32, 3)
    assert {name: len(rows) // CLASSES for name, rows in pools.rows.items()} == {
        "test": 2,
        "search": 1,
        "validation": 1,
        "final": 3,
    }


def test_loops_whose_costs_are_compared_train_on_equal_batches(benchmarks: Any) -> None:
    costs = benchmarks.costs
    images, labels = pictures(64, 0)
    told: list[str] = []
    sizes = costs.CostSizes(rounds=2, steps=6, labeled_images=96, labelings=1, epochs=30)
    labels = labels.astype(np.int64)
    figures = costs.measure(images[..., np.newaxis], labels, "cpu", sizes, told.append)
    assert [len(rates) for rates in figures["loop"].values()] == [2, 2]
    assert figures["labeling"]["images"] == 96
    timed = costs.CostTimer(images[..., np.newaxis], labels, torch.device("cpu"))
    pool = timed.known_pool(np.arange(90))
    assert (pool.targets(pool.rows).argmax(axis=1) == labels[:90]).all()
    assert len(pool.rows) == 90

    facts = {"device": "cpu", "date": "", "commit": "", "command": "", "side": 12, "channels": 1}
    found = {
        "loop": {"without": [100.0, 100.0, 100.0], "with": [89.0, 90.0, 91.0]},
        "labeling": {
            "images": 96,
            "epochs": 30,
            "guessed": [(2.0, 3.0)],
            "stored": [(4.0, 5.0)],
            "known": [(1.0, 1.0)],
            "training": [(100.0, 110.0)],
            "facts": facts,
        },
        "facts": facts,
    }
    loop, labeling = costs.cost_tables(found)
    # The deviation of the ratios is 0.01, of their mean 0.01 / √3, and t for three values 4.303.
    assert loop.rows[-1] == ("ratio", "0.900 ± 0.025")
    assert labeling.rows[0] == ("labeling in memory", "2", "3", "2.0")
    assert labeling.rows[-1] == ("a training of 30 epochs", "100", "110", "100.0")
