"""The benchmark of the techniques is fair: pairs differ in one thing, and figures are what they say."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from augsearch.policies import Distillation, UserError

ROOT = Path(__file__).parents[2]
SIDE, CLASSES, TRAINED, HELD = 16, 3, 24, 6

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    threads = torch.get_num_threads()  # the benchmark takes one
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("plans", "runs", "tables")
        yield SimpleNamespace(
            main=importlib.import_module("benchmarks.techniques.__main__"),
            ResultsFile=importlib.import_module("benchmarks.results").ResultsFile,
            comparisons=importlib.import_module("benchmarks.comparisons"),
            **{name: importlib.import_module(f"benchmarks.techniques.{name}") for name in names},
        )
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", TRAINED), ("test", HELD)):
        for label in range(CLASSES):
            (folder / part / f"class{label}").mkdir(parents=True)
            for index in range(count):
                image = np.clip(80 * label + rng.integers(0, 60, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / part / f"class{label}" / f"{index}.png"), image)
    return folder


@pytest.fixture(scope="module")
def sizes(benchmarks: Any) -> Any:
    return benchmarks.plans.Sizes(
        flower_side=SIDE,
        flower_tested=HELD,
        flower_epochs=((4, 1),),
        small_network_epochs=1,
        cifar_labels=4,
        cifar_tested=HELD,
        cifar_validated=4,
        cifar_epochs=(1,),
        candidates=2,
        candidate_epochs=1,
    )


def without(job: Any, *fields: str) -> dict[str, Any]:
    plain: dict[str, Any] = job.model_dump(exclude=set(fields))
    return plain


def test_no_image_serves_two_ends(benchmarks: Any, photos: Path, sizes: Any) -> None:
    data = benchmarks.runs.read_data("x", photos, SIDE, HELD, (4, 5))
    assert {name: len(pool) for name, pool in data.pools.items()} == {
        "test": CLASSES * HELD,
        "search": CLASSES * 4,
        "validation": CLASSES * 5,
        "final": CLASSES * (TRAINED - 9),
    }
    together = np.concatenate(list(data.pools.values()))
    assert len(np.unique(together)) == len(together) == len(data.labels)
    job = benchmarks.plans.DistillationSetting(data.name, sizes).job("tiny", seed=3)
    drawn = data.drawn(job)
    assert np.isin(drawn, data.pools["final"]).all()
    assert (np.bincount(data.labels[drawn]) == 4).all()
    assert (data.drawn(job.model_copy(update={"network": "small"})) == drawn).all()
    assert not np.array_equal(data.drawn(job.model_copy(update={"seed": 4})), drawn)
    with pytest.raises(UserError, match="has 15 training images left, and 16 are wanted"):
        data.drawn(job.model_copy(update={"images_per_class": 16}))


def test_rows_of_a_comparison_differ_in_the_technique_alone(benchmarks: Any, sizes: Any) -> None:
    plans = benchmarks.plans
    best = Distillation(temperature=4.0, alpha=0.7)
    labels, longer, one, searched, clean, teacher = plans.distillation_comparison(
        plans.DistillationSetting("x", sizes), best, epochs=1, seeds=2
    ).rows
    for seed in range(2):
        alike = [without(row.jobs[seed], "distillation", "teacher") for row in (labels, one, searched, clean)]
        assert all(job == alike[0] for job in alike)
        assert labels.jobs[seed].distillation is None
        assert longer.jobs[seed] == labels.jobs[seed].model_copy(update={"epochs": 2})
        assert one.jobs[seed].distillation == Distillation(temperature=1.0, alpha=0.7)
        assert searched.jobs[seed].distillation == best
        assert clean.jobs[seed].distillation.teacher_view == "clean"
        assert searched.jobs[seed].teacher == teacher.jobs[seed]
        assert without(teacher.jobs[seed], "network") == without(labels.jobs[seed], "network")

    small, scratch, head, full, *averaged = plans.transfer_comparison("x", "hash", 4, 30, sizes, seeds=2).rows
    for seed in range(2):
        jobs = [row.jobs[seed] for row in (small, scratch, head, full)]
        of_transfer = ("epochs", "transfer", "weights", "network")
        assert all(without(job, *of_transfer) == without(jobs[0], *of_transfer) for job in jobs)
        assert [job.weights for job in jobs] == ["none", "none", "hash", "hash"]
        assert [job.transfer and job.transfer.mode for job in jobs] == [None, None, "head", "full"]
        assert jobs[1].epochs == 2 * jobs[3].epochs == 60
        for row in averaged:
            assert row.jobs[seed].ema is not None
            assert without(row.jobs[seed], "ema") == without(full.jobs[seed], "ema")


def test_the_search_sees_no_image_of_the_comparison_and_asks_the_same_again(
    benchmarks: Any, sizes: Any
) -> None:
    asked: list[Any] = []

    def result(job: Any) -> Any:
        asked.append(job)
        accuracy = job.distillation.alpha if job.distillation else 0.5
        return outcome(benchmarks, accuracy)

    setting = benchmarks.plans.DistillationSetting("x", sizes)
    first = benchmarks.plans.search(setting, 8, result)
    second = benchmarks.plans.search(setting, 8, result)
    assert first == second
    assert len({job.key for job in asked}) == 9
    for job in asked:
        assert (job.pool, job.tested_on) == ("search", "validation")
        assert job.teacher is None or (job.teacher.pool, job.teacher.tested_on) == ("search", "validation")
    best = benchmarks.tables.best_of(first)
    assert best.alpha == max(job.distillation.alpha for job in asked if job.distillation)


def outcome(benchmarks: Any, accuracy: float, log_loss: float = 1.0) -> Any:
    return benchmarks.runs.Outcome(
        accuracy=accuracy, log_loss=log_loss, tested=100, passes=48, seconds=2.0, cpu_seconds=1.0
    )


def test_differences_are_paired_and_a_doubtful_one_is_not_shown(benchmarks: Any) -> None:
    tables = benchmarks.comparisons
    base = [outcome(benchmarks, accuracy, 1.0) for accuracy in (0.5, 0.6, 0.7)]
    better = [outcome(benchmarks, accuracy, 0.9) for accuracy in (0.52, 0.61, 0.73)]
    doubtful = [outcome(benchmarks, accuracy, 1.1) for accuracy in (0.55, 0.59, 0.7)]
    assert tables.differences(better, base) == ("+2.00 ± 1.00", "3 of 3", "+0.100 ± 0.000", "not shown")
    assert tables.differences(doubtful, base) == ("+1.33 ± 3.21", "1 of 3", "−0.100 ± 0.000", "not shown")
    # Of three, 95 % of the t distribution lie within 4.30 deviations.
    assert tables.believed([3.0, 3.5, 4.0]) == "yes"
    assert tables.believed([-3.0, -3.5, -4.0]) == "no, worse"
    assert tables.believed([0.0, 0.0, 0.0]) == "not shown"


def test_every_result_is_in_the_file_at_once_and_only_once(
    benchmarks: Any, sizes: Any, tmp_path: Path
) -> None:
    file = tmp_path / "raw.json"
    types = (benchmarks.runs.Job, benchmarks.runs.Outcome)
    results = benchmarks.ResultsFile(file, *types)
    setting = benchmarks.plans.DistillationSetting("x", sizes)
    job, other = setting.searched(), setting.teacher_of_search()
    for one, accuracy in ((job, 0.5), (other, 0.6), (job, 0.7)):
        results.keep(one, outcome(benchmarks, accuracy))
        assert benchmarks.ResultsFile(file, *types).known[one.key].accuracy == accuracy
    assert set(benchmarks.ResultsFile(file, *types).known) == {job.key, other.key}
    assert benchmarks.ResultsFile(None, *types).known == {}


def test_a_run_is_taken_up_where_it_ended(
    benchmarks: Any, photos: Path, sizes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks.plans, "QUICK", sizes)
    raw, page = tmp_path / "raw.json", tmp_path / "page.md"
    arguments = ["--quick", f"--cifar={photos}", f"--output={raw}", f"--markdown={page}"]

    def run() -> list[dict[str, Any]]:
        done = CliRunner().invoke(benchmarks.main.main, [*arguments, f"--models={tmp_path / 'models'}"])
        assert done.exit_code == 0, done.output
        trainings: list[dict[str, Any]] = json.loads(raw.read_text())["trainings"]
        return trainings

    trained = run()
    # The search: a teacher, a student on the labels alone, two candidates. Two seeds of six rows.
    assert len(trained) == 4 + 2 * 6
    assert run() == trained  # with the same seconds: nothing was trained again

    document = json.loads(raw.read_text())
    document["trainings"] = trained[:-1]
    raw.write_text(json.dumps(document))
    again = run()
    assert again[:-1] == trained[:-1]
    assert again[-1]["job"] == trained[-1]["job"]
    measured = ("accuracy", "log_loss", "passes", "tested")
    assert [again[-1]["outcome"][name] for name in measured] == [
        trained[-1]["outcome"][name] for name in measured
    ]
    for text in (raw.read_text(), page.read_text()):
        assert str(tmp_path) not in text
        assert str(ROOT) not in text


def test_transfer_is_measured_with_the_weights_that_are_given(
    benchmarks: Any, photos: Path, sizes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm", reason="needs timm; `make bench-techniques` installs it")
    monkeypatch.setattr(benchmarks.plans, "QUICK", sizes)
    weights, raw = tmp_path / "weights.pth", tmp_path / "raw.json"
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), weights)
    arguments = ["--quick", f"--flowers={photos}", f"--weights={weights}", f"--output={raw}"]
    done = CliRunner().invoke(benchmarks.main.main, [*arguments, f"--models={tmp_path / 'models'}"])
    assert done.exit_code == 0, done.output
    jobs = [one["job"] for one in json.loads(raw.read_text())["trainings"]]
    assert [job.get("transfer", {}).get("mode") for job in jobs] == 2 * [None, None, "head", *3 * ["full"]]
    assert {job["weights"] for job in jobs} == {"none", benchmarks.runs.hash_of(weights)}
    assert "Transfer: flower_photos, 4 labels a class" in done.output


def test_a_call_without_images_says_what_is_missing(benchmarks: Any) -> None:
    done = CliRunner().invoke(benchmarks.main.main, [])
    assert done.exit_code == 2
    assert "give --flowers, --cifar or both" in done.output
