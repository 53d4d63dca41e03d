"""Where trainings ran on several kinds of hardware, it is said, and whether anything was compared across."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from augsearch.search.studies.hardware import hardware_in_words
from augsearch.search.studies.study import confirmation_results, keep_confirmation
from augsearch.trainers.workspace.folds import Fold, Stage

if TYPE_CHECKING:
    import optuna

    from tests.search.conftest import MakeStudy

CPU, GPU = "a CPU in float32", "a GPU in bfloat16"


def ran_on(study: optuna.Study, hardware: Callable[[int, int], str | None]) -> optuna.Study:
    """Say of each result of the confirmation, by trial and fold, what computed it."""
    for number, results in confirmation_results(study).items():
        for fold, result in results.items():
            told = replace(result, hardware=hardware(number, fold))
            keep_confirmation(study, number, Fold(Stage.CONFIRMATION, fold), told)
    return study


def test_nothing_is_said_of_one_kind_or_of_what_is_not_known(make_study: MakeStudy) -> None:
    study = make_study()
    assert hardware_in_words(study) is None
    assert hardware_in_words(ran_on(study, lambda *_: CPU)) is None
    assert hardware_in_words(ran_on(study, lambda _, fold: CPU if fold else None)) is None


def test_folds_on_several_kinds_are_told_by_what_was_compared(make_study: MakeStudy) -> None:
    study = make_study()
    folds = {fold for results in confirmation_results(study).values() for fold in results}
    apart = hardware_in_words(ran_on(study, lambda _, fold: GPU if fold == 0 else CPU))
    assert apart is not None
    assert apart.startswith("Trainings ran on 2 kinds of hardware (a CPU in float32: ")
    assert apart.endswith("in no confirmation fold were candidates compared across them.")
    first = min(confirmation_results(study))
    across = hardware_in_words(ran_on(study, lambda number, _: GPU if number == first else CPU))
    assert across is not None
    assert f"in {len(folds)} of {len(folds)} confirmation folds candidates were compared across" in across
