"""``augsearch diff A B``: studies, policy files and ready policies side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result

from augsearch.policies import Policy, PolicyFile, write_policy
from augsearch.search.cli import main

MakeStudy = Callable[..., optuna.Study]


def diff(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["diff", *arguments])


def differing(a: str, b: str) -> dict[tuple[str, str], tuple[Any, Any]]:
    done = diff(a, b, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["differences"]
    return {(one["section"], one["field"]): (one["a"], one["b"]) for one in found}


def test_two_studies_differ_in_what_they_were_made_from_in_settings_verdict_and_policy(
    make_study: MakeStudy,
) -> None:
    led = make_study(name="led", lead=0.08)
    even = make_study(name="even", trials=12)
    even.set_user_attr("identity", even.user_attrs["identity"] | {"data": "cars 0123", "sampler": "random"})
    even.set_user_attr("settings", even.user_attrs["settings"] | {"sampler": "random"})
    found = differing("led", "even")
    assert found["made from", "data"] == ("photos 0123456789ab", "cars 0123")
    assert found["made from", "sampler"] == (None, "random")
    assert ("settings", "sampler") not in found  # it is named once
    assert found["settings", "trials"] == (16, 12)
    assert ("settings", "study") not in found
    assert ("settings", "folds") not in found
    verdicts = tuple(study.user_attrs["verdict"]["verdict"] for study in (led, even))
    assert found["verdict", "verdict"] == verdicts
    assert found["verdict", "recommended"][0] == "trial 5"
    assert found["policy", "magnitude"][0] == 5
    table = diff("led", "even").output
    assert "what is not in the table is the same" in table
    assert "cars 0123" in table


def test_a_study_is_compared_with_policies_and_an_unfinished_one_with_what_it_has(
    make_study: MakeStudy,
) -> None:
    make_study(lead=0.08)
    assert CliRunner().invoke(main, ["export", "demo", "-o", "out.json"]).exit_code == 0
    same = diff("demo", "out.json")
    assert "are the same in made from, verdict, policy, training" in " ".join(same.output.split())
    write_policy(PolicyFile(policy=Policy(num_ops=1, magnitude=6)), "own.json")
    assert differing("out.json", "own.json") == {("policy", "magnitude"): (5, 6)}
    odd = {"verdict": 3, "confirmation": "?", "recommended": []}
    write_policy(PolicyFile(policy=Policy(), evidence=odd, provenance={"made_from": "?"}), "odd.json")
    assert differing("demo", "odd.json")["verdict", "verdict"][1] == 3
    assert differing("demo", "flip-crop")["policy", "flip_horizontal"] == (0.0, 0.5)
    make_study("searching", name="begun", folds=2)
    assert "none yet; the best so far is" in differing("begun", "demo")["verdict", "verdict"][0]


@pytest.mark.parametrize(
    ("a", "message"), [("gone", "no study 'gone' in this storage"), ("gone.json", "gone.json: no such file")]
)
def test_what_is_not_there_is_named(a: str, message: str) -> None:
    done = diff(a, "flip-crop")
    assert (done.exit_code, message in done.output) == (2, True)
