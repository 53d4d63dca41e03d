"""The verdict's three sentences, what they recommend, and who is worth another fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from augsearch.search.statistics.looks import LEVEL, planned_looks, with_reserve
from augsearch.search.statistics.sequential import Finalist, Finalists
from augsearch.search.statistics.verdict import Verdict, reach_verdict
from augsearch.trainers.evaluation.metrics import ACCURACY, LOG_LOSS, Metric
from augsearch.trainers.workspace.folds import FoldResult

FOLDS = 32


def finalist(
    number: int, name: str, scores: Sequence[float], metric: Metric = ACCURACY, unlabeled: bool = False
) -> Finalist:
    baseline = not name.startswith("trial")
    results = [
        FoldResult(
            *(0.5 if metric is LOG_LOSS else score, -score, 0.05, 1.0, 100),
            correct=np.empty(0, dtype=bool),
            metric=metric.name,
            values=None if metric is ACCURACY else np.empty(0, dtype=np.float16),
        )
        for score in scores
    ]
    return Finalist(number, name, baseline, results, unlabeled)


def finalists_of(
    means: dict[str, float], sd: float = 0.005, folds: int = FOLDS, margin: float = 0.01, seed: int = 0
) -> Finalists:
    rng = np.random.default_rng(seed)
    return Finalists(
        [finalist(n, name, mean + rng.normal(0, sd, folds)) for n, (name, mean) in enumerate(means.items())],
        margin,
    )


def verdict_of(means: dict[str, float], **how: float) -> Verdict:
    return reach_verdict(finalists_of(means, **how))  # type: ignore[arg-type]


def test_a_clear_winner_is_recommended_with_its_lead_over_the_closest() -> None:
    verdict = verdict_of({"none": 0.70, "TrivialAugment": 0.75, "trial 7": 0.80})
    assert (verdict.kind, verdict.recommended) == ("better", 2)
    assert verdict.sentence.startswith("Trial 7 is better than every baseline: +5.")
    assert "points over TrivialAugment, the closest" in verdict.sentence
    assert verdict.gain is not None
    assert verdict.gain.worse == "none"
    assert verdict.gain.low > 0.08


def test_of_baselines_that_are_alike_the_simplest_is_recommended() -> None:
    verdict = verdict_of({"none": 0.800, "TrivialAugment": 0.801, "trial 7": 0.802})
    assert (verdict.kind, verdict.recommended) == ("as good", 0)
    assert verdict.sentence.startswith("No augmentation is as good as anything that was tried (")
    assert verdict.sentence.endswith("use that.")
    assert verdict.gain is None
    assert verdict.more_seeds is None


def test_a_baseline_that_is_behind_is_not_the_simplest() -> None:
    verdict = verdict_of({"none": 0.77, "flip + crop": 0.80, "TrivialAugment": 0.80, "trial 7": 0.80})
    assert (verdict.kind, verdict.recommended) == ("as good", 1)


def test_what_noise_hides_is_undecided_and_so_many_seeds_would_tell() -> None:
    verdict = verdict_of({"none": 0.78, "TrivialAugment": 0.80, "trial 7": 0.806}, sd=0.02)
    assert (verdict.kind, verdict.recommended) == ("undecided", 1)
    assert verdict.more_seeds is not None
    assert verdict.more_seeds > 0
    assert f"about {verdict.more_seeds} more seeds would decide" in verdict.sentence
    assert verdict.sentence.endswith("Until then use TrivialAugment.")


def test_while_undecided_the_safest_is_used_unless_the_best_is_known_to_lead_it() -> None:
    means = {"none": 0.80, "flip + crop": 0.795, "TrivialAugment": 0.806}
    noisy = replace(finalists_of(means, sd=0.04, folds=8, seed=1), safest="flip + crop")
    verdict = reach_verdict(noisy)
    best = noisy.best_baseline
    assert (verdict.kind, verdict.recommended, best.name) == ("undecided", 1, "TrivialAugment")
    assert "Until then use flip + crop: TrivialAugment over it is +1." in verdict.sentence
    assert reach_verdict(replace(noisy, safest=None)).recommended == best.number
    assert reach_verdict(replace(noisy, safest="of another study")).recommended == best.number

    clear = replace(finalists_of(means | {"flip + crop": 0.6}, sd=0.04, folds=8), safest="flip + crop")
    verdict = reach_verdict(clear)
    assert (verdict.kind, verdict.recommended) == ("undecided", clear.best_baseline.number)
    assert verdict.sentence.endswith("Until then use no augmentation.")


def test_so_many_more_seeds_do_decide() -> None:
    means = {"none": 0.76, "TrivialAugment": 0.80, "trial 7": 0.808}
    decided = 0
    for seed in range(10):
        verdict = verdict_of(means, sd=0.02, seed=seed)
        if verdict.more_seeds is None:
            decided += 1
            continue
        more = verdict_of(means, sd=0.02, folds=FOLDS + verdict.more_seeds, seed=seed)
        decided += more.kind != "undecided"
    assert decided >= 7  # an estimate: it decides more often than not


def test_without_candidates_the_simplest_of_the_best_is_recommended() -> None:
    verdict = verdict_of({"none": 0.70, "flip + crop": 0.80})
    assert verdict.recommended == 1
    assert verdict.differences == ()


def test_luck_against_one_baseline_is_not_enough() -> None:
    verdict = verdict_of({"none": 0.70, "TrivialAugment": 0.80, "trial 7": 0.79})
    assert verdict.kind != "better"


def test_of_log_loss_less_is_better() -> None:
    rng = np.random.default_rng(0)
    finalists = Finalists(
        [
            finalist(0, "none", -0.6 + rng.normal(0, 0.02, FOLDS), LOG_LOSS),
            finalist(1, "trial 1", -0.5 + rng.normal(0, 0.02, FOLDS), LOG_LOSS),
        ],
        0.02,
        LOG_LOSS,
    )
    verdict = reach_verdict(finalists)
    assert verdict.kind == "better"
    assert "+0.1" in verdict.sentence
    assert "nats over no augmentation" in verdict.sentence


def test_the_evidence_has_every_score_and_n() -> None:
    evidence = verdict_of({"none": 0.70, "trial 1": 0.75}).to_json()
    assert evidence["confirmation"][0]["n"] == len(evidence["confirmation"][0]["scores"]) == FOLDS
    assert evidence["differences"][0]["worse"] == "none"
    assert evidence["differences"][0]["p"] < 0.001
    assert evidence["kind"] == "better"
    assert evidence["p"] == evidence["differences"][0]["p"]  # one finalist, one baseline


def test_what_unlabeled_images_bring_is_said_apart() -> None:
    rng = np.random.default_rng(0)
    finalists = Finalists(
        [
            finalist(0, "none", 0.7 + rng.normal(0, 0.005, FOLDS)),
            finalist(1, "pseudo", 0.75 + rng.normal(0, 0.005, FOLDS), unlabeled=True),
        ],
        0.01,
    )
    verdict = reach_verdict(finalists)
    assert verdict.recommended == 1
    assert verdict.gain is None
    assert verdict.unlabeled_gain is not None
    assert verdict.unlabeled_gain.mean == pytest.approx(0.05, abs=0.01)


def test_who_is_hopeless_stops_and_who_may_win_goes_on() -> None:
    means = {"none": 0.70, "TrivialAugment": 0.80, "trial 7": 0.803, "trial 8": 0.75}
    finalists = finalists_of(means, 0.01, folds=8, seed=1)
    assert [one.name for one in finalists.worth_more(FOLDS)] == ["trial 7", "TrivialAugment"]


def test_a_lead_before_the_last_fold_must_be_surer() -> None:
    early = planned_looks(FOLDS)[0].level
    for seed in range(50):
        finalists = finalists_of({"none": 0.80, "trial 7": 0.804}, folds=8, seed=seed)
        if finalists.beats_all(LEVEL) and not finalists.beats_all(early):
            return
    pytest.fail("no result that is clear enough at the end, and not before")


def test_two_finalists_share_the_chance_of_an_error() -> None:
    for seed in range(200):
        finalists = finalists_of({"none": 0.80, "trial 7": 0.803, "trial 8": 0.78}, folds=12, seed=seed)
        (nothing,) = finalists.baselines
        p = finalists.lead(finalists.candidates[0], nothing).p
        assert finalists.p_values[0] == pytest.approx(min(1, 2 * p))
        if p <= LEVEL < finalists.p_values[0]:
            assert finalists.beats_all(LEVEL) is None
            return
    pytest.fail("a second finalist never mattered")


def test_a_lead_on_these_images_alone_is_none() -> None:
    """Folds agree, and still other images might say otherwise."""
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 1, 400)  # of a candidate on these images, the same in every fold
    luck = 0.035 * (luck - luck.mean()) / luck.std()

    def on_images(number: int, name: str, shift: np.ndarray) -> Finalist:
        rows = [(0.8 + shift + rng.normal(0, 0.003)).astype(np.float16) for _ in range(FOLDS)]
        results = [
            FoldResult(float(row.mean()), 0, 0, 1, 1, np.empty(0, dtype=bool), values=row) for row in rows
        ]
        return Finalist(number, name, name == "none", results)

    nothing = on_images(0, "none", np.zeros(400))
    one_error, three_errors = 0.035 / np.sqrt(400) * np.array([1, 3])
    lucky, better = (on_images(1, "trial 1", luck + lead) for lead in (one_error, three_errors))
    assert Finalists([nothing, lucky], 0.01).beats_all(LEVEL) is None
    assert Finalists([nothing, better], 0.01).beats_all(LEVEL) is better


def test_a_candidate_must_beat_its_own_controls_and_not_those_of_others() -> None:
    rng = np.random.default_rng(0)

    def control(of: int, mean: float) -> Finalist:
        scores = mean + rng.normal(0, 0.003, FOLDS)
        own = finalist(9, "none with the help of trial 1", scores)
        return replace(own, control_of=frozenset({of}), same_help=True)

    members = finalists_of({"none": 0.70, "trial 1": 0.80, "trial 2": 0.75}).members
    of_the_best, of_the_other = (Finalists([*members, control(of, 0.82)], 0.01) for of in (1, 2))
    verdict = reach_verdict(of_the_best)
    assert (verdict.kind, verdict.recommended) == ("as good", 9)
    by_policy, by_help = verdict.parts
    assert (by_policy.of, by_help.of) == ("its policy", "its teacher, unlabeled images or class balance")
    assert by_policy.difference.mean == pytest.approx(-0.02, abs=0.005)
    assert by_help.difference.mean == pytest.approx(0.12, abs=0.005)
    assert (reach_verdict(of_the_other).kind, reach_verdict(of_the_other).parts) == ("as good", ())
    behind = Finalists([*members, control(2, 0.78)], 0.01)
    assert (reach_verdict(behind).kind, reach_verdict(behind).recommended) == ("better", 1)


def test_a_candidate_that_is_a_baseline_with_help_controls_those_with_the_same_help() -> None:
    members = finalists_of({"none": 0.70, "flip + crop": 0.72, "trial 2": 0.80, "trial 3": 0.79}).members
    itself = replace(members[2], control_of=frozenset[int](), same_help=True, base=1)
    (by_help,) = reach_verdict(Finalists([*members[:2], itself], 0.01)).parts
    assert by_help.of == "its teacher, unlabeled images or class balance"
    assert by_help.difference.mean == pytest.approx(0.08, abs=0.005)
    # Trial 3 has its teacher and another policy, which makes it worse.
    field = Finalists([*members[:2], replace(itself, control_of=frozenset({3})), members[3]], 0.01)
    assert [one.number for one in field.rivals(members[3])] == [0, 1, 2]
    assert [one.number for one in field.rivals(field.members[2])] == [0, 1]
    assert reach_verdict(field).recommended == 2
    ahead = replace(members[3], results=finalist(3, "", np.full(FOLDS, 0.85)).results)
    by_policy, by_help = reach_verdict(Finalists([*field.members[:3], ahead], 0.01)).parts
    assert by_policy.difference.mean == pytest.approx(0.05, abs=0.005)
    assert (by_help.difference.worse, by_help.difference.better) == ("flip + crop", "trial 2")


def test_a_lead_is_divided_over_the_baseline_that_had_the_same_help() -> None:
    """Another one than in the search may be the best baseline of the confirmation."""
    rng = np.random.default_rng(0)
    members = finalists_of({"flip + crop": 0.775, "TrivialAugment": 0.755, "trial 7": 0.79}).members
    helped = finalist(9, "TrivialAugment with the help of trial 7", 0.77 + rng.normal(0, 0.003, FOLDS))
    helped = replace(helped, baseline=True, control_of=frozenset({2}), same_help=True, base=1)
    verdict = reach_verdict(Finalists([*members, helped], 0.01))
    _, by_help = verdict.parts
    assert by_help.difference.worse == "TrivialAugment"
    assert by_help.difference.mean == pytest.approx(0.015, abs=0.005)
    (note,) = verdict.notes
    assert note.startswith("Flip + crop is the best baseline here, in the search TrivialAugment was")


def test_so_many_seeds_are_told_that_the_looks_which_they_bring_decide() -> None:
    """A look that is added has a smaller share of the error than the last one had."""
    field = finalists_of({"none": 0.70, "trial 1": 0.703}, sd=0.012, folds=32, seed=2)
    looks = planned_looks(32)
    usual = reach_verdict(field).more_seeds
    told = reach_verdict(field, later=lambda folds: with_reserve(looks, folds)[-1]).more_seeds
    assert usual is not None
    assert told is not None
    assert told > 1.3 * usual


def test_the_figures_are_those_of_whom_the_sentence_names() -> None:
    members = finalists_of({"none": 0.70, "trial 1": 0.803, "trial 2": 0.80}, sd=0.012).members
    scores = 0.803 + np.random.default_rng(1).normal(0, 0.003, FOLDS)
    helped = replace(finalist(9, "none with the help of trial 1", scores), control_of=frozenset({1}))
    field = Finalists([*members, replace(helped, same_help=True, base=0)], 0.01)
    verdict = reach_verdict(field)
    assert (verdict.kind, verdict.recommended) == ("better", 2)
    assert [(one.better, one.worse) for one in verdict.differences] == [("trial 2", "none")]
    assert verdict.p == field.p_of(members[2]) < 0.01 < field.p_of(members[1])


def test_one_that_is_left_alone_is_what_to_use() -> None:
    assert verdict_of({"none": 0.70}).sentence == "No augmentation is all that could be confirmed: use that."


def test_where_nothing_is_wrong_any_more_the_simplest_will_do() -> None:
    perfect = [finalist(number, name, np.ones(8)) for number, name in enumerate(("none", "trial 1"))]
    assert (reach_verdict(Finalists(perfect, 0.01)).kind, Finalists(perfect, 0.01).margin) == ("as good", 0)


def test_no_candidate_is_trained_on_alone() -> None:
    """A lead that is sure for this look need not be for the next, which may be wrong less often."""
    field = finalists_of({"none": 0.70, "flip + crop": 0.75, "trial 2": 0.77}, sd=0.01, folds=8)
    assert max(lead.p for lead in (field.lead(field.members[2], one) for one in field.members[:2])) < 0.005
    assert [one.number for one in field.worth_more(64)] == [2, 1]


def test_nothing_is_better_than_every_baseline_where_one_is_missing() -> None:
    finalists = finalists_of({"none": 0.70, "trial 7": 0.80})
    verdict = reach_verdict(finalists, missing=["TrivialAugment"])
    assert verdict.kind != "better"
    assert verdict.more_seeds is None
    assert "; TrivialAugment must be trained first. Until then use no augmentation." in verdict.sentence
    assert "TrivialAugment could not be trained" in verdict.notes[0]


def test_the_margin_shrinks_where_little_is_still_wrong() -> None:
    assert finalists_of({"none": 0.60, "trial 1": 0.61}).margin == 0.01
    nearly = finalists_of({"none": 0.985, "trial 1": 0.994}, sd=0.001)
    assert nearly.margin == pytest.approx(0.2 * 0.015, rel=0.1)
    assert reach_verdict(nearly).kind == "better"
    given = Finalists(nearly.members, 0.01, relative=False)
    assert given.margin == 0.01


def test_longer_training_of_a_baseline_is_measured_and_never_what_is_recommended() -> None:
    rng = np.random.default_rng(0)
    members = finalists_of({"none": 0.700, "flip + crop": 0.800, "trial 1": 0.801}).members
    scores = 0.82 + rng.normal(0, 0.003, FOLDS)
    longer = replace(finalist(9, "flip + crop, 2 × the passes", scores), control_of=frozenset({2}))
    verdict = reach_verdict(Finalists([*members, longer], 0.01))
    assert (verdict.kind, verdict.recommended) == ("as good", 1)
    (part,) = verdict.parts
    assert part.of == "as many image passes without them"
    assert part.difference.mean == pytest.approx(0.02, abs=0.005)
    ahead = finalists_of({"none": 0.700, "flip + crop": 0.800, "trial 1": 0.815}).members
    assert reach_verdict(Finalists(ahead, 0.01)).kind == "better"
    assert reach_verdict(Finalists([*ahead, longer], 0.01)).kind != "better"


def test_what_leads_a_baseline_by_its_compute_alone_is_no_reason_against_it() -> None:
    """A teacher may bring less than as many image passes without it: the baseline is as good, for longer."""
    rng = np.random.default_rng(0)

    def control(number: int, name: str, mean: float, **fields: Any) -> Finalist:
        own = finalist(number, name, mean + rng.normal(0, 0.003, FOLDS))
        return replace(own, baseline=True, control_of=frozenset({2}), **fields)

    members = finalists_of({"none": 0.700, "flip + crop": 0.800, "trial 1": 0.817}).members
    longer = control(9, "flip + crop, 2 × the passes", 0.834, base=1)
    helped = control(10, "flip + crop with the help of trial 1", 0.816, same_help=True)
    field = Finalists([*members, longer, helped], 0.01)
    verdict = reach_verdict(field)
    assert (verdict.kind, verdict.recommended) == ("as good", 1)
    assert verdict.sentence.startswith(
        "Flip + crop is as good as anything that was tried once it trains for as many image passes "
        "(trial 1 over it then: -1."
    )
    assert verdict.sentence.endswith("use that, and train it longer.")
    # Where as many passes bring less than the teacher does, the teacher is what is recommended.
    short = replace(longer, results=finalist(9, "", 0.801 + rng.normal(0, 0.003, FOLDS)).results)
    assert reach_verdict(Finalists([*members, short, helped], 0.01)).recommended == 10


def test_a_baseline_that_trains_longer_is_trained_on_where_that_settles_whether_it_is_as_good() -> None:
    rng = np.random.default_rng(3)
    means = {"flip + crop": 0.800, "trial 1": 0.816, "flip + crop, 2 × the passes": 0.825}
    plain, candidate, longer = (
        finalist(number, name, mean + rng.normal(0, 0.012, 4))
        for number, (name, mean) in enumerate(means.items())
    )
    longer = replace(longer, control_of=frozenset({1}), base=0)
    going = Finalists([plain, candidate, longer], 0.01).worth_more(FOLDS)
    assert {one.number for one in going} == {0, 1, 2}
