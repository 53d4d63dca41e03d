"""A whole search in Python: what it gives back, what it says, and what it refuses."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import augsearch.search as s
from augsearch.policies import Policy, UserError, read_policy
from augsearch.search.settings.settings import FLAT
from augsearch.search.tracking.models import fetch_model


def test_a_search_gives_its_verdict_policy_tables_figures_and_model(
    stripes: str, quick: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    quick |= {"register": "stripes@best"}
    result = s.run(Path(stripes), **quick)
    said = capsys.readouterr().out
    assert str(result.verdict) in said
    assert result.verdict.recommended in result.trials.index
    assert read_policy(result.folder / "policy.json").policy == result.policy
    assert result.policy_file.evidence["verdict"] == str(result.verdict)

    trials = result.trials
    assert len(trials) == 7
    assert trials["baseline"].sum() == 6
    assert trials["state"].eq("complete").all()
    assert trials.loc[2, "policy.magnitude"] == 9
    folds = result.confirmation
    assert set(folds.groupby("name").size()) == {2}
    means = folds.groupby("trial")["score"].mean()
    assert {one.number: pytest.approx(one.mean) for one in result.verdict.confirmed} == means.to_dict()

    for chart in (result.plot_race(), result.plot_history(), result.plot_confirmation()):
        assert chart.save("chart.svg").read_text(encoding="utf-8").startswith("<svg")
        assert "var(--" not in chart.alone
    assert result.report("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert result.preview().width > 100
    assert read_policy(result.save_policy("p.json")).policy == result.policy
    assert 0 <= result.final["test_accuracy"] <= 1
    assert len(result.model.classes) == 3
    assert repr(result.model) == "<Classifier tiny: 3 classes>"

    assert str(result.verdict) in repr(result)
    assert result.policy._repr_html_().startswith("<div><code>Policy(")
    html = result._repr_html_()
    assert "Undecided" in html or "as good" in html or "Better" in html

    registered = fetch_model("models:/stripes@best", quick["tracking_uri"])
    assert registered.read_bytes() == Path(result.folder / "model.safetensors").read_bytes()

    again = s.run(stripes, **quick, progress=False)
    assert capsys.readouterr().out == ""
    assert (again.name, again.trials.equals(trials)) == (result.name, True)
    assert s.load(result.name).verdict == again.verdict


def test_a_study_that_is_not_done_says_so(make_study: Any) -> None:
    make_study("searched")
    result = s.load("demo")
    assert len(result.trials) == 16
    assert result.confirmation.empty
    assert "race" in result.plot_race().title
    for ask in ("verdict", "policy", "model", "final"):
        with pytest.raises(UserError, match="demo"):
            getattr(result, ask)
    with pytest.raises(UserError, match="nothing is confirmed yet"):
        result.plot_confirmation()
    with pytest.raises(UserError, match=r"written as \.svg"):
        result.plot_race().save("race.gif")
    with pytest.raises(UserError, match="no study 'demmo'"):
        s.load("demmo")


def test_bad_input_is_one_line_in_the_words_of_python() -> None:
    with pytest.raises(UserError, match="no setting 'budjet'; did you mean 'budget'"):
        s.run(budjet="10m")
    with pytest.raises(UserError, match=r"^final_epochs must be ≥ 1, got 0$"):
        s.run(final_epochs=0)
    with pytest.raises(UserError, match="register: must be NAME or NAME@ALIAS"):
        s.run(register="a/b")
    with pytest.raises(UserError, match="no file or folder nowhere"):
        s.run("nowhere")


def test_every_setting_is_a_keyword_that_an_editor_completes() -> None:
    assert set(FLAT) <= set(inspect.signature(s.run).parameters)


def test_a_policy_shows_what_it_does_to_a_picture() -> None:
    shown = Policy(num_ops=1, magnitude=20, operations=("invert",))._repr_html_()
    assert "operations=(&#x27;invert&#x27;,)" in shown
    assert "<img" in shown
