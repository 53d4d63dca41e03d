"""What proposes candidates: Optuna's samplers, seeded anew for every trial."""

from __future__ import annotations

import heapq
import math
import warnings
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from augsearch.search.settings.sections import Sampler
from augsearch.search.studies.driver_storage import showing
from augsearch.search.studies.study import RAN

LATEST = 900
"""Of more trials than this TPE learns from the latest alone, and"""
BEST = 100
"""from the best of those before them: what it takes time over is each trial that it looks at."""


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial's sampler: searches whose seeds are neighbours have no trial in common."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def seed_sampler(study: optuna.Study, sampler: Sampler, seed: int, startup: int) -> None:
    """Give the study a sampler whose next draws follow from ``seed`` alone.

    Seeded anew for every trial, so a resumed search proposes what an uninterrupted one would have.
    ``startup``: trials that end before TPE models anything.
    """
    if sampler == "random":
        study.sampler = optuna.samplers.RandomSampler(seed=seed)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = _TPE(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
        )


class _TPE(optuna.samplers.TPESampler):
    """Optuna's, which looks at no more than so many trials of a long study.

    It calls 25 of them good (Optuna's ``default_gamma``), so the best of the early ones are enough for that;
    what it calls bad it weighs the less the older it is (``default_weights``).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._few: list[FrozenTrial] | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        with showing(study, self._looked_at):
            return super().infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with showing(study, self._looked_at):
            return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        with showing(study, self._looked_at):
            return super().sample_independent(study, trial, param_name, param_distribution)

    def _looked_at(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Picked once for a proposal, of which each is another sampler's."""
        if len(trials) <= LATEST + BEST:
            return trials
        if self._few is None:
            self._few = looked_at(trials)
        return self._few


def looked_at(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that run, the latest that TPE can learn from, and the best of those before, in their order."""
    ended = [trial for trial in trials if trial.state in RAN]
    best = heapq.nlargest(BEST, ended[:-LATEST], key=_rank)
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    return sorted((*best, *ended[-LATEST:], *running), key=lambda trial: trial.number)


def _rank(trial: FrozenTrial) -> tuple[bool, int, float]:
    """As TPE ranks them: whole before pruned, and those that went further before others; then by value."""
    step, last = max(trial.intermediate_values.items(), default=(-1, -math.inf))
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        return True, 0, trial.value
    return False, step, -math.inf if math.isnan(last) else last
