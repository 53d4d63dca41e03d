"""``check-proxy`` with real trainings: both ways, resumed, extended, and kept with its run."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.engines import inline
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.tasks import evaluate, evaluate_final
from augsearch.search.pipelines.check_proxy import _opened
from augsearch.search.race.resume import space_for
from augsearch.search.report.facts import gather
from augsearch.search.report.page import render
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.studies.proxy_check import (
    ATTRIBUTE,
    Checked,
    ProxyCheck,
    belief_in_words,
    known_check,
    seeds_in_words,
)
from augsearch.search.studies.study import load_study, open_storage
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.workspace.folds import Fold, Stage

HOW = [
    *("--folds", "1", "--epochs", "1", "--final-epochs", "1", "--proxy-model", "tiny"),
    *("--final-model", "tiny", "--teacher", "none", "--engine", "inline"),
]
FAILING = "RandAugment (2, 9)"
"""The baseline whose final trainings diverge where a test says so."""
CHECK = ["--candidates", "5", "--seeds", "1"]


def test_without_a_run_it_is_of_the_network_that_a_run_of_these_photos_ends_in(photos: str) -> None:
    run, settings, data = _opened(Settings.of(data=photos, teacher="none", device="cpu"), Display())
    assert run is None
    assert settings.network == "lite0"
    assert "flip + resized crop" in space_for(settings, data).baselines


class Engine(InlineEngine):
    """Runs here, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.folds: list[Any] = []
        self.finals: list[Any] = []
        self.most = 1_000_000
        self.diverging = False

    def submit(self, function: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        if function is evaluate and "speed" not in args[0].parts:
            self.folds.append(args[1:])
        if function is evaluate_final:
            if len(self.finals) == self.most:
                raise KeyboardInterrupt
            self.finals.append(args)
            if self.diverging and args[0].file.policy == BASELINE_POLICIES[FAILING]:
                failed: Future[Any] = Future()
                failed.set_exception(TrainingDivergedError("the loss is no number"))
                return failed
        return super().submit(function, *args, **kwargs)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    torch.set_num_threads(1)
    engine = Engine()
    monkeypatch.setattr(inline, "InlineEngine", lambda: engine)
    return engine


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check-proxy", *arguments])


def studies() -> dict[str, optuna.Study]:
    storage = open_storage("sqlite:///mlruns/studies.db")
    return {name: load_study(storage, name) for name in optuna.get_all_study_names(storage)}


def test_candidates_are_trained_both_ways_and_the_test_part_is_not_read(stripes: str, engine: Engine) -> None:
    done = check(stripes, *HOW, *CHECK, "--study", "mine")
    assert done.exit_code == 0, done.output
    assert len(engine.folds) == len(engine.finals) == 5
    assert {fold for _, fold in engine.folds} == {Fold(Stage.SEARCH, 0)}
    assert {candidate.policy for candidate, _ in engine.folds} == {
        job.file.policy for job, *_ in engine.finals
    }
    workspace = next(Path("mlruns/work").iterdir())
    with np.load(workspace / "parts.npz") as parts:
        for job, scored, metric in engine.finals:
            assert set(job.labeled) == set(parts["train"])
            assert set(job.selection.rows) == set(parts["validation"])
            assert set(scored.rows) == set(parts["confirmation"])
            assert metric == "accuracy"
    assert not Path("mlruns/test-reads").exists()
    assert not list(workspace.glob("final models/*.safetensors"))
    assert "Stop it at any time: the same command goes on" in done.output
    assert "Spearman" in done.output
    with Image.open("mlruns/mine proxy check/proxy-check.png") as picture:
        assert picture.width > 1000
    (study,) = studies().values()
    found = known_check(study)
    assert found is not None
    assert study.study_name == found.study == "mine proxy check"
    assert belief_in_words(found) in " ".join(done.output.split())
    assert ProxyCheck.from_json(found.to_json()) == found


def test_a_killed_check_goes_on_and_more_of_anything_extends_it(stripes: str, engine: Engine) -> None:
    how = [stripes, *HOW, "--study", "mine"]
    engine.most = 3
    assert check(*how, *CHECK).exit_code == 130
    engine.most = 1_000_000
    done = check(*how, *CHECK)
    assert "3 done before" in done.output
    assert (len(engine.finals), len(engine.folds)) == (5, 5)
    first = known_check(studies()["mine proxy check"])
    assert check(*how, "--candidates", "6", "--seeds", "2", "--folds", "2").exit_code == 0
    assert (len(engine.finals), len(engine.folds)) == (12, 12)
    more = known_check(studies()["mine proxy check"])
    assert first is not None
    assert more is not None
    assert seeds_in_words(more) is not None or more.agreement.between_seeds is None
    by_name = {one.name: one for one in more.candidates}
    assert len(by_name) == 6
    for one in first.candidates:
        assert by_name[one.name].final[:1] == one.final
        assert by_name[one.name].proxy[:1] == one.proxy
    again = check(*how, "--candidates", "6", "--seeds", "2", "--folds", "2", "--json")
    assert (len(engine.finals), len(engine.folds)) == (12, 12)
    assert "24 done before" in again.stderr
    document = json.loads(again.stdout)
    assert document.pop("sentence") == belief_in_words(more)
    assert ProxyCheck.from_json(document) == more
    other = check(stripes, *HOW, *CHECK, "--study", "mine", "--final-epochs", "2")
    assert other.exit_code == 2
    assert "final epochs was 1, is 2" in other.output


def test_it_is_kept_with_the_run_that_it_is_about(stripes: str, engine: Engine) -> None:
    done = CliRunner().invoke(
        main, ["run", stripes, *HOW, "--trials", "8", "--confirm-folds", "2", "--study", "demo", "--no-final"]
    )
    assert done.exit_code == 0, done.output
    before = len(engine.folds)
    # All that is not given is as the run had it, its data too.
    done = check("--study", "demo", *CHECK)
    assert done.exit_code == 0, done.output
    assert len(engine.folds) - before == len(engine.finals) == 5
    known = studies()
    assert set(known) == {"demo", "demo proxy check"}
    assert known["demo"].user_attrs[ATTRIBUTE] == known["demo proxy check"].user_attrs[ATTRIBUTE]
    page = Path("mlruns/demo/report.html").read_text(encoding="utf-8")
    assert "May the short trainings be believed?" in page
    assert page == render(gather(known["demo"], Path("mlruns/demo")))
    assert Path("mlruns/demo/proxy-check.png").exists()
    other = check("--study", "demo", *CHECK, "--epochs", "2")
    assert other.exit_code == 2
    assert "study 'demo' was made from other data or settings: epochs was 1, is 2" in other.output


def test_a_run_with_the_same_settings_is_found_without_its_name(stripes: str) -> None:
    run = ["run", stripes, *HOW, "--trials", "8", "--confirm-folds", "2", "--no-final"]
    assert CliRunner().invoke(main, run).exit_code == 0
    (name,) = studies()
    assert check(stripes, *HOW, *CHECK).exit_code == 0
    assert known_check(studies()[name]) is not None


def test_candidates_that_fail_are_named_and_left_out(stripes: str, engine: Engine) -> None:
    engine.diverging = True
    done = check(stripes, *HOW, *CHECK, "--candidates", "6")
    assert done.exit_code == 0, done.output
    assert f"{FAILING}, final 0: the loss is no number; the same command tries it again" in done.output
    (study,) = studies().values()
    found = known_check(study)
    assert found is not None
    assert FAILING not in {one.name for one in found.candidates}
    shutil.rmtree("mlruns")
    done = check(stripes, *HOW, "--seeds", "1", "--candidates", "4")
    assert done.exit_code == 2
    assert "only 3 candidates could be trained both ways" in done.output


def made(finals: list[float], proxies: list[float]) -> ProxyCheck:
    candidates = [
        Checked(f"candidate {number}", "words", number < 2, (proxy,), (final,))
        for number, (final, proxy) in enumerate(zip(finals, proxies, strict=True))
    ]
    return ProxyCheck.of("s", "accuracy", "small, 800 images × 30 epochs", "medium", candidates)


def test_one_sentence_says_whether_to_believe_the_stand_in() -> None:
    finals = [0.7 + 0.01 * number for number in range(12)]
    good = made(finals, finals)
    assert belief_in_words(good).startswith("Believe the stand-in: over 12 candidates its ranks agree")
    assert "choosing by it costs 0.0 [0.0, 0.0] points" in belief_in_words(good)
    assert "where choosing blindly costs 5.5 points." in belief_in_words(good)
    assert good.pick.name == "candidate 11"
    assert good.ranks[0] == (1, 1)
    assert seeds_in_words(good) is None
    assert belief_in_words(made(finals, finals[::-1])).startswith("Don't believe the stand-in")
    assert belief_in_words(made([0.5] * 12, finals)).startswith("There is nothing to rank")
