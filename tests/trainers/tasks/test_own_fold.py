"""What a user's own training gives back is checked, and scored image by image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from augsearch.policies import Policy, UserError
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.tasks.own_fold import AT_ONCE, evaluate_own, logits_of, prediction_of
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, Stage
from augsearch.trainers.workspace.own_training import OwnTraining, function_of, is_importable, own_training

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

IMAGES = np.zeros((AT_ONCE + 3, 4, 4, 1), np.uint8)


def thirds(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.tile([0.2, 0.5, 0.3], (len(images), 1))


class Estimator:
    def predict_proba(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return thirds(images)


@pytest.mark.parametrize("given", [thirds, Estimator()], ids=["function", "estimator"])
def test_a_function_and_an_estimator_predict(given: Any) -> None:
    logits = logits_of(prediction_of(given), IMAGES, 3)
    assert logits.shape == (len(IMAGES), 3)
    np.testing.assert_allclose(np.exp(logits), thirds(IMAGES), rtol=1e-5)


def test_labels_alone_are_certain_and_stay_finite() -> None:
    logits = logits_of(lambda images: np.eye(3)[np.ones(len(images), int)], IMAGES, 3)
    assert logits.argmax(axis=1).tolist() == [1] * len(IMAGES)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0.93, "gave back a score: return what predicts.*can't be"),
        (None, "gave back NoneType: return what predicts"),
        (nn.Identity(), "torch module, which takes no arrays.*softmax"),
    ],
    ids=["score", "nothing", "module"],
)
def test_what_predicts_nothing_is_refused(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        prediction_of(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda images: np.zeros(len(images), int), r"shape \(256, 3\), images and classes, got \(256,\)"),
        (lambda images: thirds(images)[:, :2], r"got \(256, 2\)"),
        (lambda images: 4 * thirds(images), "add up to 1.*softmax"),
        (lambda images: thirds(images) - 0.3, "none below 0"),
    ],
    ids=["labels", "classes", "sum", "negative"],
)
def test_what_are_no_probabilities_is_refused(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        logits_of(given, IMAGES, 3)


def test_no_numbers_are_a_training_that_diverged() -> None:
    with pytest.raises(TrainingDivergedError):
        logits_of(lambda images: np.nan * thirds(images), IMAGES, 3)


def test_a_function_is_known_again_by_its_code() -> None:
    def made(more: int) -> Any:
        return (lambda train, policy, seed: 1) if more else (lambda train, policy, seed: 2 * seed)

    assert own_training(thirds) == own_training(thirds)
    assert own_training(made(0)).code != own_training(made(1)).code
    assert own_training(Estimator.predict_proba).function.endswith("Estimator.predict_proba")
    with pytest.raises(UserError, match="must be a function"):
        own_training(3)  # type: ignore[arg-type]


def test_whether_other_processes_find_a_function_is_known() -> None:
    assert is_importable(own_training(np.linalg.norm))
    assert not is_importable(own_training(lambda train, policy, seed: thirds))
    assert function_of(own_training(np.linalg.norm)) is np.linalg.norm
    with pytest.raises(UserError, match="put it into a module"):
        function_of(OwnTraining(function="nowhere.at_all:train", code="0"))


def test_images_of_one_group_are_told_of_as_of_our_own_training(source: Source, tmp_path: Path) -> None:
    plain = source.study(tmp_path)
    classes = len(plain.data.classes)

    def train_fold(train: Any, policy: Policy, seed: int) -> Any:
        return lambda images: np.full((len(images), classes), 1 / classes)

    workspace = replace(
        plain,
        data=replace(plain.data, groups=np.arange(len(plain.data.labels)) // 2),
        proxy=plain.proxy.model_copy(update={"own": own_training(train_fold)}),
    )
    fold = Fold(Stage.SEARCH, 0)
    result = evaluate_own(workspace, Candidate(policy=Policy(num_ops=0)), fold)
    expected = workspace.scored_groups(fold)
    assert expected is not None
    assert result.groups is not None
    assert result.groups.tolist() == expected.tolist()
    assert len(result.groups) == len(result.correct)
