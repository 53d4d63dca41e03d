"""A word on what changed where a study is taken up with other options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from augsearch.search.pipelines.changed import changes_in_words
from augsearch.search.settings.settings import Settings

MakeStudy = Callable[..., optuna.Study]
AS_MADE: dict[str, Any] = {"study": "demo", "trials": 16, "folds": 4, "confirm_folds": 16}


def said(study: optuna.Study, **changed: Any) -> list[str]:
    return changes_in_words(study, Settings.of(**AS_MADE | changed).flat())


@pytest.fixture
def study(make_study: MakeStudy) -> optuna.Study:
    return make_study()


def test_the_same_settings_are_not_worth_a_word_and_a_new_study_has_none(study: optuna.Study) -> None:
    assert said(study) == []
    assert changes_in_words(optuna.create_study(), Settings().flat()) == []


def test_what_counts_from_now_on_is_named_with_what_it_was(study: optuna.Study) -> None:
    (line,) = said(study, trials=24, workers=2, confirm_folds=32)
    assert line.startswith("taken up with other settings, which count from now on: ")
    for words in ("--trials 16 → 24", "--workers automatic → 2", "--confirm-folds 16 → 32"):
        assert words in line


def test_what_can_not_be_undone_is_without_effect(study: optuna.Study) -> None:
    assert said(study, trials=8, confirm_folds=8) == [
        "--trials 16 → 8: without effect, as 16 trials have ended already",
        "--confirm-folds 16 → 8: without effect, as 16 fresh folds were run already",
    ]


def test_another_final_network_or_recipe_trains_the_final_model_anew(study: optuna.Study) -> None:
    (line,) = said(study, final_model="wide")  # there is none yet
    assert line.startswith("taken up")
    study.set_user_attr("final", {"key": "x"})
    (line,) = said(study, final_model="wide", final_epochs=3)
    assert line.endswith(": the final model is trained anew")
    assert "--final-model automatic → wide" in line


def test_what_a_budget_plans_or_a_later_version_has_is_not_compared(study: optuna.Study) -> None:
    known = study.user_attrs["settings"]
    study.set_user_attr("settings", {name: known[name] for name in known if name != "clip"})
    (line,) = said(study, clip=1.0, seed=3)
    assert line.endswith("--seed 0 → 3")
