"""Scores against straightforward computations, and predictions that depend on the image alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from augsearch.policies import UserError
from augsearch.trainers.evaluation.inference import predict, to_tensor
from augsearch.trainers.evaluation.metrics import (
    METRICS,
    Logits,
    TrainingDivergedError,
    calibration_bins,
    log_probabilities,
    score,
)

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


@settings(max_examples=100)
@given(predictions())
def test_scores_are_those_of_scikit_learn_and_of_the_paper(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    scores = score(logits, labels)
    guess = logits.argmax(axis=1)
    assert scores.accuracy == pytest.approx(accuracy_score(labels, guess))
    assert scores.macro_f1 == pytest.approx(f1_score(labels, guess, average="macro", zero_division=0))
    np.testing.assert_array_equal(scores.correct, guess == labels)
    assert scores.correct.dtype == np.bool_
    # scikit-learn clips probabilities at the smallest float64 step from 0, which is e⁻³⁶.
    if (logits.max(axis=1) - logits.min(axis=1)).max() < 30:
        probabilities = softmax(logits.astype(np.float64), axis=1)
        expected = log_loss(labels, probabilities, labels=range(logits.shape[1]))
        assert scores.log_loss == pytest.approx(expected, rel=1e-6)
    assert scores.ece == pytest.approx(calibration_error(logits, labels), abs=1e-9)


def test_in_macro_f1_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    # Of four classes one is never met; the rare one is always missed.
    labels = np.array([0] * 98 + [1] * 2)
    scores = score(np.tile(np.array([9, 0, 0, 0], np.float32), (100, 1)), labels)
    assert scores.accuracy == 0.98
    assert scores.macro_f1 == pytest.approx((2 * 98 / (98 + 100) + 0) / 2)


def test_a_class_that_is_only_ever_said_wrongly_counts_in_macro_f1() -> None:
    logits = np.array([[9, 0, 0], [0, 0, 9]], np.float32)
    assert score(logits, np.array([0, 0])).macro_f1 == pytest.approx((2 / 3 + 0) / 2)


@settings(max_examples=50)
@given(predictions(), st.integers(1, 30))
def test_bins_hold_every_image_once_with_its_own_confidence_and_answer(
    case: tuple[Logits, Labels], bins: int
) -> None:
    logits, labels = case
    found = calibration_bins(logits, labels, bins)
    confidence = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    assert found.counts.shape == found.confidence.shape == found.accuracy.shape == (bins,)
    assert found.counts.sum() == len(labels)
    np.testing.assert_array_equal(np.isnan(found.accuracy), found.counts == 0)
    np.testing.assert_array_equal(np.isnan(found.confidence), found.counts == 0)
    assert np.nansum(found.confidence * found.counts) == pytest.approx(confidence.sum())
    assert np.nansum(found.accuracy * found.counts) == pytest.approx(correct.sum())
    inside = found.counts > 0
    lower = np.arange(bins)[inside] / bins
    assert (found.confidence[inside] >= lower - 1e-9).all()
    assert (found.confidence[inside] <= lower + 1 / bins + 1e-9).all()


def test_the_bins_of_the_reliability_diagram_give_the_score() -> None:
    logits, labels = (
        np.concatenate(both) for both in zip(confident(0.9, 8, 2), confident(0.7, 8, 2), strict=True)
    )
    bins = calibration_bins(logits, labels)
    assert bins.ece == score(logits, labels).ece == pytest.approx(0.1, abs=1e-6)
    assert bins.counts[[10, 13]].tolist() == [10, 10]
    np.testing.assert_allclose(bins.confidence[[10, 13]], [0.7, 0.9], atol=1e-6)
    np.testing.assert_allclose(bins.accuracy[[10, 13]], [0.8, 0.8])


@settings(max_examples=50)
@given(predictions(), st.floats(0.1, 50))
def test_a_temperature_divides_the_logits(case: tuple[Logits, Labels], temperature: float) -> None:
    logits, _ = case
    np.testing.assert_allclose(
        log_probabilities(logits, temperature),
        log_softmax(logits.astype(np.float64) / temperature, axis=1),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_no_scores(bad: float) -> None:
    logits, labels = np.zeros((3, 2), np.float32), np.array([0, 1, 0])
    logits[1, 1] = bad
    for judge in (score, calibration_bins):
        with pytest.raises(TrainingDivergedError, match="no numbers"):
            judge(logits, labels)


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


@settings(max_examples=50)
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


class Grey(torch.nn.Module):
    """Grey levels as numbers near zero."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - 128) / 70


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        Grey(),
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(32, 3),
    )
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


def test_batches_are_predicted_as_the_array_they_make_up() -> None:
    model, images = network(), noise(10)
    expected = predict(model, images, CPU)
    for borders in ([], [4], [1, 2, 9]):
        pieces = np.split(images, borders)
        np.testing.assert_allclose(predict(model, iter(pieces), CPU), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(predict(model, pieces, CPU), expected, rtol=1e-4, atol=1e-5)
    images.setflags(write=False)
    np.testing.assert_allclose(predict(model, [images], CPU), expected, rtol=1e-4, atol=1e-5)


class Cramped(torch.nn.Module):
    """Memory for so many images at a time, in front of a network."""

    def __init__(self, room: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.network, self.room, self.error = network(), room, error
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, if there is room."""
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise self.error("there is no room")
        return self.network(images)


def test_where_memory_runs_out_fewer_images_are_predicted_at_a_time() -> None:
    model, images = Cramped(room=3), noise(20)
    logits = predict(model, images, CPU, batch_size=13)
    # Once for the whole and once for its half; from then on it is known.
    assert model.sizes == [13, 6, *[3] * 4, 1, 3, 3, 1]
    np.testing.assert_allclose(logits, predict(model.network, images, CPU), rtol=1e-4, atol=1e-5)
    model.sizes.clear()
    batches = predict(model, iter(np.split(images, [4, 6])), CPU)
    assert model.sizes == [4, 2, 2, 2, *[2] * 7]
    np.testing.assert_allclose(batches, logits, rtol=1e-4, atol=1e-5)


def test_where_not_even_one_image_fits_one_line_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"^out of memory even with 1 image at a time; use a smaller"):
        predict(Cramped(room=0), noise(4), CPU)


def test_another_error_of_the_network_is_passed_on_at_once() -> None:
    model = Cramped(room=0, error=RuntimeError)
    with pytest.raises(RuntimeError, match=r"^there is no room$"):
        predict(model, noise(4), CPU)
    assert model.sizes == [4]


def test_a_batch_is_taken_only_when_the_one_before_is_done() -> None:
    model = network()
    seen: list[str] = []
    model.register_forward_hook(lambda *_: seen.append("predicted"))

    def decoded() -> Iterator[npt.NDArray[np.uint8]]:
        for number in range(3):
            seen.append(f"decoded {number}")
            # Whoever makes batches with torch may go on working with its tensors afterwards.
            assert not torch.is_inference_mode_enabled()
            yield noise(2)

    assert predict(model, decoded(), CPU).shape == (6, 3)
    assert seen == [step for number in range(3) for step in (f"decoded {number}", "predicted")]


def test_a_batch_that_fails_to_come_leaves_the_mode_as_it_was() -> None:
    model = network().train()

    def broken() -> Iterator[npt.NDArray[np.uint8]]:
        yield noise(2)
        raise OSError("torn.jpg")

    with pytest.raises(OSError, match="torn"):
        predict(model, broken(), CPU)
    assert all(module.training for module in model.modules())


def test_a_partly_frozen_network_stays_partly_frozen() -> None:
    model = network().eval()
    modules = list(model.modules())
    modules[-1].train()
    predict(model, noise(3), CPU)
    assert [module.training for module in modules] == [False] * (len(modules) - 1) + [True]


@pytest.mark.parametrize("nothing", [noise(0), []])
def test_of_no_images_there_is_no_prediction(nothing: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="no images"):
        predict(network(), nothing, CPU)


def test_a_tensor_of_images_is_a_view_with_channels_first() -> None:
    images = noise(2)
    tensor = to_tensor(images, CPU)
    assert tensor.shape == (2, 3, 12, 12)
    assert tensor.dtype == torch.uint8
    np.testing.assert_array_equal(tensor.numpy(), images.transpose(0, 3, 1, 2))
    images[1, 4, 5, 2] ^= 1
    assert tensor[1, 2, 4, 5] == images[1, 4, 5, 2]


@pytest.mark.parametrize("metric", ["macro-f1", "balanced-accuracy"])
def test_their_spread_is_what_other_images_would_change(metric: str) -> None:
    """Against the bootstrap over images, which computes the metric anew."""
    logits, labels = answers(1, images=600)
    rng = np.random.default_rng(0)

    def anew(rows: np.ndarray) -> float:
        scores = score(logits[rows], labels[rows])
        return scores.macro_f1 if metric == "macro-f1" else scores.balanced_accuracy

    repeated = [anew(rng.integers(600, size=600)) for _ in range(400)]
    error = METRICS[metric].per_image(logits, labels).std() / np.sqrt(600)
    assert error == pytest.approx(np.std(repeated), rel=0.2)


@settings(max_examples=100)
@given(predictions())
def test_the_mean_of_what_images_add_is_the_score_however_few_a_class_has(
    case: tuple[Logits, Labels],
) -> None:
    logits, labels = case
    scores = score(logits, labels)
    for name, expected in (("macro-f1", scores.macro_f1), ("balanced-accuracy", scores.balanced_accuracy)):
        assert METRICS[name].per_image(logits, labels).mean() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("counts", [[2, 2, 2], [3, 5], [2, 6], [1] * 8], ids=str)
def test_of_few_images_a_class_balanced_accuracy_varies_by_no_less_than_it_does(counts: list[int]) -> None:
    """Over all outcomes that are equally likely: the mean of what each says is what they come to."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rows, others, count = np.arange(len(labels)), (labels + 1) % len(counts), len(labels)
    found, said = [], []
    for outcome in product([False, True], repeat=count):
        logits = np.zeros((count, len(counts)), np.float32)
        logits[rows, np.where(outcome, labels, others)] = 1
        found.append(score(logits, labels).balanced_accuracy)
        said.append(METRICS["balanced-accuracy"].per_image(logits, labels).var() / count)
    assert np.mean(said) == pytest.approx(np.var(found))


@pytest.mark.parametrize("metric", ["macro-f1", "balanced-accuracy"])
def test_classes_of_one_image_say_that_others_would_change_the_score(metric: str) -> None:
    logits = np.eye(6, dtype=np.float32)
    logits[:3] = np.roll(logits[:3], 1, axis=0)
    assert METRICS[metric].per_image(logits, np.arange(6)).std() > 0.4


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    logits, labels = answers(2)
    expected = balanced_accuracy_score(labels, logits.argmax(axis=1))
    assert score(logits, labels).balanced_accuracy == pytest.approx(expected)


def answers(seed: int, images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right more often than not, of classes of which some are rare."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=images, p=[0.5, 0.3, 0.15, 0.05])
    logits = rng.normal(size=(images, 4)).astype(np.float32)
    logits[np.arange(images), labels] += 1.5
    return logits, labels
