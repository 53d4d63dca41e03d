"""When a candidate is stopped before all its folds are run."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import optuna
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

P_THRESHOLD = 0.15
"""Stops who loses three folds of three (p = 1/8), or four but for the slightest gain in one."""
HOPELESS = 4.0
"""Standard errors behind the best at which a candidate is stopped at once."""


class PairedPruner(BasePruner):
    """Compares a trial with the best finished one, fold by fold.

    Optuna's Wilcoxon signed-rank test takes the fold as its step, but can say nothing of fewer than
    three folds. A candidate that is far behind needs no third: how far folds differ by chance is known
    from the trials that have finished, so one that is ``HOPELESS`` standard errors behind stops.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._wilcoxon = WilcoxonPruner(p_threshold=P_THRESHOLD, n_startup_steps=2)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` is to stop."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not finished:
            return False
        best = max(finished, key=lambda other: other.value or -math.inf)
        gains = _differences(trial, best)
        noise = _noise([other.intermediate_values for other in finished])
        if len(gains) and noise is not None and gains.mean() < -HOPELESS * noise / math.sqrt(len(gains)):
            return True
        return self._wilcoxon.prune(study, trial)


def _differences(trial: FrozenTrial, best: FrozenTrial) -> np.ndarray:
    shared = trial.intermediate_values.keys() & best.intermediate_values.keys()
    return np.array(
        [trial.intermediate_values[fold] - best.intermediate_values[fold] for fold in sorted(shared)]
    )


def _noise(tables: list[dict[int, float]]) -> float | None:
    """Standard deviation between folds of the difference of two trials, pooled over all pairs."""
    variances = []
    for first, second in itertools.combinations(tables, 2):
        shared = sorted(first.keys() & second.keys())
        if len(shared) >= 2:
            variances.append(np.var([first[fold] - second[fold] for fold in shared], ddof=1))
    return math.sqrt(np.mean(variances)) if variances and np.mean(variances) > 0 else None
