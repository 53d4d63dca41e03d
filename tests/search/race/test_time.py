"""A race and a confirmation that are told there is no more time; real trainings."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest

from augsearch.search.console import Display
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.race.confirm import Confirmation, Rules, choose_finalists, confirm
from augsearch.search.race.race import Race
from augsearch.search.race.resume import study_of
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.statistics.looks import FIRST
from augsearch.search.studies.study import Entry, entries
from augsearch.trainers.workspace.folds import Stage


@pytest.fixture
def settings(stripes: str) -> Settings:
    small = {"proxy_model": "tiny", "fold_size": 24, "epochs": 1, "folds": 2, "teacher": "none"}
    return Settings.model_validate({"data": stripes, "trials": 12, **small})


def raced(settings: Settings, begun: int) -> tuple[optuna.Study, Data]:
    """A study in which ``begun`` trials beside the baselines had time to begin."""
    data = open_data(settings, Display())
    study, answers = study_of(settings, data, "s"), iter([True] * begun)
    for _ in Race(study, InlineEngine(), data.workspace, settings, may_begin=lambda: next(answers, False)):
        pass
    return study, data


@pytest.mark.parametrize("begun", [0, 2])
def test_the_baselines_run_whatever_the_time_and_others_while_there_is_some(
    settings: Settings, begun: int
) -> None:
    study, _ = raced(settings, begun)
    assert len(entries(study)) == len(BASELINE_POLICIES) + begun
    assert all(len(one.results) == 2 for one in entries(study) if one.baseline)


@pytest.mark.parametrize("last", [3, FIRST, FIRST + 1])
def test_a_confirmation_out_of_time_has_its_last_look_after_the_folds_that_all_have(
    settings: Settings, last: int
) -> None:
    study, data = raced(settings, 0)
    # A margin that nothing is as good by, so that all go on.
    confirmation = Confirmation(study, choose_finalists(study, 2), Rules(32, 1e-9))
    asked: list[int] = []

    def may_begin(fold: int, going: Sequence[Entry]) -> bool:
        asked.append(fold)
        return fold < last

    for entry, result in confirm(
        confirmation, Stage.CROSS_FITTING, InlineEngine(), data.workspace, may_begin
    ):
        assert entry.baseline
        assert result.images
    verdict = confirmation.verdict()
    assert asked == sorted(set(asked)), "each fold is asked about once"
    assert confirmation.folds in (last, 32)  # it may have been closed before
    assert max(len(one.scores) for one in verdict.confirmed) <= last
    if confirmation.folds == last == 3:
        assert {len(one.scores) for one in verdict.confirmed} == {last}
