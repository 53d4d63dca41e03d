"""When a candidate is stopped before all its folds are run."""

from __future__ import annotations

import math
import warnings

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

from augsearch.search.settings.sections import Pruner
from augsearch.search.space.space import BASELINE_POLICIES

P_THRESHOLD = 0.15
"""Stops who loses three folds of three (p = 1/8), or four but for the slightest gain in one."""
HOPELESS = 1.5
"""Standard errors by which a candidate's final mean is expected behind the best's when it is stopped.

Of those just so far behind one in fifteen would end ahead, and not by much."""

BESIDE = 4
"""Candidates that race beside each other, each on a fold; further workers run more folds of these.

A candidate's folds side by side cost those that a loser would not have run; more candidates side by side know
less of each other. The baselines always run theirs side by side: they come first, and most run most of them.
"""

LEAST = 3
"""Degrees of freedom below which an estimate of the noise is worth nothing."""


def pruner_of(name: Pruner, folds: int) -> BasePruner:
    """What stops losers, by its name, where a candidate is trained on at most ``folds``."""
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=folds, reduction_factor=2)
    if name == "median":
        return MedianPruner(n_startup_trials=len(BASELINE_POLICIES), n_warmup_steps=1)
    return NopPruner() if name == "none" else PairedPruner()


class PairedPruner(BasePruner):
    """Compares a trial with the best finished one, fold by fold.

    Optuna's Wilcoxon signed-rank test takes the fold as its step, but can say nothing of fewer than
    three folds. How far folds differ by chance is known from the other trials, so it can be said from the
    first fold on where a candidate will end: one that would be ``HOPELESS`` standard errors behind stops.
    The folds are given, so what is uncertain is only the folds to come: after n of F folds the standard
    error is that of a sample from F, σ·sqrt(1/n − 1/F).

    Until a trial has finished, those that run beside each other are compared, as far as they have: with many
    workers nobody waits for the first to finish.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._wilcoxon = WilcoxonPruner(p_threshold=P_THRESHOLD, n_startup_steps=2)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` is to stop."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
        finished = [other for other in trials if other.state is TrialState.COMPLETE]
        if _is_hopeless(trial, finished or trials, most=None if finished else math.inf):
            return True
        return bool(finished) and self._wilcoxon.prune(study, trial)


def _is_hopeless(trial: FrozenTrial, others: list[FrozenTrial], most: float | None) -> bool:
    """``most``: the folds that the best of ``others`` may run; None: it has run them all."""
    run = trial.intermediate_values
    tables = [other.intermediate_values for other in others if other.intermediate_values.keys() >= run.keys()]
    noise = _noise(tables)
    if not run or noise is None:
        return False
    best = max(tables, key=lambda table: np.mean([table[fold] for fold in (run if most else table)]))
    error = noise * math.sqrt(1 / len(run) - 1 / (most or len(best)))
    return float(np.mean([run[fold] - best[fold] for fold in run])) < -HOPELESS * error


def _noise(tables: list[dict[int, float]]) -> float | None:
    """Standard deviation between folds of the difference of two trials, pooled over all pairs.

    From the folds that all have; None: too few are known. What is left of a table without its rows' and its
    columns' means has half the variance of a difference.
    """
    shared = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    freedom = (len(tables) - 1) * (len(shared) - 1)
    if freedom < LEAST:
        return None
    scores = np.array([[table[fold] for fold in shared] for table in tables])
    rest = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    variance = 2 * (rest**2).sum() / freedom
    return math.sqrt(variance) if variance > 1e-18 else None
