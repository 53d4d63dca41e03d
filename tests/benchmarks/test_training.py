"""The benchmark of the training is fair: both trainings do the same work, and figures are what they say."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield SimpleNamespace(
            main=importlib.import_module("benchmarks.training.__main__"),
            recipes=importlib.import_module("benchmarks.training.recipes"),
        )


@pytest.fixture(scope="module")
def job(benchmarks: Any) -> Any:
    return benchmarks.main.make_job("tiny", count=24, batch=4, photos=None, device="cpu")


@pytest.fixture(scope="module")
def family(benchmarks: Any) -> Any:
    return benchmarks.recipes.Family


@pytest.mark.parametrize("form", ["PIL images", "tensors"])
def test_both_feed_the_same_network_the_same_numbers(
    benchmarks: Any, job: Any, family: Any, form: str
) -> None:
    recipes = benchmarks.recipes
    ours = recipes.our_training(job, family(True, "float32"), recipes.Setting(1, 0, "arrays"))
    plain = recipes.plain_training(job, family(False, "float32"), recipes.Setting(1, 0, form))
    assert [type(one) for one in ours.optimizers] == [type(one) for one in plain.optimizers]
    clean = recipes.PlainImages(job, form, augment=nn.Identity())
    floats = torch.stack([clean[index][0] for index in range(4)])
    images = torch.from_numpy(job.images[:4]).permute(0, 3, 1, 2)
    ours.model.eval(), plain.model.eval()
    torch.testing.assert_close(plain.model(floats), ours.model(images))


@pytest.mark.parametrize("ours", [True, False])
def test_every_training_trains_each_epoch(benchmarks: Any, job: Any, family: Any, ours: bool) -> None:
    recipes = benchmarks.recipes
    kind = family(ours, "float32")
    setting = recipes.settings(kind, CPU, threads=[torch.get_num_threads()], workers=[0])[0]
    contestant = recipes.Contestant(job, kind, setting)
    forwards: list[int] = []
    contestant.training.model.register_forward_pre_hook(lambda _, given: forwards.append(len(given[0])))
    before = [parameter.clone() for parameter in contestant.training.model.parameters()]
    epoch = contestant.epoch()
    assert sum(forwards) == 2 * job.trained == 2 * 24  # the epoch, and the steps alone
    after = contestant.training.model.parameters()
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert 0 < epoch.outside < 1
    assert (epoch.waiting is not None) is ours


def test_what_is_outside_is_all_but_from_forward_to_step(benchmarks: Any) -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    now = iter([0.0, 1.0, 5.0, 7.0, 20.0, 24.0])  # start; forward and step, twice; end
    with benchmarks.recipes.outside(model, optimizer, lambda: next(now)) as seconds:
        for _ in range(2):
            model(torch.ones(1, 1)).sum().backward()
            optimizer.step()
    assert seconds == [1.0, 2.0, 4.0]
    model(torch.ones(1, 1))  # the hooks are gone: no clock is read


def test_all_settings_are_tried_and_the_fastest_of_each_family_counts(benchmarks: Any, family: Any) -> None:
    recipes, training = benchmarks.recipes, benchmarks.main
    plain, ours = family(False, "float32"), family(True, "float32")
    tried = recipes.settings(plain, CPU, threads=[1, 2], workers=[0, 1])
    assert len(set(tried)) == len(tried) == 8
    assert len(recipes.settings(plain, torch.device("cuda"), threads=[1, 2], workers=[0, 1])) == 4

    def result(kind: Any, threads: int, *rates: float) -> Any:
        epochs = [recipes.Epoch(rate, 0.1, 0.1 if kind.ours else None, 2 * rate) for rate in rates]
        return training.Result(kind, recipes.Setting(threads, 0, "arrays"), "SGD", epochs)

    slow, fast = result(plain, 1, 100, 100, 900), result(plain, 2, 200, 300, 250)
    mine = result(ours, 2, 400, 900, 1000)
    best = training.best_of_each([slow, fast, mine])
    assert best == [fast, mine]
    assert training.times(mine, fast) == "3.00 (2.00 to 4.00)"
    job = training.make_job("tiny", count=12, batch=2, photos=None, device="cpu")
    rates, ratios = (table.markdown() for table in training.tables(job, best))
    assert "| 250 ± 20 % | 500 ± 20 % | 50.0 % | 10.0 % |  |" in rates
    assert "| 900 ± 33 % | 1,800 ± 33 % | 50.0 % | 10.0 % | 10.0 % |" in rates
    assert "| plain recipe, SGD, float32 | 3.00 (2.00 to 4.00) |" in ratios


def test_a_run_writes_a_page_and_figures_without_a_path_of_this_machine(tmp_path: Path) -> None:
    page, raw = tmp_path / "page.md", tmp_path / "raw.json"
    command = [sys.executable, "-m", "benchmarks.training", "--rounds=1", "--quick", "--network=tiny"]
    command += ["--images=24", "--batch=4", "--workers=0", "--threads=1", "--precision=float32"]
    command += [f"--output={page}", "--json", str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures = json.loads(raw.read_text())
    assert [(one["ours"], one["optimizers"]) for one in figures["trainings"]] == [
        (False, "ours"),
        (False, "SGD"),
        (True, "ours"),
    ]
    assert figures["steps"] == 6
    (parts,) = figures["parts"]
    assert parts["precision"] == "float32"
    assert all(parts["microseconds"][name] > 0 for name in ("convolutions", "normalisation", "optimizer"))
    assert sum(parts["microseconds"].values()) == pytest.approx(1e6 / parts["rate"])
    assert page.read_text().strip() == done.stdout.strip()
    for text in (done.stdout, raw.read_text()):
        assert "augsearch" in text
        assert str(tmp_path) not in text


def test_too_few_images_are_told() -> None:
    command = [sys.executable, "-m", "benchmarks.training", "--images=20", "--batch=4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "at least six batches of 4, got 20" in done.stderr
