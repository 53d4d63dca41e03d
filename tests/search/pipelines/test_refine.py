"""``run --refine`` with real trainings: what is tried, what it takes to be adopted, and where it is found."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner

from augsearch.policies import Policy, read_policy
from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.final.scored import ScoredFinals
from augsearch.search.inputs.reopened import reopen, settings_of
from augsearch.search.pipelines.refine import FRESH, SCREENED, around, refine
from augsearch.search.report.facts import gather
from augsearch.search.report.page import render
from augsearch.search.space.space import USUAL
from augsearch.search.statistics.paired import Difference
from augsearch.search.studies.refinement import (
    ATTRIBUTE,
    Point,
    Refinement,
    known_refinement,
    refined,
    refinement_in_words,
)
from augsearch.search.studies.study import entries
from augsearch.trainers.evaluation.metrics import ACCURACY
from tests.search.pipelines.final_models import FinalEngine


def point(policy: Policy) -> tuple[int, int | str]:
    return policy.num_ops, policy.magnitude


def refine_usual(study: optuna.Study) -> Refinement:
    """Refine RandAugment (2, 9), as if that were recommended."""
    (entry,) = [one for one in entries(study) if one.baseline == USUAL]
    settings = settings_of(study)
    data = reopen(study, settings, Display())
    refine(study, entry, ScoredFinals.of(data, settings, [entry.candidate], Display()), Display())
    found = known_refinement(study, entry.number)
    assert found is not None
    return found


def test_the_points_around_lie_in_their_ranges() -> None:
    assert len(around((2, 9))) == 8
    assert {(1, 5), (2, 5), (3, 13)} <= set(around((2, 9)))
    assert set(around((1, 30))) == {(1, 26), (2, 26), (2, 30)}
    assert set(around((1, 2))) == {(1, 0), (1, 6), (2, 0), (2, 2), (2, 6)}
    assert around((4, "random")) == [(3, "random")]
    for place in ((1, 0), (4, 30), (3, 14), (8, 9)):
        assert 1 <= len(around(place)) <= 8


def test_what_leads_on_fresh_seeds_too_takes_the_winners_place(
    ended_study: optuna.Study, final_engine: FinalEngine
) -> None:
    final_engine.is_good = lambda policy: point(policy) == (3, 13)
    found = refine_usual(ended_study)
    assert len(final_engine.asked) == 9 * SCREENED + 2 * FRESH
    screened = {seed for _, seed in final_engine.asked[: 9 * SCREENED]}
    fresh = {seed for _, seed in final_engine.asked[9 * SCREENED :]}
    assert (len(screened), len(fresh)) == (SCREENED, FRESH)
    assert not screened & fresh
    assert found.adopted is not None
    assert (found.adopted.num_ops, found.adopted.magnitude) == (3, 13)
    assert not Path("mlruns/test-reads").exists()
    refine_usual(ended_study)
    assert len(final_engine.asked) == 9 * SCREENED + 2 * FRESH  # nothing is trained again
    verdict = ended_study.user_attrs["verdict"] | {"recommended": found.trial}
    ended_study.set_user_attr("verdict", verdict)
    exported = CliRunner().invoke(main, ["export", "mine", "-o", "policy.json"])
    assert "N=3 M=13" in exported.output
    file = read_policy("policy.json")
    assert (file.policy.num_ops, file.policy.magnitude) == (3, 13)
    evidence = json.loads(Path("policy.json").read_text(encoding="utf-8"))["evidence"]["refinement"]
    assert evidence["adopted"] is True
    assert len(evidence["tried"]) == 8
    page = render(gather(ended_study, Path("mlruns/mine")))
    assert "N and M on the final network" in page
    assert "3 random operations of 14 on every image, at strength 13 of 30" in page


def test_where_nothing_is_better_n_and_m_stay(ended_study: optuna.Study, final_engine: FinalEngine) -> None:
    final_engine.is_good = lambda policy: point(policy) == (2, 9)
    found = refine_usual(ended_study)
    assert found.adopted is None
    assert found.lead is None
    assert len(final_engine.asked) == 9 * SCREENED  # no fresh seeds: none looked better
    (entry,) = [one for one in entries(ended_study) if one.baseline == USUAL]
    assert refined(ended_study, entry) == entry


def test_a_killed_refinement_goes_on(ended_study: optuna.Study, final_engine: FinalEngine) -> None:
    final_engine.is_good, final_engine.most = lambda policy: point(policy) == (1, 5), 7
    with pytest.raises(KeyboardInterrupt):
        refine_usual(ended_study)
    assert ATTRIBUTE not in ended_study.user_attrs
    final_engine.most = 1_000_000
    refine_usual(ended_study)
    trained = [(point(policy), seed) for policy, seed in final_engine.asked]
    assert len(trained) == len(set(trained)) == 9 * SCREENED + 2 * FRESH


def test_the_run_says_so_where_there_is_nothing_to_refine_and_refuses_a_budget(
    ended_study: optuna.Study, final_engine: FinalEngine, ended_run_again: list[str]
) -> None:
    done = CliRunner().invoke(main, [*ended_run_again, "--refine"])
    assert done.exit_code == 0, done.output
    recommended = ended_study.user_attrs["verdict"]["recommended"]
    policy = next(one for one in entries(ended_study) if one.number == recommended).candidate.policy
    said = "refining N and M" if policy.num_ops else "so there are no N and M to refine"
    assert said in done.output
    done = CliRunner().invoke(main, ["run", "stripes.npz", "--refine", "--budget", "5m"])
    assert done.exit_code == 2
    assert "leave --refine or --budget out" in done.output


def test_a_lead_that_may_be_noise_changes_nothing() -> None:
    winner, other = Point(2, 9, (0.5, 0.5)), Point(1, 5, (0.52, 0.5))
    lead = Difference("N = 1, M = 5", "N = 2, M = 9", 0.02, -0.01, 0.05, 5, 0.1)
    found = Refinement(3, winner, (other,), lead)
    assert found.adopted is None
    assert Refinement.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert refinement_in_words(found, ACCURACY) == (
        "Around N = 2, M = 9 1 point was tried on the final network; on 5 fresh seeds N = 1, M = 5 leads it "
        "by +2.0 [-1.0, +5.0] points, which may be noise: N and M stay."
    )
