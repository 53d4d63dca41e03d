"""Weights of images in folds and final trainings: wrong labels that weigh little are hardly learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from augsearch.policies import Policy, PolicyFile
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.views import Decoded
from augsearch.trainers.tasks.final import train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.tasks.inputs import weights_of
from augsearch.trainers.tasks.own_fold import TrainSet
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace, open_workspace
from augsearch.trainers.workspace.folds import Fold, Stage
from augsearch.trainers.workspace.own_training import own_training

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

SEARCH = Fold(Stage.SEARCH, 0)
PLAIN = Candidate(policy=Policy(num_ops=0))


def weighed(workspace: Workspace, weights: Any) -> Workspace:
    """The same study with a weight for each image, as a table would have left them in the cache."""
    np.save(workspace.data.cache / "weights.npy", np.asarray(weights, np.float64))
    open_workspace.cache_clear()
    return open_workspace(workspace.folder)


def half_wrong(source: Source, root: Path, **settings: Any) -> tuple[Workspace, Any]:
    """A study in which half of the images to train on have the next class's label, and which they are."""
    wrong = np.zeros(len(source.labels), bool)
    wrong[source.splits.train[::2]] = True
    labels = np.where(wrong, (source.labels + 1) % 5, source.labels)
    return source._replace(labels=labels).study(root, **settings), wrong


def test_they_are_one_on_average_in_every_training(source: Source, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = weighed(source.study(tmp_path), rng.uniform(0.1, 9, 320)).data
    for chosen in (np.arange(20), np.arange(50, 200)):
        found = weights_of(data, chosen)
        assert found is not None
        assert found.mean() == pytest.approx(1)
        assert data.weights is not None
        np.testing.assert_allclose(found / found[0], data.weights[chosen] / data.weights[chosen[0]])


def test_a_fold_learns_little_from_what_weighs_little(source: Source, tmp_path: Path) -> None:
    study, wrong = half_wrong(source, tmp_path, epochs=12, fold_size=150)
    alike = evaluate(study.folder, PLAIN, SEARCH).accuracy
    weighed(study, np.where(wrong, 1e-3, 1.0))
    assert evaluate(study.folder, PLAIN, SEARCH).accuracy > max(0.75, alike + 0.1)


def test_weights_that_are_alike_leave_a_fold_what_it_was(source: Source, tmp_path: Path) -> None:
    study = source.study(tmp_path)
    plain = evaluate(study.folder, PLAIN, SEARCH)
    weighed(study, np.full(320, 7.0))
    assert evaluate(study.folder, PLAIN, SEARCH).log_loss == pytest.approx(plain.log_loss, rel=1e-3)


def test_a_final_training_learns_little_from_what_weighs_little(source: Source, tmp_path: Path) -> None:
    def accuracy(study: Workspace, name: str) -> float:
        plan = FinalPlan(model="tiny", recipe=Recipe(epochs=12))
        images: ImageData = study.data
        job = FinalJob(
            study.folder,
            PolicyFile(policy=Policy(num_ops=0)),
            plan,
            Decoded(images.images),
            source.splits.train,
            tmp_path / f"{name}.safetensors",
        )
        return max(epoch.validation.accuracy for epoch in train_final(job))  # type: ignore[union-attr]

    study, wrong = half_wrong(source, tmp_path)
    alike = accuracy(study, "alike")
    assert accuracy(weighed(study, np.where(wrong, 1e-3, 1.0)), "weighed") > max(0.75, alike + 0.05)


SEEN: list[TrainSet] = []


def of_nothing(train: TrainSet, policy: Policy, seed: int) -> Any:
    SEEN.append(train)
    return lambda images: np.full((len(images), len(train.classes)), 1 / len(train.classes))


def test_a_function_of_ones_own_is_given_them(source: Source, tmp_path: Path) -> None:
    study = weighed(source.study(tmp_path, own=own_training(of_nothing)), np.arange(1, 321))  # type: ignore[arg-type]
    evaluate(study.folder, PLAIN, SEARCH)
    (train,) = SEEN
    assert train.weights is not None
    assert train.weights.shape == train.labels.shape
    assert train.weights.mean() == pytest.approx(1)
