"""What proposes candidates: Optuna's samplers, seeded anew for every trial."""

from __future__ import annotations

import warnings

import numpy as np
import optuna

from augsearch.search.settings.sections import Sampler


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
        study.sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
        )
