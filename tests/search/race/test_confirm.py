"""The confirmation: who is trained on how many fresh folds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from augsearch.policies import Distillation, Policy, Transfer, UserError
from augsearch.search.race.confirm import Confirmation, Rules, choose_finalists
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.statistics.looks import FIRST
from augsearch.search.studies.study import Entry, keep_confirmation
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage


def result(correct: np.ndarray) -> FoldResult:
    return FoldResult(float(correct.mean()), 0.5, 0.05, 1.0, 100, correct.astype(bool))


def entry(number: int, baseline: str | None) -> Entry:
    policy = BASELINE_POLICIES[baseline] if baseline else Policy(num_ops=1, magnitude=number)
    return Entry(number, baseline, TrialState.COMPLETE, Candidate(policy=policy), (result(np.ones(4)),))


@dataclass
class Bench:
    """A study of trials that are as good as their number says, and a confirmation of them."""

    accuracies: dict[str | int, float]
    folds: int = 16
    study: optuna.Study = field(default_factory=lambda: optuna.create_study(direction="maximize"))
    run: list[tuple[int, int]] = field(default_factory=list)

    @property
    def finalists(self) -> list[Entry]:
        return [
            entry(number, name if isinstance(name, str) else None)
            for number, name in enumerate(self.accuracies)
        ]

    def confirmation(self) -> Confirmation:
        return Confirmation(self.study, self.finalists, Rules(self.folds, 0.01))

    def go_on(self, most: int = 10_000) -> None:
        """Do what the driver does, without trainings."""
        truths = list(self.accuracies.values())
        while missing := self.confirmation().missing():
            for one, fold in missing:
                if len(self.run) == most:
                    return
                rng = np.random.default_rng([one.number, fold])
                scored = np.arange(4000) < 4000 * (truths[one.number] + rng.normal(0, 0.015))
                keep_confirmation(self.study, one.number, Fold(Stage.CONFIRMATION, fold), result(scored))
                self.run.append((one.number, fold))


def test_what_is_clear_after_the_first_look_takes_no_more_folds() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.75, 2: 0.60})
    bench.go_on()
    verdict = bench.confirmation().verdict()
    assert max(fold for _, fold in bench.run) == FIRST - 1
    assert verdict.kind == "as good"
    assert verdict.recommended == 1
    assert all(len(one.scores) == FIRST for one in verdict.confirmed)


def test_the_safest_of_the_rules_is_used_where_the_best_may_lead_it_by_luck() -> None:
    bench = Bench({"none": 0.78, "flip + crop": 0.80, "TrivialAugment": 0.792}, folds=8)
    bench.go_on()
    rules = Rules(8, 0.001)
    verdict = Confirmation(bench.study, bench.finalists, rules).verdict()
    assert (verdict.kind, verdict.recommended) == ("undecided", 2)
    safe = Confirmation(bench.study, bench.finalists, replace(rules, safest="flip + crop")).verdict()
    assert (safe.kind, safe.recommended) == ("undecided", 1)


def test_all_fold_by_fold_so_that_a_kill_leaves_pairs() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.75, 2: 0.60})
    bench.go_on()
    assert bench.run[:6] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]


def test_a_candidate_that_may_win_goes_on_with_those_that_it_may_not_beat() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.80, 2: 0.805}, folds=24)
    bench.go_on()
    folds = {number: sum(one == number for one, _ in bench.run) for number in range(3)}
    assert folds[0] < folds[2]
    assert folds[1] == folds[2] > FIRST


@pytest.mark.parametrize("killed_after", [1, 20, 25, 40])
def test_killed_and_taken_up_it_runs_the_same_folds_and_says_the_same(killed_after: int) -> None:
    accuracies: dict[str | int, float] = {"none": 0.70, "TrivialAugment": 0.80, 2: 0.805}
    whole, halves = Bench(accuracies, folds=24), Bench(accuracies, folds=24)
    whole.go_on()
    halves.go_on(most=killed_after)
    assert halves.confirmation().missing()
    halves.go_on()
    assert sorted(halves.run) == sorted(whole.run)
    assert halves.confirmation().verdict() == whole.confirmation().verdict()


def test_more_folds_go_on_from_those_that_are_run() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.80, 2: 0.798}, folds=8)
    bench.go_on()
    assert bench.confirmation().verdict().kind == "undecided"
    before = list(bench.run)
    bench.folds = 32
    bench.go_on()
    assert bench.run[: len(before)] == before
    assert len(bench.run) > len(before)
    assert len(set(bench.run)) == len(bench.run)


def looks(bench: Bench) -> list[int]:
    bench.confirmation().progress()
    return [look[0] for look in bench.study.user_attrs["looks of confirmation"]["looks"]]


def test_raising_the_folds_moves_no_look_and_trains_nobody_who_is_out() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.80, 2: 0.806, 3: 0.60}, folds=32)
    bench.go_on()
    assert looks(bench) == [8, 16, 32]
    out = {number for number in range(4) if sum(one == number for one, _ in bench.run) < 32}
    assert {0, 3} <= out
    before = len(bench.run)
    bench.folds = 84
    bench.go_on()
    assert looks(bench) == [8, 16, 32, 64, 84]
    assert not {number for number, _ in bench.run[before:]} & out


def test_who_was_worth_no_fold_of_those_planned_may_be_of_more() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.80, 2: 0.801}, folds=16)
    bench.go_on()
    assert bench.confirmation().verdict().kind == "undecided"
    kept = bench.study.user_attrs["looks of confirmation"]
    bench.study.set_user_attr("looks of confirmation", kept | {"going": [*kept["going"][:1], []]})
    before = len(bench.run)
    bench.go_on()
    assert len(bench.run) == before
    bench.folds = 64
    bench.go_on()
    assert len(bench.run) > before


def test_what_is_decided_is_not_looked_at_again_for_more_folds() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.75, 2: 0.60})
    bench.go_on()
    before, verdict = list(bench.run), bench.confirmation().verdict()
    bench.folds = 64
    bench.go_on()
    assert bench.run == before
    assert bench.confirmation().verdict() == verdict


def test_fewer_folds_than_planned_end_it_at_those_that_are_run() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.80, 2: 0.805}, folds=64)
    bench.go_on(most=30)
    bench.folds = 12
    bench.go_on()
    assert looks(bench) == [8, 12]
    assert max(fold for _, fold in bench.run) == 11


def test_progress_ends_where_it_is_done() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.80, 2: 0.805}, folds=24)
    assert bench.confirmation().progress() == (0, 72)
    bench.go_on()
    done, total = bench.confirmation().progress()
    assert done == total == len(bench.run)


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(UserError, match="no baseline could be trained"):
        Bench({1: 0.7}).confirmation()


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

    add(BASELINE_POLICIES["none"], 0.7, "none", TrialState.COMPLETE)
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


def test_folds_that_came_out_of_order_are_not_taken_for_others() -> None:
    """After a kill some have a later fold without those before it, and a budget may end it all there."""
    bench = Bench({"none": 0.6, "TrivialAugment": 0.6, 2: 0.6}, folds=32)

    def kept(number: int, fold: int) -> FoldResult:
        known = result(np.arange(100) < (95 if fold == 5 else 60))  # an easy one
        keep_confirmation(bench.study, number, Fold(Stage.CONFIRMATION, fold), known)
        return known

    for number, folds in {0: [0, 1, 2, 3, 4, 6], 1: [0, 1, 2, 3, 5], 2: [0, 1, 2, 3, 4]}.items():
        for fold in folds:
            kept(number, fold)
    confirmation = bench.confirmation()
    confirmation.progress()
    confirmation.keep(bench.finalists[1], Fold(Stage.CONFIRMATION, 4), kept(1, 4))
    confirmation.progress()
    confirmation.end_at(5)
    assert {one.scores for one in confirmation.verdict().confirmed} == {(0.6,) * 5}


def test_the_control_of_a_candidate_that_is_out_is_missed_by_nobody() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.75, 2: 0.90}, folds=8)
    taught = Candidate(policy=Policy(num_ops=1), distillation=Distillation(temperature=4, alpha=0.5))
    distils = Entry(7, None, TrialState.COMPLETE, taught, (result(np.ones(4)),))
    first = Confirmation(bench.study, [*bench.finalists[:2], distils], Rules(8, 0.01))
    for one in first.finalists[2:]:
        first.lose(one, ArithmeticError("the loss of the teacher is no number"))
    bench.go_on()
    assert bench.confirmation().verdict().kind == "better"


def test_another_margin_opens_what_was_decided_by_the_one_before() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.704, 2: 0.70}, folds=32)

    def folds(margin: float) -> int:
        while missing := (own := Confirmation(bench.study, bench.finalists, Rules(32, margin))).missing():
            for one, fold in missing:
                rng = np.random.default_rng([one.number, fold])
                scored = np.arange(4000) < 4000 * (0.7 + 0.004 * (one.number == 1) + rng.normal(0, 0.012))
                own.keep(one, Fold(Stage.CONFIRMATION, fold), result(scored))
        return max(len(one.scores) for one in own.verdict().confirmed)

    assert folds(0.05) == FIRST
    assert folds(0.006) > FIRST


def test_folds_that_another_version_has_divided_otherwise_are_trained_again() -> None:
    bench = Bench({"none": 0.70, "TrivialAugment": 0.75}, folds=8)
    for number, fold, scored in ((0, 0, 6), (1, 0, 6), (0, 1, 6), (1, 1, 4)):
        rows = np.arange(10) < scored
        known = replace(result(np.ones(scored)), rows=rows)
        keep_confirmation(bench.study, number, Fold(Stage.CROSS_FITTING, fold), known)
    assert [(one.number, fold) for one, fold in bench.confirmation().missing()[:2]] == [(0, 1), (1, 1)]
