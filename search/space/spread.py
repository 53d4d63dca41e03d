"""Candidates that lie far apart: from no augmentation to a strong one, mixed, and drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import optuna
from optuna.samplers import RandomSampler

from augsearch.policies import Mixing, Policy
from augsearch.policies.ready import FLIP_CROP, FLIP_RESIZED
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import Space
from augsearch.search.space.suggest import suggest
from augsearch.trainers.workspace.candidate import Candidate

_LADDER = ((1, 4), (2, 15), (3, 24))
"""N and M of RandAugments from light to strong."""
_MIXED = (Mixing(kind="cutmix", alpha=1.0), Mixing(kind="mixup", alpha=0.4))


def spread(space: Space, most: int, seed: int) -> dict[str, Candidate]:
    """``most`` candidates by name, no two alike, always the same ones; a larger count has the fewer too.

    First the baselines, then RandAugments from light to strong and mixing, all after flip + crop or flip +
    resized crop as the baselines, then what random search with ``seed`` would try.
    """
    found: dict[str, Candidate] = {}
    for name, candidate in _spread(space, seed):
        if candidate not in found.values():
            found[name] = candidate
        if len(found) == most:
            break
    return found


def _spread(space: Space, seed: int) -> Iterator[tuple[str, Candidate]]:
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    usual: Candidate | None = None
    for name, baseline in space.baselines.items():
        study.enqueue_trial(baseline_params(baseline, space), user_attrs={"baseline": name})
        candidate = suggest(study.ask(), space)
        usual = usual or candidate
        yield name, candidate
    assert usual is not None

    first, crop = ("flip + resized crop", FLIP_RESIZED) if space.resized else ("flip + crop", FLIP_CROP)

    def after_flip_and_crop(**fields: object) -> Candidate:
        basic = {"num_ops": 0, **crop, "operations": space.operations}
        return usual.model_copy(update={"policy": Policy.model_validate(basic | fields)})

    for num_ops, magnitude in _LADDER:
        name = f"{first}, N={num_ops} M={magnitude}"
        yield name, after_flip_and_crop(num_ops=num_ops, magnitude=magnitude)
    for mixing in _MIXED:
        yield f"{first}, {mixing.kind}", after_flip_and_crop(mixing=mixing)
    for number in count(1):
        yield f"random {number}", suggest(study.ask(), space)
