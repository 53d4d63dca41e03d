"""Unlabeled images in the search's space and in a final training: what flags, files and data come to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from augsearch.policies import Policy, PolicyFile, Semi, Training, UserError
from augsearch.search.console import Display
from augsearch.search.final.follow import labeling_metrics
from augsearch.search.final.plan import overridden, wanted_semi
from augsearch.search.inputs.prepare import open_data
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import describe
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import BASELINE_POLICIES, USUAL, Space
from augsearch.search.space.suggest import suggest
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.labeler import Labeling
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.workspace.candidate import Candidate

OPERATIONS = ("rotate", "solarize")
FLAGS = {"mixing": None, "temperature": None, "alpha": None, "teacher_view": None}


def space_of(**settings: object) -> Space:
    return Settings.model_validate({"teacher": "none", "operations": OPERATIONS, **settings}).space


def file_with(semi: Semi | None) -> PolicyFile:
    return PolicyFile(policy=Policy(num_ops=0), training=Training(semi=semi))


def test_without_unlabeled_images_nothing_of_them_is_searched() -> None:
    assert Settings().space.semi is None
    assert Settings.of(semi="none", unlabeled=Path("somewhere")).space.semi is None
    assert list(Settings().space.baselines) == list(BASELINE_POLICIES)


def test_a_folder_of_unlabeled_images_is_put_to_work() -> None:
    semi = space_of(unlabeled="somewhere").semi
    assert semi is not None
    assert semi.searched
    assert semi.techniques == ("pseudo", "self-training", "fixmatch")


def test_with_a_teacher_its_word_is_a_choice_too() -> None:
    semi = space_of(semi="search", teacher="medium").semi
    assert semi is not None
    assert "distillation" in semi.techniques
    with pytest.raises(ValueError, match="semi distillation needs a teacher"):
        Settings.of(semi="distillation", teacher="none")


def test_under_one_technique_all_baselines_use_it_but_one() -> None:
    baselines = space_of(semi="fixmatch").baselines
    assert list(baselines) == [*BASELINE_POLICIES, f"{USUAL}, labels alone"]
    assert [one.semi is not None for one in baselines.values()] == [True] * 6 + [False]


def test_where_the_technique_is_searched_each_has_a_baseline_beside_the_labels_alone() -> None:
    baselines = space_of(semi="search").baselines
    techniques = [one.semi.technique for one in baselines.values() if one.semi]
    assert techniques == ["pseudo", "self-training", "fixmatch"]
    assert [one.policy for one in baselines.values() if one.semi] == [BASELINE_POLICIES[USUAL]] * 3
    assert list(baselines)[:6] == list(BASELINE_POLICIES)


def test_there_must_be_a_trial_for_each_baseline() -> None:
    with pytest.raises(ValueError, match="trials must be at least 9, the baselines, got 5"):
        Settings.of(semi="search", teacher="none", trials=5)


@pytest.mark.parametrize("technique", ["search", "pseudo", "self-training", "fixmatch", "distillation"])
def test_every_baseline_is_proposed_as_it_is(technique: str) -> None:
    space = space_of(semi=technique, teacher="medium")
    for name, baseline in space.baselines.items():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(baseline_params(baseline, space), user_attrs={"baseline": name})
        candidate = suggest(study.ask(), space)
        assert (candidate.policy, candidate.semi) == (baseline.policy, baseline.semi)


@pytest.mark.parametrize("technique", ["search", "pseudo", "self-training", "fixmatch", "distillation"])
def test_whatever_is_drawn_is_a_candidate_that_says_so(technique: str) -> None:
    space = space_of(semi=technique, teacher="medium")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    found = [suggest(study.ask(), space) for _ in range(40)]
    used = {candidate.semi.technique for candidate in found if candidate.semi}
    assert used == ({technique} if technique != "search" else {*used, "fixmatch", "pseudo"})
    assert any(candidate.semi and candidate.semi.policy for candidate in found)
    for candidate in found:
        assert ("λ" in describe(candidate)) == (candidate.semi is not None)
        assert Candidate.model_validate(candidate.model_dump(mode="json")) == candidate


def test_what_a_person_fixes_is_not_searched() -> None:
    space = space_of(semi="pseudo", threshold=0.9, unlabeled_weight=0.0, unlabeled_ratio=3, rounds=7)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    for _ in range(10):
        semi = suggest(study.ask(), space).semi
        assert isinstance(semi, PseudoLabels)
        assert (semi.threshold, semi.weight, semi.ratio, semi.rounds) == (0.9, 0.0, 3, 7)
    assert not {"threshold", "unlabeled_weight", "unlabeled_ratio"} & set(study.trials[0].params)


@pytest.mark.parametrize("technique", ["search", "fixmatch", "self-training"])
def test_neighbours_are_proposed_near_what_was_good(technique: str) -> None:
    space = space_of(semi=technique)
    rng = np.random.default_rng(0)
    for start in space.baselines.values():
        params = neighbour(baseline_params(start, space), space, rng)
        study = optuna.create_study()
        study.enqueue_trial(params)
        trial = study.ask()
        candidate = suggest(trial, space)
        assert candidate.semi is not None or technique == "search"
        assert {name: params[name] for name in trial.params} == trial.params
        again = neighbour(trial.params, space, rng)
        study.enqueue_trial(again)
        assert suggest(study.ask(), space) != candidate


def test_a_final_training_does_what_the_file_says_and_flags_overrule() -> None:
    semi = PseudoLabels(threshold=0.9, weight=0.5)
    file = file_with(semi)
    assert wanted_semi(file, Settings()) == semi
    assert wanted_semi(file, Settings.of(semi="none")) is None
    assert wanted_semi(file, Settings.of(threshold=0.7)) == semi.model_copy(update={"threshold": 0.7})
    assert wanted_semi(file, Settings.of(semi="pseudo", rounds=5)) == semi.model_copy(update={"rounds": 5})
    assert wanted_semi(file, Settings.of(semi="fixmatch")) == FixMatch()
    assert overridden(file, Settings.of(semi="none"), dict(FLAGS)).training.semi is None


def test_a_file_that_says_nothing_of_unlabeled_images_needs_to_be_told_how() -> None:
    assert wanted_semi(file_with(None), Settings()) is None
    for settings in (Settings.of(unlabeled=Path("somewhere")), Settings.of(threshold=0.5)):
        with pytest.raises(UserError, match="says nothing of unlabeled images; give --semi"):
            wanted_semi(file_with(None), settings)


def test_data_without_unlabeled_images_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    np.savez("few.npz", images=images, labels=np.arange(60) % 3)
    with pytest.raises(UserError, match=r"few\.npz has no unlabeled images: give --unlabeled FOLDER"):
        open_data(Settings.of(data="few.npz", semi="fixmatch", teacher="none"), Display())


def test_a_labelings_figures_are_fit_for_mlflow() -> None:
    labeling = Labeling(
        number=2,
        after=3,
        labels=np.array([0, 1, 1, -1]),
        confidence=np.array([0.9, 0.8, 0.4, 0.0], np.float32),
        chosen=np.array([0, 1]),
        by_class=np.array([1, 1]),
        gained=np.array([1, -2]),
        changed=0.25,
        accuracy=None,
        seconds=1.0,
    )
    assert labeling_metrics(labeling, ["T-shirt/top", "émile (old)"]) == {
        "labeled": 3,
        "learned_from": 2,
        "labels_changed": 0.25,
        "gained/T-shirt/top": 1,
        "learned_from/T-shirt/top": 1,
        "gained/émile _old_": -2,
        "learned_from/émile _old_": 1,
    }
    many = [str(number) for number in range(1000)]
    assert len(labeling_metrics(labeling, many)) == 3
