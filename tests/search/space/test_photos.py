"""What is searched for photos alone, and the baselines that people who fine-tune on photos have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler

from augsearch.policies import RANDAUGMENT, Policy
from augsearch.policies.regions import Erasing, ResizedCrop
from augsearch.search.space.describe import describe, explain
from augsearch.search.space.dimensions import policy_dimensions
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.parts import parts_of
from augsearch.search.space.photos import PHOTO_DIMENSIONS
from augsearch.search.space.same import in_effect
from augsearch.search.space.space import BASELINE_POLICIES, PHOTO_POLICIES, Space
from augsearch.search.space.spread import spread
from augsearch.search.space.suggest import suggest
from augsearch.trainers.workspace.candidate import Candidate

PHOTOS = Space(RANDAUGMENT, photos=True, resized=True)
BOTH = Policy(
    num_ops=0, resized_crop=ResizedCrop(smallest=0.5), erasing=Erasing(probability=0.3, largest=0.2)
)


def test_only_photos_are_cropped_and_erased() -> None:
    small = {one.name for one in policy_dimensions(Space(RANDAUGMENT))}
    photos = {one.name for one in policy_dimensions(PHOTOS)}
    assert photos - small == {one.name for one in PHOTO_DIMENSIONS}
    assert {one.name for one in policy_dimensions(replace(PHOTOS, edition=2))} == small


def test_photos_have_baselines_that_crop_as_people_crop_photos_beside_the_usual_ones() -> None:
    # For the search's small network, from scratch, a resized crop from 8 % on may be a straw man.
    more = ["flip + resized crop", "RandAugment (2, 9) after flip + resized crop"]
    assert list(PHOTOS.baselines) == [*BASELINE_POLICIES, *more]
    assert PHOTOS.baselines["flip + resized crop"].policy == Policy(
        num_ops=0, flip_horizontal=0.5, resized_crop=ResizedCrop(smallest=0.08)
    )
    # Photos for a network from scratch are padded and cropped, as small images.
    assert list(replace(PHOTOS, resized=False).baselines) == list(BASELINE_POLICIES)


def test_the_safest_of_photos_is_a_baseline_and_elsewhere_the_best_one_is_used() -> None:
    assert PHOTOS.safest in PHOTOS.baselines
    assert Space(RANDAUGMENT, photos=True).safest is None


@pytest.mark.parametrize("name", PHOTO_POLICIES)
def test_a_baseline_of_photos_is_a_trial_like_others(name: str) -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    params = baseline_params(PHOTOS.baselines[name], PHOTOS)
    study.enqueue_trial(params)
    assert suggest(study.ask(), PHOTOS).policy == PHOTO_POLICIES[name]


def test_a_search_for_photos_tries_them_and_steps_between_them() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=1))
    policies = [suggest(study.ask(), PHOTOS).policy for _ in range(60)]
    shares = [one.resized_crop.smallest for one in policies if one.resized_crop]
    assert len(shares) > 15
    assert 0.08 <= min(shares) < 0.2 < 0.5 < max(shares) <= 0.9
    erased = [one.erasing for one in policies if one.erasing]
    assert len({(one.probability, one.largest) for one in erased}) == len(erased) > 15
    start = baseline_params(PHOTOS.baselines["flip + resized crop"], PHOTOS)
    rng, near = np.random.default_rng(0), []
    for _ in range(60):
        study.enqueue_trial(neighbour(start, PHOTOS, rng))
        near.append(suggest(study.ask(), PHOTOS).policy)
    kept = [one.resized_crop.smallest for one in near if one.resized_crop]
    assert len(kept) > 40
    assert len(set(kept)) > 20
    assert any(one.erasing for one in near)


def test_they_are_told_and_can_be_removed() -> None:
    candidate = Candidate(policy=BOTH)
    assert describe(candidate) == "resized crop ≥ 50 %, erasing p=0.30 ≤ 20 %"
    assert explain(candidate) == (
        "a random part of 50 % of the area or more, enlarged, "
        "a rectangle of up to 20 % of the area erased in 30 % of images"
    )
    without = {part.name: part.without.policy for part in parts_of(candidate)}
    assert without["resized crop"] == Policy(num_ops=0, erasing=BOTH.erasing)
    assert without["erasing"] == Policy(num_ops=0, resized_crop=BOTH.resized_crop)


def test_the_colour_of_what_is_erased_is_no_matter_of_indifference() -> None:
    white = Candidate(policy=BOTH.model_copy(update={"fill": (255, 255, 255)}))
    assert in_effect(white) != in_effect(Candidate(policy=BOTH))
    crops = BOTH.model_copy(update={"erasing": None})
    bordered = Candidate(policy=crops.model_copy(update={"fill": (255, 255, 255), "border": "reflect"}))
    assert in_effect(bordered) == in_effect(Candidate(policy=crops))


def test_spread_candidates_of_photos_are_cropped_as_their_baselines() -> None:
    chosen = spread(PHOTOS, 13, seed=0)
    assert list(chosen)[8:] == [
        *("flip + resized crop, N=1 M=4", "flip + resized crop, N=2 M=15", "flip + resized crop, N=3 M=24"),
        *("flip + resized crop, cutmix", "flip + resized crop, mixup"),
    ]
    assert all(one.policy.resized_crop for one in list(chosen.values())[8:])
