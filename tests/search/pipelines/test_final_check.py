"""The best policies on the network that ships: real trainings, their scores as the test wants them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from augsearch.policies import Policy, read_policy
from augsearch.search import load
from augsearch.search.cli import main
from augsearch.search.report.facts import gather
from augsearch.search.report.page import render
from augsearch.search.report.sentences import headline
from augsearch.search.settings.settings import Settings
from augsearch.search.statistics.paired import Difference
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.controls import by_number
from augsearch.search.studies.final_check import (
    Checked,
    FinalCheck,
    checked,
    final_check_in_words,
    known_final_check,
)
from augsearch.search.studies.study import load_study, open_storage
from augsearch.trainers.evaluation.metrics import ACCURACY
from tests.search.pipelines.final_models import FinalEngine

SEEDS = ("--final", "--final-seeds", "2")


def run(arguments: list[str], *more: str) -> str:
    done = CliRunner().invoke(main, [*arguments, *more])
    assert done.exit_code == 0, done.output
    return done.output


def verdict_of(study: optuna.Study) -> dict[str, Any]:
    again = load_study(open_storage("sqlite:///mlruns/studies.db"), study.study_name)
    verdict: dict[str, Any] = again.user_attrs["verdict"]
    return verdict


def rivals(study: optuna.Study, number: int) -> list[Policy]:
    """The policies of the confirmed, but for that of trial ``number``."""
    confirmed = [by_number(study)[one["number"]] for one in verdict_of(study)["confirmation"]]
    return [one.candidate.policy for one in confirmed if one.number != number]


def test_what_leads_on_the_final_network_takes_the_place_of_what_was_recommended(
    ended_study: optuna.Study, final_engine: FinalEngine, ended_run_again: list[str]
) -> None:
    before = verdict_of(ended_study)
    (first,) = [one for one in before["confirmation"] if one["number"] == before["recommended"]]
    good = rivals(ended_study, first["number"])
    final_engine.is_good = lambda policy: policy in good
    output = run(ended_run_again, *SEEDS)
    assert "On tiny itself, trained at 16 px with 2 seeds" in output
    after = verdict_of(ended_study)
    assert after["recommended"] != first["number"]
    assert after["verdict"].startswith("On tiny itself")
    assert before["verdict"] in after["verdict"]
    assert after["kind"] in ("as good", "undecided")
    entry = by_number(ended_study)[after["recommended"]]
    file = read_policy("mlruns/mine/policy.json")
    assert file.policy == entry.candidate.policy
    assert file.evidence["final_check"]["adopted"] == entry.number
    trained = [policy for policy, _ in final_engine.asked]
    assert len(trained) == 2 * len(after["final_check"]["entries"])
    result = load("mine")
    assert result.verdict.recommended == entry.number
    page = Path("mlruns/mine/report.html").read_text(encoding="utf-8")
    assert "On the network that ships" in page
    assert f"lead over {first['name']}" in page


def test_without_a_clear_lead_the_verdict_stays_and_nothing_is_trained_twice(
    ended_study: optuna.Study, final_engine: FinalEngine, ended_run_again: list[str]
) -> None:
    before = verdict_of(ended_study)
    run(ended_run_again, *SEEDS)
    after, asked = verdict_of(ended_study), len(final_engine.asked)
    assert asked == 2 * len(after["final_check"]["entries"])
    assert (after["verdict"], after["recommended"]) == (before["verdict"], before["recommended"])
    assert after["notes"][-1].startswith("On tiny itself")
    assert after["final_check"]["adopted"] is None
    run(ended_run_again, *SEEDS)
    assert len(final_engine.asked) == asked
    assert verdict_of(ended_study) == after
    run(ended_run_again, "--final", "--final-seeds", "3")
    assert len(final_engine.asked) == asked * 3 // 2
    study = load_study(open_storage("sqlite:///mlruns/studies.db"), "mine")
    known = known_final_check(study)
    assert known is not None
    assert known.seeds == 3
    assert 'id="on-final"' in render(gather(study, Path("mlruns/mine")))


def test_a_killed_check_goes_on(
    ended_study: optuna.Study, final_engine: FinalEngine, ended_run_again: list[str]
) -> None:
    final_engine.most = 3
    stopped = CliRunner().invoke(main, [*ended_run_again, *SEEDS])
    assert stopped.exit_code != 0
    assert "final_check" not in verdict_of(ended_study)
    final_engine.most = 1_000_000
    run(ended_run_again, *SEEDS)
    trained = [(policy.model_dump_json(), seed) for policy, seed in final_engine.asked]
    assert len(trained) == len(set(trained)) == 2 * len(verdict_of(ended_study)["final_check"]["entries"])


def test_a_final_network_that_cannot_be_trained_takes_no_verdict_away(
    ended_study: optuna.Study, final_engine: FinalEngine, ended_run_again: list[str]
) -> None:
    final_engine.fails = True
    before = verdict_of(ended_study)
    output = run(ended_run_again, *SEEDS)
    assert "no comparison on the final network" in output
    assert verdict_of(ended_study)["verdict"] == before["verdict"]
    assert Path("mlruns/mine/policy.json").exists()
    final_engine.fails = False
    run(ended_run_again, *SEEDS)
    assert "final_check" in verdict_of(ended_study)


@pytest.mark.parametrize(
    ("given", "compares"),
    [
        ({}, False),
        ({"final_model": "lite0"}, True),
        ({"final_model": "lite0", "final": False}, False),
        ({"final_model": "lite0", "final_seeds": 0}, False),
        ({"final_model": "lite0", "proxy_model": "lite0"}, False),
        ({"final_model": "lite0", "proxy_model": "lite0", "proxy_size": 64}, False),
        ({"final_seeds": 2}, True),
    ],
)
def test_it_is_done_where_another_network_stands_in_or_where_it_is_asked_for(
    given: dict[str, Any], compares: bool
) -> None:
    assert Settings.of(**given).compares_on_final is compares


def test_one_seed_is_refused() -> None:
    done = CliRunner().invoke(main, ["run", "--final-seeds", "1"])
    assert done.exit_code == 2
    assert "one can't tell a lead from noise" in done.output


CHOSEN, RIVAL, THIRD = (
    Checked(7, "trial 7", False, (0.8, 0.82)),
    Checked(1, "flip + crop", True, (0.83, 0.84)),
    Checked(9, "trial 9", False, (0.81, 0.83)),
)


def check(*leads: Difference) -> FinalCheck:
    return FinalCheck("lite0", 96, 6, "accuracy", (CHOSEN, RIVAL, THIRD), leads)


def lead(name: str, mean: float, p: float) -> Difference:
    return Difference(name, "trial 7", mean, mean - 0.02, mean + 0.02, 2, p)


def test_of_several_leads_each_must_be_the_surer() -> None:
    sure = check(lead("flip + crop", 0.03, 0.012), lead("trial 9", 0.01, 0.2))
    assert sure.adopted is RIVAL
    # Of two comparisons the surer one must be below half of the level (Holm).
    assert check(lead("flip + crop", 0.03, 0.02), lead("trial 9", 0.01, 0.2)).adopted is None
    assert FinalCheck.from_json(json.loads(json.dumps(sure.to_json()))) == sure


def test_the_words_say_what_follows() -> None:
    said = final_check_in_words(check(lead("flip + crop", 0.03, 0.001), lead("trial 9", 0.01, 0.2)))
    assert said == (
        "On lite0 itself, trained at 96 px with 2 seeds, flip + crop leads trial 7 by +3.0 [+1.0, +5.0] "
        "points: use flip + crop."
    )
    said = final_check_in_words(check(lead("trial 9", 0.01, 0.2)))
    assert said.endswith(
        "trial 9 leads trial 7 by +1.0 [-1.0, +3.0] points, which may be noise and changes nothing."
    )
    said = final_check_in_words(check(lead("trial 9", -0.01, 0.8)))
    assert said.endswith("trial 9 comes closest to trial 7, -1.0 [-3.0, +1.0] points: that stays.")


def test_where_it_decided_nothing_is_said_of_how_sure_the_short_trainings_were(make_study: Any) -> None:
    study = make_study(lead=0.06)
    verdict = replace(Verdict.from_json(study.user_attrs["verdict"], ACCURACY), more_seeds=9)
    recommended = next(one for one in verdict.confirmed if one.number == verdict.recommended)
    rival = next(one for one in verdict.confirmed if one.baseline)
    better = Difference(rival.name, recommended.name, 0.03, 0.02, 0.04, 3, 0.0005)
    entries = tuple(Checked(one.number, one.name, one.baseline, (0.8,)) for one in (recommended, rival))
    told = checked(verdict, FinalCheck("lite0", 96, 6, "accuracy", entries, (better,)))
    assert told.more_seeds is None
    study.set_user_attr("verdict", told.to_json())
    sure = " ".join(headline(gather(study)).how_sure)
    assert "Nothing leads" not in sure
    assert "decided on the final network itself" in sure


def test_a_baseline_that_is_better_there_ends_a_claim_of_better() -> None:
    short = Verdict("Trial 7 is better.", "better", 7, ACCURACY, 0.01, (), ())
    told = checked(short, check(lead("flip + crop", 0.03, 0.001)))
    assert (told.kind, told.recommended) == ("as good", 1)
    assert told.sentence.endswith("Short trainings alone said: Trial 7 is better.")
    told = checked(short, check(lead("trial 9", 0.03, 0.001)))
    assert (told.kind, told.recommended) == ("undecided", 9)  # short trainings did not speak of trial 9
    assert checked(short, check(lead("trial 9", 0.01, 0.4))).kind == "better"
