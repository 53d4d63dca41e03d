"""A model's predictions: the likeliest classes of each image, and no more in memory than that."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.semi import predictions as module
from augsearch.trainers.semi.predictions import Predictions


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


some_logits = st.tuples(st.integers(1, 9), st.integers(1, 25)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-100, 100, width=32))
)


@given(some_logits)
def test_the_ten_likeliest_classes_are_kept_with_their_probabilities(logits: NDArray[np.float32]) -> None:
    predictions = Predictions.from_logits(logits)
    count, classes = logits.shape
    assert predictions.num_classes == classes
    assert len(predictions) == count
    assert predictions.labels.shape == predictions.probabilities.shape == (count, min(classes, 10))
    assert (predictions.labels.dtype, predictions.probabilities.dtype) == (np.int32, np.float32)
    expected = softmax(logits)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :10]
    assert predictions.labels.tolist() == order.tolist()
    np.testing.assert_allclose(
        predictions.probabilities, np.take_along_axis(expected, order, 1), rtol=1e-6, atol=1e-30
    )
    assert predictions.hard.tolist() == logits.argmax(axis=1).tolist()
    assert predictions.hard.dtype == np.int64
    np.testing.assert_allclose(predictions.confidence, expected.max(axis=1), rtol=1e-6, atol=1e-30)


@given(some_logits)
def test_soft_labels_are_a_distribution_that_keeps_what_is_known(logits: NDArray[np.float32]) -> None:
    predictions = Predictions.from_logits(logits)
    rows = np.arange(len(logits))[::-1]
    soft = predictions[rows].soft
    assert soft.dtype == np.float32
    assert (soft >= 0).all()
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    if logits.shape[1] <= 10:
        np.testing.assert_allclose(soft, softmax(logits)[rows], rtol=1e-6, atol=1e-30)
    for row, own in zip(rows, soft, strict=True):
        named = predictions.labels[row]
        np.testing.assert_array_equal(own[named], predictions.probabilities[row])
        assert len(np.unique(np.delete(own, named))) <= 1


def test_what_the_likeliest_leave_is_spread_over_the_others() -> None:
    predictions = Predictions(np.array([[3, 1]], np.int32), np.array([[0.5, 0.2]], np.float32), 5)
    np.testing.assert_allclose(predictions.soft, [[0.1, 0.2, 0.1, 0.5, 0.1]], rtol=1e-6, atol=1e-30)


def test_some_of_them_can_be_taken_and_parts_be_joined() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)
    predictions = Predictions.from_logits(logits)
    rows = np.array([7, 3, 3])
    taken = predictions[rows]
    assert taken.hard.tolist() == predictions.hard[rows].tolist()
    assert taken.confidence.tolist() == predictions.confidence[rows].tolist()
    assert taken.num_classes == 12
    joined = Predictions.joined([predictions[:5], predictions[5:]])
    assert joined.labels.tolist() == predictions.labels.tolist()
    assert joined.probabilities.tolist() == predictions.probabilities.tolist()


def test_how_many_are_looked_at_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)
    whole = Predictions.from_logits(logits)
    monkeypatch.setattr(module, "ROWS", 3)
    parts = Predictions.from_logits(logits)
    assert parts.labels.tolist() == whole.labels.tolist()
    assert parts.probabilities.tolist() == whole.probabilities.tolist()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_output_that_is_no_number_is_refused(wrong: float) -> None:
    logits = np.zeros((3, 4), np.float32)
    logits[1, 2] = wrong
    with pytest.raises(TrainingDivergedError):
        Predictions.from_logits(logits)


def test_who_only_reads_predictions_does_without_torch() -> None:
    program = "import sys, augsearch.trainers.semi.predictions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
