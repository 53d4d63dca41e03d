"""Scores against straightforward computations, and predictions that depend on the image alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from augsearch.trainers.models import ModelSpec, build_model
from augsearch.trainers.scores import Logits, predict, score, to_tensor

CPU = torch.device("cpu")

Labels = npt.NDArray[np.int64]


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Logits, Labels]:
    """Logits and labels, with any skill from none to a lot and any confidence."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, classes = draw(st.integers(1, 200)), draw(st.integers(2, 12))
    labels = rng.integers(classes, size=count)
    logits = rng.normal(0, draw(st.sampled_from([0.1, 1.0, 10.0])), (count, classes))
    logits[np.arange(count), labels] += draw(st.sampled_from([0.0, 1.0, 10.0]))
    return logits.astype(np.float32), labels


def calibration_error(logits: Logits, labels: Labels) -> float:
    """Guo et al.'s equation 3, bin by bin."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    confidence, guess = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for number in range(15):
        inside = (confidence >= number / 15) & (confidence < (number + 1) / 15)
        if number == 14:
            inside |= confidence >= 1
        if inside.any():
            accuracy = (guess[inside] == labels[inside]).mean()
            error += inside.mean() * abs(accuracy - confidence[inside].mean())
    return error


@settings(max_examples=100, deadline=None)
@given(predictions())
def test_scores_are_those_of_scikit_learn_and_of_the_paper(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    scores = score(logits, labels)
    guess = logits.argmax(axis=1)
    assert scores.accuracy == pytest.approx(accuracy_score(labels, guess))
    np.testing.assert_array_equal(scores.correct, guess == labels)
    assert scores.correct.dtype == np.bool_
    # scikit-learn clips probabilities at the smallest float64 step from 0, which is e⁻³⁶.
    if (logits.max(axis=1) - logits.min(axis=1)).max() < 30:
        probabilities = softmax(logits.astype(np.float64), axis=1)
        expected = log_loss(labels, probabilities, labels=range(logits.shape[1]))
        assert scores.log_loss == pytest.approx(expected, rel=1e-6)
    assert scores.ece == pytest.approx(calibration_error(logits, labels), abs=1e-9)


def confident(confidence: float, right: int, wrong: int) -> tuple[Logits, Labels]:
    """Predictions between two classes, all as sure as each other."""
    logit = np.log(confidence / (1 - confidence))
    logits = np.tile(np.array([logit, 0], np.float32), (right + wrong, 1))
    return logits, np.repeat([0, 1], [right, wrong])


@pytest.mark.parametrize(("confidence", "right", "wrong"), [(0.7, 7, 3), (0.9, 9, 1), (0.625, 5, 3)])
def test_who_is_as_often_right_as_sure_has_no_calibration_error(
    confidence: float, right: int, wrong: int
) -> None:
    assert score(*confident(confidence, right, wrong)).ece == pytest.approx(0, abs=1e-6)


def test_an_overconfident_and_a_timid_model_err_by_the_gap() -> None:
    assert score(*confident(0.99, 5, 5)).ece == pytest.approx(0.49, abs=1e-6)
    assert score(*confident(0.6, 10, 0)).ece == pytest.approx(0.4, abs=1e-6)


def test_gaps_of_different_bins_add_up_and_do_not_cancel() -> None:
    sure, timid = confident(0.9, 8, 2), confident(0.7, 8, 2)
    logits, labels = (np.concatenate(both) for both in zip(sure, timid, strict=True))
    assert score(logits, labels).ece == pytest.approx(0.1, abs=1e-6)
    # Within one bin they do cancel: 0.74 and 0.76 are not told apart.
    near, nearer = confident(0.74, 65, 35), confident(0.76, 85, 15)
    logits, labels = (np.concatenate(both) for both in zip(near, nearer, strict=True))
    assert score(logits, labels).ece == pytest.approx(0, abs=1e-6)


def test_the_last_bin_is_as_wide_as_the_others_and_holds_certainty_too() -> None:
    certain = np.tile(np.array([1000, 0], np.float32), (10, 1)), np.repeat([0, 1], [9, 1])
    nearly = confident(0.95, 20, 0)
    logits, labels = (np.concatenate(both) for both in zip(certain, nearly, strict=True))
    # An image too sure of ten and an image too timid of twenty, in one bin.
    assert score(logits, labels).ece == pytest.approx(0, abs=1e-6)


def test_log_loss_is_in_nats() -> None:
    even = np.zeros((3, 4), np.float32)
    assert score(even, np.array([0, 1, 2])).log_loss == pytest.approx(np.log(4))


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=1,
        max_size=9,
    ),
    st.integers(0, 2),
)
def test_scores_of_any_finite_logits_are_finite(rows: list[list[float]], label: int) -> None:
    scores = score(np.array(rows, np.float32), np.full(len(rows), label))
    assert np.isfinite([scores.accuracy, scores.log_loss, scores.ece]).all()
    assert 0 <= scores.accuracy <= 1
    assert scores.log_loss >= 0
    assert 0 <= scores.ece <= 1


@settings(max_examples=50, deadline=None)
@given(predictions(), st.floats(-100, 100))
def test_adding_a_constant_to_all_logits_changes_no_score(
    case: tuple[Logits, Labels], constant: float
) -> None:
    logits, labels = case
    # In sixteenths, so that the sums are exact.
    logits = np.round(logits * 16) / 16
    moved = logits + np.float32(np.round(constant * 16) / 16)
    before, after = score(logits, labels), score(moved, labels)
    assert (before.accuracy, before.log_loss, before.ece) == (after.accuracy, after.log_loss, after.ece)


def network() -> torch.nn.Module:
    spec = ModelSpec(
        name="tiny", channels=3, image_size=12, classes=("a", "b", "c"), mean=(128,) * 3, std=(70,) * 3
    )
    model = build_model(spec, seed=0)
    # Running statistics that are not those of the images below, to tell the two modes apart.
    model(to_tensor(noise(8, seed=1) // 2, CPU))
    return model


def noise(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 11, 256])
def test_a_prediction_depends_on_its_image_alone(batch_size: int) -> None:
    model, images = network(), noise(10)
    one_by_one = np.concatenate([predict(model, image[None], CPU) for image in images])
    together = predict(model, images, CPU, batch_size=batch_size)
    assert together.shape == (10, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_leaves_the_model_and_its_mode_as_they_were(training: bool) -> None:
    model = network().train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    predict(model, noise(6), CPU)
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_images_in_any_memory_layout_are_predicted_alike() -> None:
    model, images = network(), noise(20)
    strided = images[::2, :, ::-1]
    np.testing.assert_array_equal(
        predict(model, strided, CPU), predict(model, np.ascontiguousarray(strided), CPU)
    )


def test_the_read_only_memory_map_of_a_data_set_is_predicted_as_it_is(tmp_path: Path) -> None:
    images = noise(5)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    model = network()
    np.testing.assert_array_equal(predict(model, mapped, CPU), predict(model, images, CPU))


def test_a_tensor_of_images_is_a_view_with_channels_first() -> None:
    images = noise(2)
    tensor = to_tensor(images, CPU)
    assert tensor.shape == (2, 3, 12, 12)
    assert tensor.dtype == torch.uint8
    np.testing.assert_array_equal(tensor.numpy(), images.transpose(0, 3, 1, 2))
    images[1, 4, 5, 2] ^= 1
    assert tensor[1, 2, 4, 5] == images[1, 4, 5, 2]
