"""What a person sees of a race."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from augsearch.policies import Policy
from augsearch.search.console import Display
from augsearch.search.race.race import TrialDone, TrialStarted
from augsearch.search.race.view import RaceView
from augsearch.trainers.evaluation.metrics import ACCURACY
from augsearch.trainers.workspace.candidate import Candidate


def test_a_trial_that_took_over_anothers_folds_says_whose(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    with display.bar("searching", 12) as bar:
        view = RaceView(display, bar, 6, ACCURACY, [])
        for state, reason, same in (
            (TrialState.COMPLETE, "", 1),
            (TrialState.PRUNED, "behind the best so far, fold by fold", 3),
            (TrialState.PRUNED, "behind the best so far, fold by fold", None),
        ):
            view.show(TrialStarted(7, None, Candidate(policy=Policy(num_ops=0)), 0))
            view.show(TrialDone(7, None, state, 0.8, reason, same))
    first, second, third = capsys.readouterr().out.splitlines()[:3]
    assert first.endswith("no augmentation  the same as trial 1, not trained again")
    assert second.endswith("no augmentation  the same as trial 3, not trained again")
    assert third.endswith("no augmentation  stopped after 0 of 6 folds")
