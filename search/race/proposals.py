"""What is tried next: a small step from what is best so far, or what the sampler proposes."""

from __future__ import annotations

import math

import numpy as np
import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from augsearch.search.settings.sections import Sampler
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.same import in_effect
from augsearch.search.space.space import Space
from augsearch.search.space.suggest import suggest
from augsearch.search.studies.samplers import seed_sampler, trial_seed
from augsearch.search.studies.study import RAN
from augsearch.trainers.workspace.candidate import Candidate

STEPS = 8
"""Small steps after the baselines, before TPE models anything."""
DRAWS = 8
"""How often a step is drawn that would come to what was tried."""


class Proposals:
    """Asks the study for trials, one after another."""

    def __init__(self, study: optuna.Study, sampler: Sampler, seed: int, space: Space) -> None:
        self._study, self._sampler, self._seed = study, sampler, seed
        self._space = space
        self._startup = len(space.baselines) + STEPS
        self._known: set[int] = set()
        self._numbers: dict[Candidate, list[int]] = {}

    def ask(self) -> optuna.trial.Trial:
        """The next trial: one that waits, or a new one."""
        trials = self._study.get_trials(deepcopy=False)
        begun = sum(trial.state is not TrialState.WAITING for trial in trials)
        if begun == len(trials) and self._sampler != "random":
            self._enqueue_step(trials)
        seed_sampler(self._study, self._sampler, trial_seed(self._seed, begun), self._startup)
        return self._study.ask()

    def same(self, candidate: Candidate, number: int) -> list[FrozenTrial]:
        """The other trials that are, in effect, ``candidate``, which is trial ``number``."""
        trials = self._study.get_trials(deepcopy=False)
        alike = self._tried(trials).get(in_effect(candidate), [])
        return [trials[other] for other in alike if other != number]

    def _enqueue_step(self, trials: list[FrozenTrial]) -> None:
        """Have the next trial be a small step, as long as a sampler would draw at random."""
        ended = sum(trial.state in RAN for trial in trials)
        start = _start(trials) if ended < self._startup else None
        if start is None:
            return
        rng = np.random.default_rng([self._seed, len(trials)])
        tried = self._tried(trials)
        for _ in range(DRAWS):
            params = neighbour(start.params, self._space, rng)
            if in_effect(suggest(FixedTrial(params), self._space)) not in tried:
                break
        self._study.enqueue_trial(params, user_attrs={"near": start.number})

    def _tried(self, trials: list[FrozenTrial]) -> dict[Candidate, list[int]]:
        """The numbers of the trials that are in effect the same, by what they are."""
        for number, trial in enumerate(trials):
            if number not in self._known and (document := trial.user_attrs.get("candidate")) is not None:
                self._known.add(number)
                self._numbers.setdefault(in_effect(Candidate.model_validate(document)), []).append(number)
        return self._numbers


def _start(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Where a step begins: at the best trial that ran all its folds, until then at the baselines in turn."""
    # A policy of a user's own may have no parameters to step from.
    trials = [trial for trial in trials if "num_ops" in trial.params]
    whole = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if whole:
        return max(whole, key=lambda trial: -math.inf if trial.value is None else trial.value)
    baselines = [trial for trial in trials if "baseline" in trial.user_attrs]
    return baselines[len(trials) % len(baselines)] if baselines else None
