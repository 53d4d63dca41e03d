"""``augsearch list`` and ``augsearch show``: what there is, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import optuna
from click.testing import CliRunner

from augsearch.search.cli import main

MakeStudy = Callable[..., optuna.Study]


def said(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_studies_are_listed_with_state_and_verdict(make_study: MakeStudy) -> None:
    assert "no studies here yet" in said("list")
    assert json.loads(said("list", "--json")) == []
    done = make_study(lead=0.08, name="done")
    make_study("searching", name="begun")
    optuna.create_study(storage="sqlite:///mlruns/studies.db", study_name="a stranger's")
    by_name = {one["study"]: one for one in json.loads(said("list", "--json"))}
    assert set(by_name) == {"done", "begun"}
    assert by_name["begun"] | {"last": ""} == {
        "study": "begun",
        "data": "photos",
        "state": "searching",
        "trials": 8,
        "last": "",
        "verdict": None,
        "recommended": None,
    }
    verdict = done.user_attrs["verdict"]
    assert by_name["done"]["state"] == "confirmed"
    assert by_name["done"]["verdict"] == verdict["kind"]
    assert by_name["done"]["recommended"] == f"trial {verdict['recommended']}"
    table = said("list")
    assert "searching" in table
    assert verdict["kind"] in table


def test_a_study_is_shown_as_its_report_begins(make_study: MakeStudy) -> None:
    study = make_study(lead=0.08)
    shown = said("show", "demo")
    assert study.user_attrs["verdict"]["verdict"] in shown
    assert "augsearch export demo -o policy.json" in shown
    assert "flip + crop" in shown
    document = json.loads(said("show", "demo", "--json"))
    assert document["evidence"] == study.user_attrs["verdict"]
    assert document["made_from"]["data"] == "photos 0123456789ab"
    make_study("searching", name="begun")
    assert "study begun: searching" in said("show", "begun")
    result = CliRunner().invoke(main, ["show", "dem"])
    assert (result.exit_code, "no study 'dem'" in result.output) == (2, True)
