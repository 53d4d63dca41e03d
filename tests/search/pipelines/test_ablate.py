"""``ablate`` with real trainings: paired, resumed, extended, and kept where the report finds it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from augsearch.policies import Policy, read_policy
from augsearch.search.cli import main
from augsearch.search.engines import inline
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.tasks import evaluate
from augsearch.search.report.facts import gather
from augsearch.search.report.page import render
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.studies.ablation import (
    FIRST_FOLD,
    WHOLE,
    ablation_of,
    ablation_results,
    judged,
    known_ablation,
    sentence,
)
from augsearch.search.studies.controls import FIRST_CONTROL
from augsearch.search.studies.costs import ABLATION, ledger
from augsearch.search.studies.study import Entry, confirmation_results, entries, load_study, open_storage
from augsearch.trainers.evaluation.metrics import ACCURACY, TrainingDivergedError
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult, Stage

RUN = [
    *("--trials", "8", "--folds", "1", "--epochs", "1", "--confirm-folds", "2", "--no-final"),
    *("--proxy-model", "tiny", "--teacher", "none", "--study", "mine", "--engine", "inline"),
    *("--operations", "rotate,posterize,shear_x"),
]


class Engine(InlineEngine):
    """Runs here, and remembers what it was asked to evaluate."""

    def __init__(self) -> None:
        self.asked: list[tuple[Candidate, Any]] = []
        self.most = 1_000_000
        self.diverging: Candidate | None = None

    def submit(self, function: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        if function is evaluate:
            if len(self.asked) == self.most:
                raise KeyboardInterrupt
            self.asked.append(args[1:])
            if args[1] == self.diverging:
                failed: Future[Any] = Future()
                failed.set_exception(TrainingDivergedError("the loss is no number"))
                return failed
        return super().submit(function, *args, **kwargs)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    torch.set_num_threads(1)
    engine = Engine()
    monkeypatch.setattr(inline, "InlineEngine", lambda: engine)
    return engine


@pytest.fixture(scope="module")
def run_once(stripes_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a run has ended."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copyfile(stripes_made, folder / "stripes.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, ["run", "stripes.npz", *RUN])
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def study(run_once: Path, workplace: Path) -> optuna.Study:
    """Its study, in the test's own folder."""
    shutil.copytree(run_once, workplace, dirs_exist_ok=True)
    return reopened()


def reopened() -> optuna.Study:
    return load_study(open_storage("sqlite:///mlruns/studies.db"), "mine")


def ablate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ablate", "mine", "--trial", "1", *arguments])  # flip + crop


def test_each_part_is_trained_without_it_on_the_same_fresh_folds(study: optuna.Study, engine: Engine) -> None:
    before = study.user_attrs
    done = ablate("--folds", "2")
    assert done.exit_code == 0, done.output
    folds = Counter((fold.stage, fold.index) for _, fold in engine.asked)
    # The winner itself, without the crop, without the flip.
    assert folds == {(Stage.CROSS_FITTING, FIRST_FOLD): 3, (Stage.CROSS_FITTING, FIRST_FOLD + 1): 3}
    used = {fold for results in confirmation_results(study).values() for fold in results}
    assert not used & {fold.index for _, fold in engine.asked}
    trained = {candidate.policy for candidate, _ in engine.asked}
    whole = BASELINE_POLICIES["flip + crop"]
    assert trained == {
        whole,
        whole.model_copy(update={"crop": 0.0}),
        whole.model_copy(update={"flip_horizontal": 0.0}),
    }
    for words in ("random crop", "horizontal flip", "95 % interval"):
        assert words in done.output
    with Image.open("mlruns/mine/ablation.png") as picture:
        assert picture.width > 800
    page = Path("mlruns/mine/report.html").read_text(encoding="utf-8")
    assert "Which part earned it" in page
    assert 'id="removals"' in page
    after = reopened()
    assert {key: value for key, value in after.user_attrs.items() if key in before} == before
    assert ledger(after)[ABLATION].trainings == 6
    assert render(gather(after, Path("mlruns/mine"))) == page


def test_a_killed_ablation_goes_on_and_more_folds_extend_it(study: optuna.Study, engine: Engine) -> None:
    engine.most = 4
    assert ablate("--folds", "2").exit_code == 130
    assert sum(map(len, ablation_results(reopened(), 1).values())) == 4
    engine.most = 1_000_000
    done = ablate("--folds", "2")
    assert "4 done before" in done.output
    assert len(engine.asked) == len({(c, fold) for c, fold in engine.asked}) == 6
    first = ablation_results(reopened(), 1)
    assert ablate("--folds", "3").exit_code == 0
    assert len(engine.asked) == 9
    more = ablation_results(reopened(), 1)
    for part, results in first.items():
        assert {fold: more[part][fold].score for fold in results} == {
            fold: result.score for fold, result in results.items()
        }
    again = ablate("--folds", "3", "--json")
    assert len(engine.asked) == 9
    ablation = known_ablation(reopened(), entries(study))
    assert ablation is not None
    assert ablation.folds == 3
    document = json.loads(again.stdout)["ablation"]
    assert document == json.loads(json.dumps(ablation.to_json()))
    assert document["sentence"] == sentence(ablation)
    assert {one["part"] for one in document["parts"]} == {"random crop", "horizontal flip"}


def test_every_removal_is_a_run_in_mlflow(study: optuna.Study, engine: Engine) -> None:
    from mlflow import MlflowClient

    ablate("--folds", "2")
    ablate("--folds", "2")
    client = MlflowClient("sqlite:///mlruns/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name.startswith("stripes")]
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if run.info.run_name.startswith("flip + crop without ")]
    assert {run.info.run_name for run in children} == {
        "flip + crop without random crop",
        "flip + crop without horizontal flip",
    }
    assert len(children) == 2
    (parent,) = [run for run in runs if run.info.run_name == "mine"]
    assert parent.info.status == "FINISHED"
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    assert all(run.data.metrics["folds"] == 2 for run in children)
    assert "ablation.png" in {file.path for file in client.list_artifacts(parent.info.run_id)}


def test_a_training_that_fails_costs_its_part_that_fold_alone(study: optuna.Study, engine: Engine) -> None:
    whole = entries(study)[1].candidate
    policy = whole.policy.model_copy(update={"crop": 0.0})
    engine.diverging = whole.model_copy(update={"policy": policy})
    done = ablate("--folds", "2")
    assert done.exit_code == 0, done.output
    assert re.search(r"without random crop, fold 1000: the loss is no number; .* tries it again", done.output)
    ablation = known_ablation(reopened(), entries(study))
    assert ablation is not None
    assert [one.part.name for one in ablation.removals] == ["horizontal flip"]
    engine.diverging = None
    assert "random crop" in ablate("--folds", "2").output
    assert len(engine.asked) == 8


def test_without_a_trial_it_is_what_the_verdict_recommends(study: optuna.Study, engine: Engine) -> None:
    study.set_user_attr("verdict", study.user_attrs["verdict"] | {"recommended": 1})
    done = CliRunner().invoke(main, ["ablate", "mine", "--folds", "2"])
    assert "ablating flip + crop" in done.output
    # No augmentation has no parts, which is no error.
    study.set_user_attr("verdict", study.user_attrs["verdict"] | {"recommended": 0})
    done = CliRunner().invoke(main, ["ablate", "mine"])
    assert done.exit_code == 0
    assert done.output.startswith("none (what the verdict recommends) has nothing to remove; --trial ")


def test_what_the_verdict_recommends_may_be_a_control(study: optuna.Study, engine: Engine) -> None:
    one = entries(study)[1]
    number = FIRST_CONTROL + 7
    document = {"number": number, "name": "flip + crop with help", "of": [4], "same_help": True}
    document["candidate"] = one.candidate.model_dump(mode="json")
    study.set_user_attr("controls", [document])
    study.set_user_attr("verdict", study.user_attrs["verdict"] | {"recommended": number})
    done = CliRunner().invoke(main, ["ablate", "mine", "--folds", "2"])
    assert done.exit_code == 0, done.output
    assert "ablating flip + crop with help" in done.output
    assert "random crop" in done.output
    done = CliRunner().invoke(main, ["export", "mine", "-o", "policy.json"])
    assert done.exit_code == 0, done.output
    assert read_policy("policy.json").policy == one.candidate.policy


def test_what_cannot_be_ablated_is_said_in_one_line(study: optuna.Study, engine: Engine) -> None:
    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["ablate", *arguments])
        assert done.exit_code == 2, done.output
        assert done.output.count("\n") == 1
        return done.output

    assert "no study 'other'" in refused("other")
    assert "has no trial 99 with results; it has 0, " in refused("mine", "--trial", "99")
    assert "runs one fold at a time" in refused("mine", "--trial", "1", "--workers", "3")
    images = np.load("stripes.npz")
    np.savez("stripes.npz", images=images["images"][:90], labels=images["labels"][:90])
    done = ablate("--folds", "2")
    assert done.exit_code == 2
    assert "was made from other data or settings: data was" in done.output
    assert not engine.asked


def result(hits: int) -> FoldResult:
    correct = np.arange(200) < hits
    return FoldResult(float(correct.mean()), 0.5, 0.05, 2.0, 1000, correct)


def test_parts_are_ranked_and_what_is_clear_is_said() -> None:
    policy = Policy(num_ops=0, crop=1.0, flip_horizontal=0.5, quarter_turns=0.5)
    entry = Entry(7, None, optuna.trial.TrialState.COMPLETE, Candidate(policy=policy), (result(100),))
    folds = range(FIRST_FOLD, FIRST_FOLD + 6)
    noise = dict(zip(folds, (0, 3, -2, 1, -3, 2), strict=True))

    def results(hits: int, spread: int = 1) -> dict[int, FoldResult]:
        return {fold: result(hits + spread * noise[fold]) for fold in folds}

    known = {
        WHOLE: results(140),
        "random crop": results(100),
        "horizontal flip": results(140, -2),
        "quarter turns": results(180),
    }
    ablation = ablation_of(entry, known)
    assert ablation is not None
    assert [one.part.name for one in ablation.removals] == ["random crop", "horizontal flip", "quarter turns"]
    assert [judged(one) for one in ablation.removals] == ["helps", "not clear", "harms"]
    assert ablation.removals[0].cost.mean == pytest.approx(0.2)
    assert sentence(ablation) == (
        "In trial 7: clearly helps: random crop; clearly harms: quarter turns; 1 of 3 parts are not clear."
    )
    assert ablation_of(entry, {WHOLE: results(140)}) is None
    assert ACCURACY.shown_difference(ablation.removals[0].cost.mean, 0, 0).startswith("+20.0")
