"""``compare`` is fair, with real trainings: equal image passes, the same folds, and nothing trained twice."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from optuna.trial import TrialState

from augsearch.policies import Policy, UserError
from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.engines import local
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.tasks import evaluate
from augsearch.search.inputs.identity import study_name
from augsearch.search.inputs.prepare import open_data
from augsearch.search.pipelines import compare as comparing
from augsearch.search.pipelines.compare import CONFIRM_FOLDS, compare
from augsearch.search.pipelines.comparison import (
    BASELINES,
    DEFAULT,
    RANDOM,
    Comparison,
    Contestant,
    sentence,
    table,
    to_json,
)
from augsearch.search.race.resume import open_begun
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES as POLICIES
from augsearch.search.studies.costs import spent
from augsearch.search.studies.study import (
    Entry,
    confirmation_results,
    entries,
    load_study,
    open_storage,
    space_of,
)
from augsearch.trainers.evaluation.metrics import ACCURACY
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

FLAGS = [
    *("--trials", "13", "--folds", "2", "--epochs", "1", "--proxy-model", "tiny", "--teacher", "none"),
    *("--workers", "1", "--confirm-folds", "3"),
]


class Engine(InlineEngine):
    """Runs here, and remembers what it was asked to evaluate."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.most = 1_000_000
        self.instead: Callable[..., FoldResult] = evaluate

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        if function is evaluate:
            if len(self.asked) == self.most:
                raise KeyboardInterrupt
            self.asked.append(args[1:])
            function = self.instead
        return super().submit(function, *args, **kwargs)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    torch.set_num_threads(1)
    engine = Engine()
    monkeypatch.setattr(local, "LocalEngine", lambda *_: engine)
    return engine


def quick(data: str, **fields: Any) -> Settings:
    defaults: dict[str, Any] = {"trials": 13, "folds": 2, "epochs": 1, "proxy_model": "tiny", "workers": 1}
    return Settings.of(data=data, **(defaults | {"teacher": "none", "confirm_folds": 3} | fields))


def studies(comparison: Comparison, storage: str = Settings().tracking.storage) -> dict[str, Any]:
    return {one.name: load_study(open_storage(storage), one.study) for one in comparison.contestants}


def outcomes(comparisons: list[Comparison]) -> Any:
    """What must not depend on when or how often it was stopped."""
    return [
        (
            comparison.seed,
            [
                (one.study, one.trials, one.search.images, one.pick.candidate, one.scores)
                for one in comparison.contestants
            ],
        )
        for comparison in comparisons
    ]


def test_all_spend_what_the_default_search_spends(stripes: str) -> None:
    (found,) = compare(quick(stripes), 1, Display())
    default, random, alone = found.contestants
    assert [one.name for one in found.contestants] == [DEFAULT, RANDOM, BASELINES]
    a_fold = default.pick.results[0].images
    assert default.search.images == default.search.trainings * a_fold
    # Whoever has begun a trial when the budget is spent may end it.
    assert default.search.images <= random.search.images < default.search.images + 2 * a_fold
    # The baselines have as many whole folds each as there is budget for.
    assert default.search.images - len(POLICIES) * a_fold < alone.search.images <= default.search.images
    known = studies(found)
    assert {entry.baseline for entry in entries(known[BASELINES])} == set(POLICIES)
    assert len(alone.pick.results) == default.search.trainings // len(POLICIES) > 2
    drawn = known[RANDOM].get_trials()
    assert not any({"near", "baseline"} & trial.user_attrs.keys() for trial in drawn)
    for role, study in known.items():
        done = [entry for entry in entries(study) if entry.state is TrialState.COMPLETE]
        assert found.contestant(role).pick.score == max(entry.score for entry in done)


def test_a_fold_that_one_contestant_trained_is_not_trained_again(stripes: str, engine: Engine) -> None:
    (found,) = compare(quick(stripes), 1, Display())
    assert set(Counter(engine.asked).values()) == {1}
    known = studies(found)
    counted = sum(len(entry.results) for study in known.values() for entry in entries(study))
    assert len(engine.asked) < counted
    assert all(len(one.confirmed) == 3 for one in found.contestants)
    for study in known.values():
        for entry in entries(study):
            if entry.baseline:  # the same folds, whoever trains on them
                first = entries(known[DEFAULT])[entry.number]
                pairs = zip(entry.results, first.results, strict=False)
                assert all(one.accuracy == other.accuracy for one, other in pairs)


def test_each_contestants_own_pick_is_confirmed_and_paired_fold_by_fold(stripes: str, engine: Engine) -> None:
    def by_strength(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
        strength = 20 * candidate.policy.num_ops + len(candidate.policy.operations) + 2 * fold.index
        return result(strength, of=200)

    engine.instead = by_strength
    (found,) = compare(quick(stripes, trials=14), 1, Display())
    picks = [one.pick.candidate for one in found.contestants]
    assert len(set(picks)) == 3
    assert picks[2] == Candidate(policy=POLICIES["RandAugment (2, 9)"])
    for one in found.contestants:
        own = [by_strength(Path(), one.pick.candidate, Fold(Stage.CROSS_FITTING, fold)) for fold in range(3)]
        assert one.scores == [result.accuracy for result in own]
        lead = found.lead(one.name)
        expected = found.contestants[0].scores[0] - one.scores[0]
        assert (lead.mean if lead else 0.0) == pytest.approx(expected)
    confirmed = {fold for candidate, fold in engine.asked if fold.stage is Stage.CROSS_FITTING}
    assert {fold.index for fold in confirmed} == {0, 1, 2}


@pytest.fixture(scope="module")
def whole(stripes_made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """What a comparison comes to that nothing stopped, and how many folds it trained."""
    torch.set_num_threads(1)
    engine = Engine()
    with contextlib.chdir(tmp_path_factory.mktemp("whole")), pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "LocalEngine", lambda *_: engine)
        found = compare(quick(str(stripes_made)), 1, Display())
    return outcomes(found), len(engine.asked)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_stopped_anywhere_it_goes_on_to_the_same_end(
    stripes: str, engine: Engine, whole: tuple[Any, int], share: float
) -> None:
    expected, trained = whole
    engine.most = 1 + int(share * (trained - 2))
    halves = quick(stripes)
    with pytest.raises(KeyboardInterrupt):
        compare(halves, 1, Display())
    engine.most = 1_000_000
    assert outcomes(compare(halves, 1, Display())) == expected
    assert len(engine.asked) == trained
    assert outcomes(compare(halves, 1, Display())) == expected
    assert len(engine.asked) == trained


def test_the_default_search_is_that_of_run_and_run_goes_on_from_it(stripes: str, engine: Engine) -> None:
    settings = quick(stripes)
    (found,) = compare(settings, 1, Display())
    name = study_name(settings, open_data(settings, Display()))
    assert found.contestants[0].study == name
    before = len(engine.asked)
    done = CliRunner().invoke(main, ["run", stripes, *FLAGS, "--no-final"])
    assert done.exit_code == 0, done.output
    assert "study" not in done.output.split("confirming")[0]  # there was nothing left to search
    again = {fold for _, fold in engine.asked[before:]}
    assert {fold.stage.value for fold in again} <= {"cross-fitting"}


def test_of_photos_it_meets_the_baselines_that_a_run_meets(photos: str) -> None:
    settings = quick(photos, trials=8, folds=1, fold_size=16, epochs=1, image_size=16, device="cpu")
    (found,) = compare(settings, 1, Display())
    study = load_study(open_storage(settings.tracking.storage), found.contestants[0].study)
    assert "flip + resized crop" in space_of(study, settings.space).baselines
    begun, data = open_begun(settings.changed(budget="none"), Display())
    assert study_name(begun, data) == study.study_name


def test_every_seed_has_studies_of_its_own(stripes: str) -> None:
    first, second = compare(quick(stripes, study="mine", seed=3), 2, Display())
    assert [first.seed, second.seed] == [3, 4]
    assert [one.study for one in first.contestants][:2] == ["mine", "mine random"]
    assert [one.study for one in second.contestants][:2] == ["mine seed 4", "mine seed 4 random"]
    pick = first.contestants[0].pick
    assert set(confirmation_results(studies(first)[DEFAULT])[pick.number]) == {0, 1, 2}


def test_folds_of_the_confirmation_are_few_unless_told_otherwise(
    stripes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(settings: Settings, display: Display) -> Any:
        asked.append(settings.confirmation.folds)

    monkeypatch.setattr(comparing, "_compare", noted)
    compare(Settings.of(data=stripes), 1, Display())
    compare(Settings.of(data=stripes, confirm_folds=5), 1, Display())
    assert asked == [CONFIRM_FOLDS, 5]
    with pytest.raises(UserError, match="runs random search beside the search"):
        compare(Settings.of(data=stripes, sampler="random"), 1, Display())


def test_the_command_prints_a_table_and_a_sentence_and_writes_all_figures(stripes: str) -> None:
    done = CliRunner().invoke(main, ["compare", stripes, *FLAGS, "--json", "found.json"])
    assert done.exit_code == 0, done.output
    for words in (DEFAULT, RANDOM, BASELINES, "default − this", "image passes"):
        assert words in done.output
    document = json.loads(Path("found.json").read_text())
    assert document["sentence"] in " ".join(done.output.split())
    again = CliRunner().invoke(main, ["compare", stripes, *FLAGS, "--json"])
    assert json.loads(again.stdout) == document
    refused = CliRunner().invoke(main, ["compare", "--json", stripes, *FLAGS])
    assert (refused.exit_code, "DATA stands before the options" in refused.stderr) == (2, True)
    (one,) = document["comparisons"]
    ledger = one["contestants"][0]["ledger"]
    assert ledger["search"]["images"] > 0
    assert ledger["confirmation"] | {"seconds": 0} == {
        "trainings": 3,
        "images": 3 * ledger["search"]["images"] // ledger["search"]["trainings"],
        "seconds": 0,
    }
    assert "mlflow.db" not in {path.name for path in Path("mlruns").iterdir()}
    assert not Path("mlruns/test-reads").exists()


def result(hits: int, of: int = 100) -> FoldResult:
    correct = np.arange(of) < hits
    return FoldResult(float(correct.mean()), 0.5, 0.05, 2.0, 1000, correct)


def contestant(name: str, magnitude: int, hits: list[int]) -> Contestant:
    pick = Entry(
        magnitude,
        None,
        TrialState.COMPLETE,
        Candidate(policy=Policy(num_ops=1, magnitude=magnitude)),
        (result(50),),
    )
    confirmed = tuple(map(result, hits))
    return Contestant(name, name, 5, spent([dict(enumerate(confirmed))]), pick, confirmed)


def made(random: list[int], alone: list[int], magnitudes: tuple[int, int, int] = (1, 2, 3)) -> Comparison:
    hits = ([80, 81, 82, 80], random, alone)
    names = (DEFAULT, RANDOM, BASELINES)
    return Comparison(0, "data", ACCURACY, tuple(map(contestant, names, magnitudes, hits)))


def test_the_sentence_says_better_worse_the_same_or_that_it_is_not_clear() -> None:
    clear = sentence([made([60, 61, 62, 60], [95, 96, 97, 95])])
    assert "better than what random search picks (+20.0 [" in clear
    assert "worse than the best of the baselines (-15.0 [" in clear
    doubtful = sentence([made([79, 83, 80, 81], [80, 81, 82, 80], (1, 2, 1))])
    assert "not clearly different from what random search picks" in doubtful
    assert "the same as the best of the baselines." in doubtful


def test_several_seeds_are_compared_by_the_mean_of_their_differences() -> None:
    found = [made([70, 71, 72, 70], [80, 81, 82, 80]), made([75, 76, 77, 75], [80, 81, 82, 80])]
    assert (
        ", on average over 2 seeds, not clearly different from what random search picks (+7.5 ["
        in sentence(found)
    )
    document = to_json(found)
    lead = document["default search minus"][RANDOM]
    assert (round(lead["mean"], 9), lead["folds"]) == (0.075, 2)
    # Of two values 10 and 5 the t interval of the mean reaches 12.7 · 2.5 to both sides, and a bootstrap
    # knows no more than that.
    assert lead["low"] < 0 < 0.1 < lead["high"]
    assert len(table(found).rows) == 6
    same = [made([80, 81, 82, 80], [80, 81, 82, 80], (1, 1, 1))] * 2
    assert "the same as what random search picks" in sentence(same)
    assert to_json(same)["default search minus"][RANDOM] is None
