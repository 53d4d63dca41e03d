"""The comparisons of ``benchmarks.unlabeled``: what stands beside what, and the search for a policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal, cast

import numpy as np
import optuna

from augsearch.policies import RANDAUGMENT, Policy, Semi
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import Baseline, Space
from augsearch.search.space.suggest import suggest
from augsearch.trainers import Recipe
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.semi.self_training import SelfTraining
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.training.loader import batch_size_of as labeled_of_batch
from augsearch.trainers.training.loader import steps_of
from augsearch.trainers.training.recipe import usual_label_smoothing
from benchmarks.unlabeled.data import Division
from benchmarks.unlabeled.runs import Job, Outcome

LABELS_ONLY = "labels only"
OF_SEARCH = "fixmatch"
"""The technique that candidates are scored by."""

RANDAUGMENT_2_9 = Policy(num_ops=2, magnitude=9)
WITH_FLIP_AND_CROP = Policy(num_ops=2, magnitude=9, flip_horizontal=0.5, crop=1.0)


@dataclass(frozen=True)
class Technique:
    """A way to learn, as a row of the tables names it."""

    name: str
    semi: Semi | None
    recipe: Recipe
    """Its epochs are replaced by what the budget allows."""
    teacher_factor: int = 1
    """Times a student's epochs, for the first teacher of ``self-training``: without unlabeled images its
    epochs are shorter."""


def techniques(
    ratio: float, threshold: float = 0.95, class_cap: float | None = None, *, noiseless: bool = False
) -> tuple[Technique, ...]:
    """The rows of a part, with ``ratio`` unlabeled images to a labeled one.

    ``noiseless`` adds self-training without dropout and stochastic depth.

    Label smoothing is the library's usual: none for a model that learns from what it is sure of. With 0.1
    FixMatch learned from half as many images (Fashion-MNIST, 10 labels a class, 50,000 passes).
    """

    def technique(name: str, semi: Semi | None) -> Technique:
        smoothing = usual_label_smoothing(semi)
        return Technique(name, semi, Recipe(precision="bfloat16", label_smoothing=smoothing))

    common: dict[str, Any] = {"threshold": threshold, "ratio": ratio}
    rounds: dict[str, Any] = common | {"rounds": 3, "class_cap": class_cap}
    quiet: dict[str, Any] = {"dropout": 0.0, "stochastic_depth": 0.0}
    without = [technique("self-training, no noise", SelfTraining(**rounds, **quiet))]
    return (
        technique(LABELS_ONLY, None),
        technique("pseudo", PseudoLabels(**rounds)),
        technique("self-training", SelfTraining(**rounds)),
        *(without if noiseless else ()),
        technique(OF_SEARCH, FixMatch(**common)),
    )


@dataclass(frozen=True)
class Part:
    """One data set with one number of labels."""

    name: str
    """The name that ``--only`` takes."""
    images_per_class: int
    """Images with labels."""
    seeds: int
    budget: int
    """Images trained on in each row, forward and backward, labeled and unlabeled, of all models together."""
    candidate_budget: int
    """The same in each training of the search."""
    baseline: Policy
    techniques: tuple[Technique, ...]
    network: str = "small"
    with_search: bool = True
    """Whether a policy is searched for too."""
    note: str = ""
    """What sets it off from another part, in its tables' titles."""

    @property
    def of_fashion(self) -> bool:
        """Whether it is of Fashion-MNIST, else it is of CIFAR-10."""
        return self.name.startswith("fashion")


DIVISION = Division()


@dataclass(frozen=True)
class Sizes:
    """How much is trained and tested."""

    parts: tuple[Part, ...]
    division: Division = DIVISION
    candidates: int = 12
    """Policies that the search tries, the baseline policy among them."""
    draws: int = 2
    """Trainings of each, on labels drawn anew; candidates share them."""
    together: int = 4
    """Candidates proposed from the same best one, so that they can be trained side by side."""


FASHION_10 = Part("fashion-10", 10, 5, 400_000, 80_000, RANDAUGMENT_2_9, techniques(ratio=7, noiseless=True))
FASHION_10_LONG = Part(
    "fashion-10-long",
    10,
    3,
    1_200_000,
    0,
    RANDAUGMENT_2_9,
    tuple(one for one in techniques(ratio=7) if one.name != "pseudo"),
    with_search=False,
    note="three times the passes",
)
"""Whether more passes change what equal passes say."""
FASHION_100 = Part("fashion-100", 100, 3, 300_000, 80_000, RANDAUGMENT_2_9, techniques(ratio=4))
CIFAR_250 = Part("cifar-250", 250, 3, 300_000, 80_000, WITH_FLIP_AND_CROP, techniques(ratio=2))
CIFAR_40 = Part("cifar-40", 40, 3, 1_500_000, 400_000, WITH_FLIP_AND_CROP, techniques(ratio=7))

FULL = {
    "cpu": Sizes((FASHION_10, FASHION_100, CIFAR_250, FASHION_10_LONG)),
    "cuda": Sizes(
        (
            FASHION_10,
            FASHION_100,
            CIFAR_40,
            replace(CIFAR_250, budget=CIFAR_40.budget, candidate_budget=CIFAR_40.candidate_budget),
        )
    ),
}
NAMES = tuple(dict.fromkeys(part.name for sizes in FULL.values() for part in sizes.parts))


def quick(sizes: Sizes) -> Sizes:
    """A short form, for a look: nothing follows from its figures."""
    return replace(
        sizes,
        parts=tuple(
            replace(
                part,
                images_per_class=min(part.images_per_class, 20),
                seeds=2,
                budget=5_000,
                candidate_budget=2_000,
            )
            for part in sizes.parts
        ),
        division=Division(search=150, validation=20, final=300, tested=50),
        candidates=3,
    )


def passes(technique: Technique, labeled: int, unlabeled: int, epochs: int) -> int:
    """Images trained on in ``epochs``, if enough pseudo-labels are sure to fill the batches."""
    size = labeled_of_batch(labeled, technique.recipe.batch_size)
    steps = steps_of(labeled, technique.recipe.batch_size)
    alone, semi = epochs * steps * size, technique.semi
    if semi is None:
        return alone
    beside = steps * min(math.ceil(semi.ratio * size), math.ceil(unlabeled / steps))
    if students := technique_of(semi).most_students:
        return technique.teacher_factor * alone + students * (alone + epochs * beside)
    labels_only = (semi.labelings(epochs) or [epochs])[0] if isinstance(semi, PseudoLabels) else 0
    return alone + (epochs - labels_only) * beside


def epochs_within(budget: int, technique: Technique, labeled: int, unlabeled: int) -> int:
    """The number of epochs whose ``passes`` come nearest to the budget."""

    def off(epochs: int) -> int:
        return abs(passes(technique, labeled, unlabeled, epochs) - budget)

    many = 1000
    guess = round(many * budget / passes(technique, labeled, unlabeled, many))
    return min(range(max(1, guess - 4), guess + 5), key=off)


@dataclass(frozen=True)
class Setting:
    """What all trainings of a part have in common."""

    part: Part
    sizes: Sizes
    data: str
    """The data set's name, with its hash."""
    num_classes: int
    in_pool: tuple[int, int]
    """Images of the pools ``final`` and ``search``."""
    device: Literal["cpu", "cuda"] = "cpu"

    def job(self, technique: Technique, policy: Policy, seed: int, epochs: int | None = None) -> Job:
        """A row's training; ``epochs`` overrules the budget."""
        return self._job(technique, policy, seed, epochs or self.epochs(technique))

    def epochs(self, technique: Technique) -> int:
        """Epochs that the budget allows."""
        return self._epochs(technique, self.part.budget, self.in_pool[0])

    def searched(self, policy: Policy, draw: int) -> Job:
        """A candidate's training, on images that no row sees."""
        technique = self.technique(OF_SEARCH)
        epochs = self._epochs(technique, self.part.candidate_budget, self.in_pool[1])
        return self._job(technique, policy, draw, epochs, pool="search", tested_on="validation")

    def technique(self, name: str) -> Technique:
        """The part's, by its name."""
        return next(one for one in self.part.techniques if one.name == name)

    def _epochs(self, technique: Technique, budget: int, in_pool: int) -> int:
        labeled = self.num_classes * self.part.images_per_class
        return epochs_within(budget, technique, labeled, in_pool - labeled)

    def _job(self, technique: Technique, policy: Policy, seed: int, epochs: int, **more: Any) -> Job:
        return Job(
            data=self.data,
            division=self.sizes.division,
            images_per_class=self.part.images_per_class,
            network=self.part.network,
            policy=policy,
            semi=technique.semi,
            recipe=technique.recipe.model_copy(update={"epochs": epochs}),
            teacher_epochs=technique.teacher_factor * epochs if technique.teacher_factor != 1 else None,
            device=self.device,
            seed=seed,
            **more,
        )


@dataclass(frozen=True)
class Candidate:
    """A policy of the search, and what came of it in each draw of labels."""

    policy: Policy
    outcomes: tuple[Outcome, ...]

    @property
    def accuracy(self) -> float:
        """The mean over the draws, 0 to 1."""
        return fmean(one.accuracy for one in self.outcomes)


def search(
    setting: Setting, train: Callable[[Iterable[Job]], bool], known: dict[str, Outcome]
) -> tuple[list[Candidate], bool]:
    """The baseline policy, then neighbours of the best so far, as ``augsearch run`` proposes its first ones.

    What is proposed follows from the results before, so a search that is taken up again proposes the same.

    Returns:
        The candidates, in their order, and whether these are all.
    """
    space = Space(RANDAUGMENT)
    baseline = setting.part.baseline
    params = {baseline: baseline_params(Baseline(baseline), space)}
    found: list[Candidate] = []
    proposed, number = [baseline], 0
    while proposed:
        jobs = [setting.searched(policy, draw) for policy in proposed for draw in range(setting.sizes.draws)]
        train(jobs)
        for policy in proposed:
            own = [setting.searched(policy, draw).key for draw in range(setting.sizes.draws)]
            if not all(key in known for key in own):
                return found, False
            found.append(Candidate(policy, tuple(known[key] for key in own)))
        near, proposed = params[best_of(found).policy], []
        while len(proposed) < min(setting.sizes.together, setting.sizes.candidates - len(found)):
            number += 1
            trial = optuna.trial.FixedTrial(neighbour(near, space, np.random.default_rng([0, number])))
            policy = suggest(cast("optuna.trial.Trial", trial), space).policy
            if policy not in params:
                params[policy] = trial.params
                proposed.append(policy)
    return found, True


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The most accurate; of equals the first."""
    return max(candidates, key=lambda one: one.accuracy)


@dataclass(frozen=True)
class Rows:
    """The rows under one policy: names and jobs, a job for each seed."""

    policy: Policy
    jobs: dict[str, tuple[Job, ...]]

    @classmethod
    def of(cls, setting: Setting, policy: Policy) -> Rows:
        """All techniques with equal passes, and the labels alone with no more epochs than FixMatch has."""
        seeds = range(setting.part.seeds)
        jobs = {
            technique.name: tuple(setting.job(technique, policy, seed) for seed in seeds)
            for technique in setting.part.techniques
        }
        alone, epochs = setting.technique(LABELS_ONLY), setting.epochs(setting.technique(OF_SEARCH))
        jobs[f"{LABELS_ONLY}, {epochs} epochs"] = tuple(
            setting.job(alone, policy, seed, epochs) for seed in seeds
        )
        return cls(policy, jobs)

    def of_seed(self, seed: int) -> list[Job]:
        """One job of each row."""
        return [jobs[seed] for jobs in self.jobs.values()]
