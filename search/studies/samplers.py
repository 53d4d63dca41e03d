"""What proposes candidates: Optuna's samplers, seeded anew for every trial."""

from __future__ import annotations

import warnings

import optuna
from optuna.samplers import BaseSampler

from augsearch.search.settings.sections import Sampler

STARTUP_TRIALS = 12
"""Trials before TPE models anything: the baselines, then small steps from the best so far."""


def seed_sampler(study: optuna.Study, sampler: Sampler, seed: int) -> None:
    """Give the study a sampler whose next draws follow from ``seed`` alone.

    Seeded anew for every trial, so a resumed search proposes what an uninterrupted one would have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = _sampler(sampler, seed)


def _sampler(name: Sampler, seed: int) -> BaseSampler:
    samplers = optuna.samplers
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    if name == "cmaes":
        # Of choices among words it knows nothing: those it draws at random.
        return samplers.CmaEsSampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False
        )
    return samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
    )
