"""A made-up truth, fitted to a recorded table: what any candidate would score, and how its folds differ.

It knows what 64 candidates showed. Far from those it says what is usual, and it is smoother than the truth:
a search's regret on it compares searches with each other, and is no forecast of accuracy on the data set.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor, VotingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from augsearch.policies import MAX_MAGNITUDE
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.same import in_effect
from augsearch.search.space.space import Space
from augsearch.search.space.suggest import suggest
from augsearch.trainers.workspace.candidate import Candidate
from benchmarks.search.replays import Answer, FoldTable

TRANSFORMS = ("crop", "flip_horizontal", "flip_vertical", "quarter_turns")
Kind = Literal["both", "process", "trees"]
"""A Gaussian process, gradient-boosted trees, or their mean: smooth, in steps, or something between."""

SPLITS = 16
"""Parts of the cross-validation, which trains on 60 of 64 candidates."""
ALIKE = 12
"""A candidate's folds differ as those of one of so many recorded ones that score most like it."""


class Surrogate:
    """A truth to search in."""

    def __init__(self, table: FoldTable, space: Space, kind: Kind) -> None:
        self._space, self._means = space, table.means
        folds = table.accuracy.shape[1]
        # Of what a fold adds, taking the mean away has taken 1/F.
        rest = table.accuracy - self._means[:, None]
        self._rest = rest * math.sqrt(folds / (folds - 1))
        self._images = float(table.images.mean())
        self._known: dict[Candidate, float] = {}
        features = self._encoded(table.candidates)
        model = _model(kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            held_out = cross_val_predict(
                clone(model),
                features,
                self._means,
                cv=KFold(min(SPLITS, len(features)), shuffle=True, random_state=0),
            )
            self._model = model.fit(features, self._means)
        self.rank_correlation = float(spearmanr(held_out, self._means).statistic)
        """Spearman's, of predictions for candidates that it was not fitted to with what they scored."""
        self.explained = float(1 - ((held_out - self._means) ** 2).mean() / self._means.var())
        """The share of the variance between candidates that those predictions explain."""

    def _encoded(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        return np.array([encoded(candidate, self._space) for candidate in candidates])

    def values(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """What each would score in the long run, (N,)."""
        new = [candidate for candidate in dict.fromkeys(candidates) if candidate not in self._known]
        if new:
            # How many are predicted at once decides the last digits, and must not decide a search.
            found = self._model.predict(self._encoded(new)).round(9)
            self._known.update(zip(new, found, strict=True))
        return np.array([self._known[candidate] for candidate in candidates])

    def value(self, candidate: Candidate) -> float:
        """What it would score in the long run."""
        return float(self.values([candidate])[0])

    def answer(self, seed: int) -> Answer:
        """Folds as ``seed`` draws them: the recorded ones in another order, the same for all candidates."""
        order = np.random.default_rng(seed).permutation(self._rest.shape[1])

        def fold(candidate: Candidate, index: int) -> tuple[float, float, float]:
            value = self.value(candidate)
            alike = np.argsort(np.abs(self._means - value))[:ALIKE]
            mark = hashlib.blake2b(candidate.model_dump_json().encode(), digest_size=8).digest()
            own = np.random.default_rng([seed, int.from_bytes(mark)])  # each candidate's, whoever asks
            return float(value + self._rest[own.choice(alike), order[index]]), math.nan, self._images

        return fold

    def best(self, count: int, rounds: int, seed: int) -> float:
        """The highest value that was found, by ``count`` draws and then ``rounds`` of steps from the best."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        rng = np.random.default_rng(seed)
        pool = []
        for _ in range(count):
            trial = study.ask()
            candidate = suggest(trial, self._space)
            pool.append((dict(trial.params), candidate))
        keep = max(1, count // 40)
        for _ in range(rounds):
            values = self.values([candidate for _, candidate in pool])
            pool = [pool[index] for index in np.argsort(-values)[:keep]]
            for params, _ in pool[:]:
                for _ in range(8):
                    step = neighbour(params, self._space, rng)
                    pool.append(
                        (step, suggest(cast(optuna.Trial, optuna.trial.FixedTrial(step)), self._space))
                    )
        return float(self.values([candidate for _, candidate in pool]).max())


def _model(kind: Kind) -> Any:
    trees = GradientBoostingRegressor(
        n_estimators=200, learning_rate=0.05, subsample=0.7, max_features=0.5, random_state=0
    )
    kernel = ConstantKernel(1.0) * RBF(5.0) + WhiteKernel(0.1)
    process = make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True))
    if kind == "both":
        return VotingRegressor([("trees", trees), ("process", process)])
    return trees if kind == "trees" else process


def encoded(candidate: Candidate, space: Space) -> list[float]:
    """A candidate as numbers: what has no effect is 0, so that equal trainings look alike."""
    candidate = in_effect(candidate)
    policy, distillation, mixing = candidate.policy, candidate.distillation, candidate.policy.mixing
    chosen = policy.operations if policy.num_ops else ()
    varied, strength = False, 0.0
    if chosen and policy.magnitude == "random":
        varied = True
    elif chosen and policy.magnitude != "random":
        strength = policy.magnitude / MAX_MAGNITUDE
    features: list[float] = [policy.num_ops, varied, strength, len(chosen)]
    features += [name in chosen for name in space.operations]
    features += [getattr(policy, transform) > 0 for transform in TRANSFORMS]
    for kind in ("cutmix", "mixup"):
        features.append(mixing is not None and mixing.kind == kind)
    features += [mixing.alpha, mixing.probability] if mixing else [0.0, 0.0]
    features += [True, math.log(distillation.temperature), distillation.alpha] if distillation else [0.0] * 3
    if space.edition > 1:
        features += [policy.border == "reflect", sum(policy.fill) / (3 * 255)]
        features += [policy.interpolation == "bilinear"]
    return [float(feature) for feature in features]
