"""A fold's score where candidates learn from unlabeled images too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augsearch.policies import Policy, Semi
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage
from tests.trainers.conftest import Source

FOLD = Fold(Stage.SEARCH, 0)
TECHNIQUES = ("pseudo", "self-training", "fixmatch", "distillation")
POLICY = Policy(num_ops=1, magnitude=5, operations=("rotate", "solarize"), crop=1.0)


@pytest.fixture(scope="module")
def study(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With 20 unlabeled images; what a study of the same without them sees lies beside it."""
    root = tmp_path_factory.mktemp("unlabeled")
    plain = source.study(root, epochs=4, teacher="tiny")
    beside = (plain.data.cache / "images.npy", source.splits.unlabeled)
    return write_workspace(root / "with", plain.data, source.splits, plain.proxy, beside)


def scored(workspace: Workspace, fold: Fold = FOLD, **semi: Any) -> FoldResult:
    wanted = Semi.model_validate({"threshold": 0.2, "ratio": 1.0, **semi}) if semi else None
    return evaluate(workspace.folder, Candidate(policy=POLICY, semi=wanted), fold)


def figures(result: FoldResult) -> tuple[float, float, int, list[bool]]:
    return result.accuracy, result.log_loss, result.images, result.correct.tolist()


def test_workers_see_the_unlabeled_images_and_no_others(study: Workspace, source: Source) -> None:
    assert np.array_equal(study.unlabeled, source.images[source.splits.unlabeled])


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_unlabeled_images_are_learned_from_the_same_each_time(study: Workspace, technique: str) -> None:
    result = scored(study, technique=technique)
    assert figures(result) == figures(scored(study, technique=technique))
    alone = scored(study)
    assert result.images > alone.images
    assert result.log_loss != alone.log_loss


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_without_unlabeled_images_a_technique_is_plain_training(study: Workspace, technique: str) -> None:
    nothing = open_plain(study)
    assert len(nothing.unlabeled) == 0
    assert figures(scored(nothing, technique=technique)) == figures(scored(nothing))
    assert figures(scored(nothing)) == figures(scored(study))


def open_plain(study: Workspace) -> Workspace:
    from augsearch.trainers.workspace.folder import open_workspace

    return open_workspace(Path(study.folder).with_name("work"))


@pytest.mark.parametrize("technique", ["pseudo", "self-training"])
def test_where_nothing_is_sure_nothing_unlabeled_is_learned(study: Workspace, technique: str) -> None:
    result, alone = scored(study, technique=technique, threshold=1.0), scored(study)
    passes = alone.images * (2 if technique == "self-training" else 1)
    assert result.images == passes


def test_a_policy_of_their_own_makes_a_difference(study: Workspace) -> None:
    same = scored(study, technique="fixmatch")
    own = scored(study, technique="fixmatch", policy=Policy(num_ops=2, magnitude=25))
    assert same.log_loss != own.log_loss
    assert figures(same) == figures(scored(study, technique="fixmatch", policy=POLICY))


def test_folds_differ(study: Workspace) -> None:
    first = scored(study, technique="self-training")
    second = scored(study, Fold(Stage.SEARCH, 1), technique="self-training")
    assert first.log_loss != second.log_loss
