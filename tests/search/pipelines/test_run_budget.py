"""A run that is to end in time: real trainings, and a clock that the test turns."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from augsearch.policies import UserError, read_policy
from augsearch.search.budget.session import Record, record_of
from augsearch.search.command_lines import run_command
from augsearch.search.console import Display
from augsearch.search.inputs.identity import identity_of, study_name
from augsearch.search.inputs.prepare import open_data
from augsearch.search.pipelines.run import Outcome, next_steps, run
from augsearch.search.race.resume import study_of, with_usual_budget
from augsearch.search.report.facts import gather
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import confirmation_results, entries, load_study, open_storage

BUDGET = 60.0


@dataclass
class Clock:
    """Every look at it takes a second."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class Killed(Display):
    """A terminal whose user presses Ctrl-C when the confirmation begins."""

    def line(self, text: str) -> None:
        if text.startswith("confirming"):
            raise KeyboardInterrupt
        super().line(text)


def quick(data: str, **fields: Any) -> Settings:
    """Folds of an epoch, on this process."""
    small = {"proxy_model": "tiny", "final_model": "tiny", "teacher": "none", "fold_size": 24, "epochs": 1}
    return Settings.model_validate({"data": data, "engine": "inline", "study": "b", **small, **fields})


def study_b() -> optuna.Study:
    return load_study(open_storage("sqlite:///mlruns/studies.db"), "b")


def record() -> Record:
    found = record_of(study_b())
    assert found is not None
    return found


def test_killed_and_taken_up_it_counts_all_its_time_and_ends_with_verdict_policy_and_model(
    stripes: str,
) -> None:
    settings, shown = quick(stripes, budget="1m"), io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        run(settings, Killed(Console(file=shown)), Clock())
    killed = record()
    assert killed.sizes is not None
    assert killed.trials is not None
    assert " images/s each: " in shown.getvalue()

    outcome = run(settings, Display(Console(file=shown)), Clock())
    ended = record()
    assert ended.sizes == killed.sizes
    assert ended.trials == killed.trials == len(entries(study_b()))
    assert ended.spent > killed.spent > 0
    assert outcome.policy_file.exists()
    assert outcome.final is not None
    assert Path(outcome.final["model"]).exists()
    assert outcome.final["figures"]["final_epochs"] == ended.final_epochs
    assert f" --final-epochs {ended.final_epochs}" in next_steps(settings, outcome)
    ended_as = {one.state for one in entries(study_b()) if one.baseline}
    assert ended_as <= {TrialState.COMPLETE, TrialState.PRUNED}, "each has had its time"
    assert outcome.verdict.budget is not None
    assert "The budget of 1 min allowed " in outcome.verdict.budget
    assert outcome.verdict.budget in shown.getvalue()
    assert read_policy(outcome.policy_file).evidence["budget"] == outcome.verdict.budget
    assert outcome.verdict.budget in (outcome.policy_file.parent / "report.html").read_text()
    _is_done_and_can_be_begun_again(outcome, settings)


def _is_done_and_can_be_begun_again(outcome: Outcome, settings: Settings) -> None:
    """The same command, and the settings that lie beside the policy, do nothing anew."""
    folds = sum(len(one) for one in confirmation_results(study_b()).values())
    again = run(load_settings(outcome.policy_file.with_name("settings.toml"), {}), Display(), Clock())
    assert again.verdict == outcome.verdict
    assert again.final == outcome.final
    assert sum(len(one) for one in confirmation_results(study_b()).values()) == folds
    facts = gather(study_b())
    assert not facts.unfinished
    assert facts.settings is not None
    assert run_command(facts.settings) == run_command(settings)
    assert " --budget 1m --epochs 1 --fold-size 24 " in run_command(settings)


def test_a_study_knows_what_its_budget_plans_and_not_how_fast_the_machine_was(stripes: str) -> None:
    data = open_data(quick(stripes), Display())
    without = identity_of(quick(stripes), data)
    within = identity_of(Settings.of(data=stripes, budget="4m"), data)
    assert (within["folds"], within["epochs"], within["fold size"]) == ("budget",) * 3
    assert within == identity_of(Settings.of(data=stripes, budget="9m"), data)
    assert "budget" not in without
    assert (without["folds"], without["epochs"], without["fold size"]) == (6, 1, 24)
    given = identity_of(quick(stripes, budget="4m", folds=6), data)
    assert given == without, "no size is left to the budget that scores depend on"
    study_of(quick(stripes), data, "b")
    with pytest.raises(UserError, match="folds was 6, is budget"):
        study_of(quick(stripes, budget="4m"), data, "b")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 240.0),
        ({"seed": 3}, 240.0),
        ({"budget": "90s"}, 90.0),
        ({"budget": "90s", "trials": 16}, 90.0),
        ({"budget": "none"}, None),
        ({"data": "photos"}, None),
        ({"data": "photos", "budget": "2h"}, 7200.0),
        *(
            ({name: value}, None)
            for name, value in {
                "trials": 16, "folds": 6, "confirm_folds": 32, "epochs": 30, "fold_size": 800,
                "final_epochs": 35, "timeout": 60.0,
            }.items()
        ),
    ],
)  # fmt: skip
def test_the_embedded_images_have_a_budget_unless_a_size_is_given(
    given: dict[str, Any], seconds: float | None
) -> None:
    assert load_settings(None, given).with_usual_budget().seconds == seconds


def test_a_study_that_was_begun_without_a_budget_goes_on_without() -> None:
    settings = Settings()
    data = open_data(settings, Display())
    before = settings.changed(budget="none")
    assert with_usual_budget(settings, data).seconds == 240
    study_of(before, data, study_name(before, data))
    assert with_usual_budget(settings, data) == before
    assert with_usual_budget(Settings.of(budget="4m"), data).seconds == 240
