"""What an exported policy file says of its evidence."""

from __future__ import annotations

from collections.abc import Callable

import optuna

from augsearch.policies import read_policy
from augsearch.search.pipelines.export import export_policy

MakeStudy = Callable[..., optuna.Study]


def exported(trial: int | None) -> tuple[str, dict[str, object]]:
    said = export_policy("demo", None, "json", trial=trial, storage=None, approximate=False, data=None)
    return said, read_policy("policy.json").evidence


def test_a_trial_that_is_not_recommended_has_no_other_ones_verdict(make_study: MakeStudy) -> None:
    study = make_study(lead=0.08)
    recommended = study.user_attrs["verdict"]["recommended"]
    said, evidence = exported(None)
    assert evidence["verdict"] == study.user_attrs["verdict"]["verdict"]
    assert "recommends" not in said

    confirmed = {one["number"] for one in study.user_attrs["verdict"]["confirmation"]} - {recommended}
    said, evidence = exported(min(confirmed))
    assert "verdict" not in evidence
    (row,) = evidence["confirmation"]  # type: ignore[misc]
    assert row["number"] == min(confirmed)
    assert f"the verdict recommends trial {recommended}" in said

    others = {trial.number for trial in study.trials} - confirmed - {recommended}
    _, evidence = exported(min(others))
    assert evidence["confirmation"] == []
    assert exported(recommended)[1]["verdict"] == study.user_attrs["verdict"]["verdict"]
