"""The confirmation's statistics and its verdict."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from augsearch.policies import Distillation, Policy, Transfer
from augsearch.search.confirm import Verdict, choose_finalists, compare, judge
from augsearch.search.space import BASELINES
from augsearch.search.studies import Entry, keep_confirmation
from augsearch.trainers.folds import Candidate, Fold, FoldResult, Stage

FOLDS = 4


def result(correct: np.ndarray) -> FoldResult:
    return FoldResult(float(correct.mean()), 0.5, 0.05, 1.0, 100, correct.astype(bool))


def results(accuracy: float, rng: np.random.Generator, images: int = 400) -> list[FoldResult]:
    """Folds on the same images, of which some are hard for everybody, as in real data."""
    hardness = np.linspace(0, 1, images)
    return [result(hardness + rng.normal(0, 0.15, images) < accuracy) for _ in range(FOLDS)]


def entry(number: int, baseline: str | None) -> Entry:
    policy = BASELINES[baseline] if baseline else Policy(num_ops=1, magnitude=number)
    fold = result(np.ones(4))
    return Entry(number, baseline, TrialState.COMPLETE, Candidate(policy=policy), (fold,))


def verdict_of(accuracies: dict[str | int, float], seed: int = 0) -> Verdict:
    study = optuna.create_study()
    rng = np.random.default_rng(seed)
    finalists = []
    for number, (name, accuracy) in enumerate(accuracies.items()):
        finalists.append(entry(number, name if isinstance(name, str) else None))
        for fold, scored in enumerate(results(accuracy, rng)):
            keep_confirmation(study, number, Fold(Stage.CONFIRMATION, fold), scored)
    return judge(study, finalists, FOLDS)


def test_a_clear_winner_is_recommended_with_its_lead() -> None:
    verdict = verdict_of({"none": 0.70, "TrivialAugment": 0.75, 2: 0.90})
    assert verdict.recommended == 2
    assert verdict.sentence.startswith("Trial 2 is better than every baseline: +1")
    assert "over TrivialAugment" in verdict.sentence
    assert verdict.gain is not None
    assert verdict.gain.worse == "none"
    assert verdict.gain.low > 0.1


def test_a_slight_lead_recommends_the_best_baseline() -> None:
    verdict = verdict_of({"none": 0.70, "TrivialAugment": 0.80, 2: 0.803})
    assert verdict.recommended == 1
    assert verdict.sentence.startswith("No searched policy is clearly better than TrivialAugment")
    assert verdict.sentence.endswith("use TrivialAugment.")


def test_without_candidates_the_best_baseline_is_recommended() -> None:
    verdict = verdict_of({"none": 0.70, "flip + crop": 0.80})
    assert verdict.recommended == 1
    assert verdict.differences == ()
    assert verdict_of({"none": 0.8, "flip + crop": 0.7}).gain is None


def test_the_evidence_has_every_accuracy_and_n() -> None:
    evidence = verdict_of({"none": 0.70, 1: 0.75}).to_json()
    assert evidence["confirmation"][0]["n"] == FOLDS
    assert len(evidence["confirmation"][0]["accuracies"]) == FOLDS
    assert evidence["differences"][0]["worse"] == "none"


@pytest.mark.parametrize("tries", [1, 2])
def test_the_interval_misses_zero_between_equals_in_few_worlds(tries: int) -> None:
    worlds, misses = 60, 0
    for world in range(worlds):
        rng = np.random.default_rng(world)
        difference = compare("a", results(0.8, rng, 120), "b", results(0.8, rng, 120), tries=tries)
        assert difference.low <= difference.mean <= difference.high
        misses += not difference.low <= 0 <= difference.high
    # 5 % of 60 are 3; more than 8 would happen once in 200 runs of an honest interval.
    assert misses <= 8


def test_the_interval_is_wider_for_the_best_of_several() -> None:
    rng = np.random.default_rng(0)
    first, second = results(0.85, rng), results(0.8, rng)
    alone, of_five = (compare("a", first, "b", second, tries=tries) for tries in (1, 5))
    assert of_five.high - of_five.low > alone.high - alone.low


def test_finalists_are_all_baselines_and_the_best_different_candidates() -> None:
    study = optuna.create_study(direction="maximize")

    def add(policy: Policy, accuracy: float, baseline: str | None, state: TrialState) -> None:
        trial = study.ask()
        trial.set_user_attr("candidate", Candidate(policy=policy).model_dump(mode="json"))
        if baseline:
            trial.set_user_attr("baseline", baseline)
        correct = np.arange(100) < 100 * accuracy
        trial.set_user_attr("fold 0", result(correct).to_json())
        study.tell(trial, accuracy if state is TrialState.COMPLETE else None, state=state)

    add(BASELINES["none"], 0.7, "none", TrialState.COMPLETE)
    add(Policy(num_ops=0), 0.95, None, TrialState.COMPLETE)  # the same as a baseline
    add(Policy(num_ops=1), 0.9, None, TrialState.COMPLETE)
    add(Policy(num_ops=1), 0.9, None, TrialState.COMPLETE)  # the same again
    add(Policy(num_ops=3), 0.99, None, TrialState.PRUNED)
    add(Policy(num_ops=4), 0.8, None, TrialState.COMPLETE)
    add(Policy(num_ops=2), 0.6, None, TrialState.COMPLETE)
    assert [finalist.number for finalist in choose_finalists(study, 2)] == [0, 2, 5]


def test_the_same_policy_learned_otherwise_is_another_candidate() -> None:
    study = optuna.create_study(direction="maximize")
    policy = Policy(num_ops=1)
    candidates = [
        Candidate(policy=policy),
        Candidate(policy=policy, distillation=Distillation(temperature=2, alpha=0.5)),
        Candidate(policy=policy, transfer=Transfer(mode="head")),
        Candidate(policy=policy, transfer=Transfer(mode="full")),
        Candidate(policy=policy, transfer=Transfer(mode="full", layer_decay=0.7)),
        Candidate(policy=policy, transfer=Transfer(mode="full")),
    ]
    for candidate in candidates:
        trial = study.ask()
        trial.set_user_attr("candidate", candidate.model_dump(mode="json"))
        trial.set_user_attr("fold 0", result(np.ones(4)).to_json())
        study.tell(trial, 1.0)
    assert [finalist.number for finalist in choose_finalists(study, 9)] == [0, 1, 2, 3, 4]
