"""Our pruner, by more than the metric: of one fold accuracy and log-loss tell more than either alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from augsearch.search.studies.pruner import PairedPruner

LEAST = 3
"""Finished trials below which it isn't known how far trials differ."""


class BothPruner(BasePruner):
    """``PairedPruner`` where a fold's score is the sum of its z-scores by accuracy and by log-loss.

    Their units are the standard deviations of the finished trials' means, so the sum is told in accuracy.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` is to stop."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        worth = _worth_of_log_loss(trials)
        if worth is None:
            return PairedPruner().prune(study, trial)
        beside = optuna.create_study(direction="maximize")
        beside.add_trials([_scored(one, worth) for one in trials])
        return PairedPruner().prune(beside, _scored(trial, worth))


def _worth_of_log_loss(finished: list[FrozenTrial]) -> float | None:
    """How much accuracy a unit of log-loss is worth; None: it isn't known."""
    if len(finished) < LEAST:
        return None
    means = np.array(
        [[(one["accuracy"], one["log_loss"]) for one in _folds(trial).values()] for trial in finished]
    )
    accuracy, log_loss = means.mean(axis=1).std(axis=0)
    return float(accuracy / log_loss) if log_loss > 0 else None


def _folds(trial: FrozenTrial) -> dict[int, dict[str, Any]]:
    """What is kept of each fold that was reported; who is stopped reports once more."""
    kept = {step: trial.user_attrs.get(f"fold {step}") for step in sorted(trial.intermediate_values)}
    return {step: fold for step, fold in kept.items() if fold is not None}


def _scored(trial: FrozenTrial, worth: float) -> FrozenTrial:
    """``trial`` with what both say in the place of what was reported."""
    values = {step: fold["accuracy"] - worth * fold["log_loss"] for step, fold in _folds(trial).items()}
    value = float(np.mean(list(values.values()))) if trial.state is TrialState.COMPLETE else None
    return optuna.trial.create_trial(state=trial.state, value=value, intermediate_values=values)
