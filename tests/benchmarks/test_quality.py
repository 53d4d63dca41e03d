"""The benchmark of quality is fair: rows differ in the policy alone, and no searched image is tested on."""

from __future__ import annotations

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

from augsearch.policies import (
    Distillation,
    Policy,
    PolicyFile,
    Training,
    UserError,
    read_policy,
    write_policy,
)
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.statistics.paired import Difference
from augsearch.trainers.data.dataset import Split

ROOT = Path(__file__).parents[2]
CLASSES, LEARNED, HELD = 3, 24, 6


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    threads = torch.get_num_threads()  # the benchmark takes one
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("data", "plans", "runs", "search", "tables")
        found = {name: importlib.import_module(f"benchmarks.quality.{name}") for name in names}
        main = importlib.import_module("benchmarks.quality.__main__")
        yield SimpleNamespace(main=main, **found)
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders in ``train/`` and ``test/``, of classes that can be learned."""
    folder = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for part, count in (("train", LEARNED), ("test", HELD)):
        for label in range(CLASSES):
            (folder / part / f"class{label}").mkdir(parents=True)
            for index in range(count):
                image = np.clip(80 * label + rng.integers(0, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / part / f"class{label}" / f"{index}.png"), image)
    return folder


@pytest.fixture(scope="module")
def data(benchmarks: Any, cifar: Path, work: Path) -> Any:
    return benchmarks.data.cifar_10(cifar, work, 20, None, quiet)


@pytest.fixture(scope="module")
def sizes(benchmarks: Any) -> Any:
    return replace(benchmarks.plans.QUICK, epochs=2)


def test_labels_are_drawn_once_and_the_given_test_images_stay_the_test(data: Any) -> None:
    images, splits = data.images, data.splits
    learned = np.concatenate((splits.train, splits.validation, splits.confirmation))
    assert (np.bincount(images.labels[learned]) == 20).all()
    assert (np.bincount(images.labels[splits.test]) == HELD).all()
    assert (images.given[splits.test] == Split.TEST).all()
    assert len(np.unique(np.concatenate((learned, splits.test)))) == len(images.labels)
    assert data.title == "CIFAR-10, 60 labels"


def test_folders_without_test_images_are_refused(benchmarks: Any, cifar: Path, work: Path) -> None:
    with pytest.raises(UserError, match="needs train/ and test/"):
        benchmarks.data.cifar_10(cifar / "train", work, 20, None, quiet)


def test_flowers_are_divided_as_a_run_would(benchmarks: Any, cifar: Path, tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "train").symlink_to(cifar / "train")
    (tmp_path / "flowers" / "val").symlink_to(cifar / "test")
    splits = benchmarks.data.flower_photos(tmp_path / "flowers", tmp_path, quiet).splits
    # The validation part that is given is halved, and the test is a fifth of what is given to train on.
    counts = [len(part) for part in (splits.train, splits.validation, splits.confirmation, splits.test)]
    assert counts == [58, 9, 9, 14]


def test_rows_differ_in_the_policy_alone(benchmarks: Any, data: Any) -> None:
    plans = benchmarks.plans
    distils = Training(distillation=Distillation(temperature=4.0, alpha=0.5))
    evidence = {
        "recommended": 4,
        "confirmation": [{"name": "trial 4", "number": 4}, {"name": "trial 5", "number": 5}],
        "differences": [
            {"better": "trial 4", "worse": "none", "mean": 0.3},
            {"better": "trial 4", "worse": "flip + crop", "mean": 0.1},
            {"better": "trial 5", "worse": "RandAugment (2, 9)", "mean": 0.05},
        ],
    }
    exported = PolicyFile(policy=Policy(num_ops=3, magnitude=5), training=distils, evidence=evidence)
    rows = plans.Rows(data, plans.Sizes())
    baselines, searched = rows.baselines(), rows.searched(exported, PolicyFile(policy=Policy(num_ops=1)))
    assert [row.name for row in baselines] == list(BASELINE_POLICIES)
    names = [plans.EXPORTED, plans.WITHOUT_TEACHER, f"{plans.WITHOUT_TEACHER}, {plans.LONGER}"]
    assert [row.name for row in searched] == [*names, f"flip + crop, {plans.LONGER}", plans.RUNNER_UP]
    longer = searched[2:4]
    assert [row.jobs[0].policy for row in longer] == [exported.policy, BASELINE_POLICIES["flip + crop"]]
    assert {row.jobs[0].plan.recipe.epochs for row in longer} == {300}
    assert {row.jobs[0].teacher for row in longer} == {None}
    others = [row for row in searched if row not in longer]
    for jobs in zip(*(row.jobs for row in (*baselines, *others)), strict=True):
        alike = [job.model_dump(exclude={"policy", "training", "teacher"}) for job in jobs]
        assert all(one == alike[0] for one in alike)
    first = searched[0].jobs[0]
    assert (first.training, first.teacher) == (distils, "self")
    assert searched[1].jobs[0] == first.model_copy(update={"training": Training(), "teacher": None})
    assert [job.seed for job in searched[0].jobs] == [0, 1, 2, 3, 4]
    # 60 images to train and validate on want the most epochs that a final training has by default.
    assert (first.plan.model, first.plan.recipe.epochs) == ("medium", 150)
    assert plans.sizes_of(False, 9).seeds == 9


def test_a_candidate_with_a_teacher_meets_what_was_exported_for_as_many_passes(
    benchmarks: Any, data: Any, sizes: Any
) -> None:
    plans = benchmarks.plans
    distils = Training(distillation=Distillation(temperature=4.0, alpha=0.5))
    evidence = {"verdict": "It is as good.", "kind": "as good", "margin": 0.01}
    exported = PolicyFile(policy=BASELINE_POLICIES["TrivialAugment"], evidence=evidence)
    candidate = PolicyFile(policy=Policy(num_ops=1), training=distils)
    rows = plans.Rows(data, sizes)
    searched, baselines = rows.searched(exported, candidate), rows.baselines()
    assert [row.name for row in searched] == [plans.EXPORTED, plans.EXPORTED_LONGER, plans.RUNNER_UP]
    assert searched[1].jobs[0].plan.recipe.epochs == 2 * searched[0].jobs[0].plan.recipe.epochs
    right = {plans.EXPORTED_LONGER: 18, plans.RUNNER_UP: 16, plans.EXPORTED: 12, "TrivialAugment": 12}
    known = {
        job.key: outcome(benchmarks, [index < right.get(row.name, 2) for index in range(18)])
        for row in (*searched, *baselines)
        for job in row.jobs
    }

    def said(rows: list[Any]) -> tuple[str, ...]:
        found: tuple[str, ...] = benchmarks.tables.verdicts(
            [benchmarks.tables.Result(data, rows, known, exported)]
        ).rows[0]
        return found

    _, _, measured, held = said([*searched, *baselines])
    assert "over best policy of the search for as many passes" in measured
    assert held != "contradicted"
    assert said([searched[0], searched[2], *baselines])[3] == "contradicted"


def test_all_data_sets_have_their_first_seed_before_any_has_its_second(benchmarks: Any, data: Any) -> None:
    plans = benchmarks.plans
    rows = plans.Rows(data, plans.Sizes(seeds=3)).baselines()
    assert [job.seed for job in plans.seed_by_seed(rows)] == [0] * 6 + [1] * 6 + [2] * 6


def test_a_training_is_the_librarys_and_goes_on_after_a_stop(
    benchmarks: Any, data: Any, sizes: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    runs = benchmarks.runs
    job = benchmarks.plans.Rows(data, sizes).baselines()[1].jobs[1]
    outcome = runs.train_job(job, (data, work))
    assert outcome.passes == 2 * 48  # of 51 images, in batches of 8
    assert outcome.tested == CLASSES * HELD
    assert outcome.hits.mean() == pytest.approx(outcome.accuracy)
    assert (outcome.as_fold.correct == outcome.hits).all()
    assert list((work / "trainings").glob("*/*.safetensors")) == []

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "test_final", stopped)
        with pytest.raises(KeyboardInterrupt):
            runs.train_job(job, (data, work))
    assert len(list((work / "trainings").glob("*/model.safetensors"))) == 1
    again = runs.train_job(job, (data, work))
    untimed = {"seconds", "cpu_seconds"}
    assert again.model_dump(exclude=untimed) == outcome.model_dump(exclude=untimed)
    other = runs.train_job(job.model_copy(update={"seed": 0}), (data, work))
    assert (other.log_loss, other.correct) != (outcome.log_loss, outcome.correct)


def test_a_policy_that_distils_has_a_teacher_of_its_seed(
    benchmarks: Any, data: Any, sizes: Any, work: Path
) -> None:
    torch.set_num_threads(1)
    training = Training(distillation=Distillation(temperature=2.0, alpha=0.9))
    alone = benchmarks.plans.Rows(data, sizes).baselines()[0].jobs
    before = set((work / "trainings").glob("teachers/*.safetensors"))
    taught = [
        benchmarks.runs.train_job(
            job.model_copy(update={"training": training, "teacher": "tiny"}), (data, work)
        )
        for job in alone
    ]
    assert len(set((work / "trainings").glob("teachers/*.safetensors")) - before) == len(taught) == 2
    assert taught[0].log_loss != benchmarks.runs.train_job(alone[0], (data, work)).log_loss


def test_a_policy_that_was_searched_on_other_images_is_refused(
    benchmarks: Any, data: Any, tmp_path: Path
) -> None:
    def given(**made_from: str) -> Any:
        known = {"data": f"any name {data.fingerprint}", "splits": data.division}
        file = PolicyFile(policy=Policy(num_ops=1), provenance={"made_from": {**known, **made_from}})
        write_policy(file, tmp_path / f"{data.key}.json")
        return benchmarks.search.exported(data, tmp_path)

    assert benchmarks.search.exported(data, tmp_path) is None
    assert given().policy == Policy(num_ops=1)
    for made_from in ({"data": "any name 0123456789ab"}, {"splits": "0123456789ab"}):
        with pytest.raises(UserError, match="the search may have seen its test images"):
            given(**made_from)


def difference(low: float, high: float) -> Difference:
    return Difference("a", "b", (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("kind", "leads", "held"),
    [
        ("better", [(0.01, 0.03), (0.02, 0.04)], "holds"),
        ("better", [(0.01, 0.03), (-0.01, 0.04)], "not contradicted"),
        ("better", [(0.01, 0.03), (-0.03, -0.01)], "contradicted"),
        ("as good", [(-0.005, 0.01), (0.0, 0.02)], "holds"),
        ("as good", [(-0.02, 0.01)], "not contradicted"),
        ("as good", [(-0.04, -0.02)], "contradicted"),
        ("undecided", [(-0.04, -0.02)], "it claims nothing"),
    ],
)
def test_a_verdict_is_held_against_the_test_images(
    benchmarks: Any, kind: str, leads: list[tuple[float, float]], held: str
) -> None:
    assert benchmarks.tables.agreement(kind, 0.01, [difference(*lead) for lead in leads]) == held


def outcome(benchmarks: Any, hits: list[bool]) -> Any:
    import base64

    packed = base64.b64encode(np.packbits(hits).tobytes()).decode()
    common = {"log_loss": 1.0, "ece": 0.1, "macro_f1": 0.5, "best_epoch": 1, "chosen_by": 0.5}
    return benchmarks.runs.Outcome(
        **common,
        accuracy=float(np.mean(hits)),
        tested=len(hits),
        passes=48,
        seconds=2.0,
        cpu_seconds=1.0,
        correct=packed,
    )


def test_the_page_shows_paired_differences_and_whether_the_verdict_held(
    benchmarks: Any, data: Any, sizes: Any
) -> None:
    evidence = {"verdict": "Trial 7 is better.", "kind": "better", "margin": 0.01}
    exported = PolicyFile(policy=Policy(num_ops=3, magnitude=5), evidence=evidence)
    rows = benchmarks.plans.Rows(data, sizes)
    searched, baselines = rows.searched(exported), rows.baselines()
    right = {row.name: 12 for row in baselines} | {"TrivialAugment": 14, benchmarks.plans.EXPORTED: 17}
    known = {
        job.key: outcome(benchmarks, [index < right[row.name] - job.seed for index in range(18)])
        for row in (*searched, *baselines)
        for job in row.jobs
    }
    result = benchmarks.tables.Result(data, [*searched, *baselines], known, exported)
    summary, verdicts, _, details = benchmarks.tables.tables([result])
    assert summary.rows[0][1:5] == ("63.9 ± 3.9", "63.9 ± 3.9", "63.9 ± 3.9", "75.0 ± 3.9")
    assert summary.rows[0][7] == "91.7 ± 3.9"
    # Three images of 18 more on each seed: nothing varies between seeds, but other images would.
    lead, interval = summary.rows[0][8].split(" ", 1)
    assert lead == "+16.7"
    low, high = (float(value) for value in interval.partition("]")[0][1:].replace("−", "-").split(","))
    assert (low + high) / 2 == pytest.approx(16.7, abs=0.1)
    assert 8 < high - low < 40
    assert interval.endswith("(TrivialAugment)")
    assert "n = 2 paired seeds" in summary.notes
    assert "to come" not in summary.notes
    assert verdicts.rows[0][1] == "Trial 7 is better."
    assert [row[5] for row in details.rows] == ["", *["2 of 2"] * 6]

    del known[baselines[3].jobs[1].key]
    cut = benchmarks.tables.tables([benchmarks.tables.Result(data, result.rows, known, exported)])[0]
    assert "n = 1 paired seeds" in cut.notes
    assert "1 trainings are to come" in cut.notes
    assert benchmarks.tables.tables([benchmarks.tables.Result(data, result.rows, {}, exported)]) == []


def test_an_exported_baseline_is_not_trained_twice_and_differs_by_nothing(
    benchmarks: Any, data: Any, sizes: Any
) -> None:
    exported = PolicyFile(policy=BASELINE_POLICIES["TrivialAugment"])
    rows = benchmarks.plans.Rows(data, sizes)
    searched, baselines = rows.searched(exported), rows.baselines()
    assert searched[0].jobs == baselines[3].jobs
    known = {
        job.key: outcome(benchmarks, [True, index == 3])
        for index, row in enumerate(baselines)
        for job in row.jobs
    }
    result = benchmarks.tables.Result(data, [*searched, *baselines], known, exported)
    summary, *_, details = benchmarks.tables.tables([result])
    assert summary.rows[0][-1] == "the same: TrivialAugment"
    assert details.rows[0][0] == "exported policy: TrivialAugment"
    (row,) = (row for row in details.rows if row[0] == "TrivialAugment")
    assert row[4:6] == ("the same", "")


def test_the_short_form_searches_trains_and_is_taken_up_where_it_ended(
    benchmarks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks.plans, "QUICK", replace(benchmarks.plans.QUICK, epochs=1))
    raw, page, work = tmp_path / "raw.json", tmp_path / "page.md", tmp_path / "work"
    arguments = ["--quick", f"--output={raw}", f"--markdown={page}", f"--work={work}"]

    def run(*more: str) -> Any:
        done = CliRunner().invoke(benchmarks.main.main, [*arguments, *more])
        assert done.exit_code == 0, done.output
        return json.loads(raw.read_text())

    baselines = run("--only=baselines")["trainings"]
    assert [one["job"]["seed"] for one in baselines] == [0] * 6 + [1] * 6
    assert not (work / "policies").exists()
    known = run()
    assert known["trainings"][:12] == baselines
    file = read_policy(work / "policies" / "embedded.json")
    assert PolicyFile.model_validate(known["measured"]["embedded"]["exported"]) == file
    policies = [Policy.model_validate(one["job"]["policy"]) for one in known["trainings"]]
    assert file.policy in policies
    text = page.read_text()
    assert file.evidence["verdict"] in text
    assert run()["trainings"] == known["trainings"]  # with the same seconds: nothing was trained again

    known["trainings"] = known["trainings"][:-1]
    raw.write_text(json.dumps(known))
    assert run("--minutes=0")["trainings"] == known["trainings"]
    again = run()["trainings"]
    assert again[:-1] == known["trainings"]
    assert "to come" not in page.read_text()
    for words in (raw.read_text(), text):
        assert str(tmp_path) not in words
        assert str(ROOT) not in words
