"""What the figures of a model choose to show, and that it is seen."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax
from sklearn.datasets import load_sample_image
from sklearn.metrics import confusion_matrix

from augsearch.search.figures.common import CLASSES_SHOWN
from augsearch.search.figures.model import (
    _softened_bars,
    confusion,
    confusion_counts,
    most_confused,
    reliability,
    softened,
    spread_by_confidence,
    surest_mistakes,
    worst_mistakes,
)
from augsearch.trainers.evaluation.metrics import Logits, TrainingDivergedError, score

Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]

ODD_NAMES = ("$x$", "$\\broken$", "猫", "two\nlines", "W" * 300, "", "a_b^c", "<&>", r"\$")


def judged(count: int, classes: int, seed: int = 0, skill: float = 2.0) -> tuple[Logits, Labels]:
    """Predictions that are often right, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    logits = rng.normal(0, 1.5, (count, classes))
    logits[np.arange(count), labels] += skill
    return logits.astype(np.float32), labels


@st.composite
def judgements(draw: st.DrawFn) -> tuple[Logits, Labels]:
    classes = draw(st.sampled_from([2, 3, 20, 21, 40, 120]))
    skill = draw(st.sampled_from([0.0, 2.0, 8.0, 100.0]))
    return judged(draw(st.integers(1, 300)), classes, draw(st.integers(0, 2**32)), skill)


def words(draw: Callable[[Path], None], folder: Path) -> list[str]:
    """All that is written in a figure, line by line; text in an SVG can be read."""
    path = folder / "figure.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(path)
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)", path.read_text("utf-8"))]


def picture(draw: Callable[[Path], None], folder: Path) -> Pixels:
    """The figure's pixels (H, W, 3), about a thousand wide."""
    draw(folder / "figure.png")
    with Image.open(folder / "figure.png") as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert 1000 <= pixels.shape[1] <= 1100
    assert 200 <= pixels.shape[0] <= 1200
    return pixels


def area(pixels: Pixels, colour: tuple[int, int, int]) -> int:
    return int((pixels == colour).all(axis=2).sum())


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


@settings(max_examples=60)
@given(judgements())
def test_a_confusion_matrix_shows_all_classes_or_those_most_often_confused(
    case: tuple[Logits, Labels],
) -> None:
    logits, labels = case
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    shown = most_confused(labels, predicted, classes)
    if classes <= CLASSES_SHOWN:
        assert shown.tolist() == list(range(classes))
        return
    matrix = confusion_matrix(labels, predicted, labels=range(classes))
    either = np.triu(matrix + matrix.T, 1)
    assert len(set(shown.tolist())) == len(shown) <= CLASSES_SHOWN
    if not either.any():
        assert shown.tolist() == list(range(CLASSES_SHOWN))
        return
    low, high = sorted(shown[:2].tolist())
    assert either[low, high] == either.max()
    # Nothing is shown that was not confused with something else that is shown.
    seen = either[np.ix_(np.sort(shown), np.sort(shown))]
    assert (seen.sum(axis=0) + seen.sum(axis=1) > 0).all()
    # What is left out was confused no more often than what is shown, or did not fit.
    if len(shown) < CLASSES_SHOWN - 1:
        assert seen.sum() == either.sum()


@settings(max_examples=60)
@given(judgements())
def test_every_image_of_a_shown_class_is_counted_once(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    shown = most_confused(labels, predicted, classes)
    counts = confusion_counts(labels, predicted, shown)
    matrix = confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(counts[:, :-1], matrix[np.ix_(shown, shown)])
    np.testing.assert_array_equal(counts.sum(axis=1), matrix.sum(axis=1)[shown])


def test_a_confusion_matrix_says_its_counts_and_names(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [12_300, 23, 4])
    predicted = labels.copy()
    predicted[:57] = 1
    written = words(lambda path: confusion(labels, predicted, ("ape", "bee", "cat"), path), tmp_path)
    assert "What was taken for what: 57 of 12,327 images wrong" in written
    assert {"12k", "57", "23", "4", "ape", "bee", "cat"} <= set(written)
    assert "any other" not in written


def test_of_many_classes_the_title_says_how_many_are_shown(tmp_path: Path) -> None:
    logits, labels = judged(3000, 120)
    predicted = logits.argmax(axis=1)
    written = words(lambda path: confusion(labels, predicted, names(120), path), tmp_path)
    assert "The 20 most confused of 120 classes" in written
    shown = [f"class {index}" for index in most_confused(labels, predicted, 120)]
    # On both axes.
    assert sorted(name for name in written if name.startswith("class ")) == sorted(2 * shown)
    assert "any other" in written
    written = words(lambda path: confusion(labels, labels, names(120), path), tmp_path)
    assert "The first 20 of 120 classes; none was confused" in written


def test_a_confusion_matrix_is_dark_where_a_class_was_taken_for_itself(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 50)
    pixels = picture(lambda path: confusion(labels, labels, ("a", "b"), path), tmp_path)
    darkest, lightest = (8, 48, 107), (247, 251, 255)
    # Two cells of four, each.
    assert area(pixels, darkest) > 50_000
    assert area(pixels, lightest) == pytest.approx(area(pixels, darkest), rel=0.1)


def test_a_reliability_diagram_says_how_sure_and_how_right(tmp_path: Path) -> None:
    logits, labels = judged(500, 4)
    written = words(lambda path: reliability(logits, labels, path), tmp_path)
    scores, confidence = score(logits, labels), 100 * softmax(logits, axis=1).max(axis=1).mean()
    gap = confidence - 100 * scores.accuracy
    (title,) = [line for line in written if "ECE" in line]
    assert f"mean confidence {confidence:.1f} %, accuracy {100 * scores.accuracy:.1f} %" in title
    assert f"too {'sure' if gap > 0 else 'timid'} by {abs(gap):.1f} points" in title
    assert f"(ECE) {scores.ece:.3f}" in title


@pytest.mark.parametrize(("skill", "word"), [(0.0, "sure"), (100.0, "as sure as right"), (2.0, "timid")])
def test_a_reliability_diagram_tells_the_sure_from_the_timid(skill: float, word: str, tmp_path: Path) -> None:
    logits, labels = judged(400, 10, skill=skill)
    if word == "timid":
        logits *= 0.2
    written = words(lambda path: reliability(logits, labels, path), tmp_path)
    assert any(word in line for line in written if "ECE" in line)


def test_a_reliability_diagram_has_bars_as_high_as_the_accuracy(tmp_path: Path) -> None:
    logits, half = np.tile(np.array([20, 0], np.float32), (100, 1)), np.repeat([0, 1], 50)
    blue = (37, 99, 235)
    all_right = area(picture(lambda path: reliability(logits, 0 * half, path), tmp_path), blue)
    half_right = area(picture(lambda path: reliability(logits, half, path), tmp_path), blue)
    assert half_right == pytest.approx(all_right / 2, rel=0.1)


@settings(max_examples=60)
@given(judgements(), st.integers(1, 30))
def test_the_surest_mistakes_are_wrong_and_no_other_mistake_is_surer(
    case: tuple[Logits, Labels], count: int
) -> None:
    logits, labels = case
    chosen = surest_mistakes(logits, labels, count)
    wrong = logits.argmax(axis=1) != labels
    sure = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, wrong.sum())
    assert wrong[chosen].all()
    assert (np.diff(sure[chosen]) <= 1e-12).all()
    wrong[chosen] = False
    if len(chosen) and wrong.any():
        assert sure[wrong].max() <= sure[chosen].min() + 1e-12


def test_worst_mistakes_say_what_was_said_how_surely_and_what_it_is(tmp_path: Path) -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], np.float32))
    labels = np.array([0, 0, 0, 1])
    images = np.zeros((4, 8, 8, 3), np.uint8)
    written = words(lambda path: worst_mistakes(images, labels, logits, ("cat", "dog"), path), tmp_path)
    captions = ["said dog", "is cat", "80 % sure", "said dog", "is cat", "60 % sure"]
    assert written == [*captions, "All 2 mistakes on 4 images"]
    written = words(
        lambda path: worst_mistakes(images, labels, logits, ("cat", "dog"), path, count=1), tmp_path
    )
    assert "The 1 surest of 2 mistakes on 4 images" in written
    assert written.count("said dog") == 1


def test_only_the_images_that_are_shown_are_read_and_they_are_seen(tmp_path: Path) -> None:
    logits, labels = judged(400, 6)
    colours = np.random.default_rng(1).integers(30, 226, (400, 3), dtype=np.uint8)
    read: list[int] = []

    def image(index: int) -> Pixels:
        assert type(index) is int
        read.append(index)
        return np.broadcast_to(colours[index], (32, 32, 3))

    pixels = picture(lambda path: worst_mistakes(image, labels, logits, names(6), path, count=9), tmp_path)
    assert read == surest_mistakes(logits, labels, 9).tolist()
    for index in read:
        assert area(pixels, tuple(colours[index].tolist())) > 100 * 100
    read.clear()
    pixels = picture(lambda path: softened(image, labels, logits, names(6), [1, 4], path), tmp_path)
    assert read == spread_by_confidence(logits, 6).tolist()
    for index in read:
        assert area(pixels, tuple(colours[index].tolist())) > 100 * 100


def test_an_array_a_memory_map_and_a_function_show_the_same(tmp_path: Path) -> None:
    logits, labels = judged(60, 5)
    photo = load_sample_image("flower.jpg")
    images = np.stack([photo[index : index + 48, 5 * index :][:, :48] for index in range(60)])
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    shown = [
        picture(lambda path, given=given: worst_mistakes(given, labels, logits, names(5), path), tmp_path)
        for given in (images, mapped, lambda index: images[index], list(images))
    ]
    for other in shown[1:]:
        np.testing.assert_array_equal(other, shown[0])


def test_grey_images_are_grey_from_black_to_white(tmp_path: Path) -> None:
    logits, labels = judged(20, 3, skill=-9)
    # A scale fitted to each image would show all of them black.
    grey = np.full((20, 16, 16, 1), 140, np.uint8)
    for draw in (
        lambda path: worst_mistakes(grey, labels, logits, names(3), path),
        lambda path: softened(grey, labels, logits, names(3), [2], path),
    ):
        assert area(picture(draw, tmp_path), (140, 140, 140)) > 6 * 100 * 100


def test_no_mistake_is_said_to_be_none(tmp_path: Path) -> None:
    labels = np.arange(7)
    logits = 5 * np.eye(7, dtype=np.float32)

    def unread(index: int) -> Pixels:
        raise AssertionError(index)

    written = words(lambda path: worst_mistakes(unread, labels, logits, names(7), path), tmp_path)
    assert written == ["No mistakes on 7 images"]
    picture(lambda path: worst_mistakes(unread, labels, logits, names(7), path), tmp_path)


def test_a_single_mistake_is_the_only_one(tmp_path: Path) -> None:
    logits, labels = 5 * np.eye(7, dtype=np.float32), np.array([1, 1, 2, 3, 4, 5, 6])
    images = np.zeros((7, 8, 8, 1), np.uint8)
    written = words(lambda path: worst_mistakes(images, labels, logits, names(7), path), tmp_path)
    assert "The only mistake on 7 images" in written


@settings(max_examples=60)
@given(judgements(), st.integers(1, 8))
def test_images_are_spread_from_the_surest_to_the_least_sure(case: tuple[Logits, Labels], count: int) -> None:
    logits, _ = case
    chosen = spread_by_confidence(logits, count)
    sure = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(logits))
    assert sure[chosen[0]] == pytest.approx(sure.max())
    if len(chosen) > 1:
        assert sure[chosen].min() == pytest.approx(sure.min())
    np.testing.assert_array_equal(spread_by_confidence(logits, count), chosen)


def test_the_doubtful_images_of_a_sure_teacher_are_chosen_too() -> None:
    sure = np.full(1000, 0.999)
    sure[[100, 300, 500, 700]] = 0.5, 0.6, 0.7, 0.8
    logits = np.log(np.stack([sure, 1 - sure], axis=1)).astype(np.float32)
    assert {100, 300, 500, 700} <= set(spread_by_confidence(logits, 6).tolist())


def test_softened_bars_are_the_softmax_at_each_temperature() -> None:
    logits, _ = judged(1, 30)
    axes = Figure().subplots()
    temperatures = (1, 3.5, 20)
    _softened_bars(axes, logits[0], 4, names(30), temperatures)
    top = np.argsort(-logits[0])[:6]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"class {index}" for index in top]
    for temperature, bars in zip(temperatures, axes.containers, strict=True):
        assert bars.get_label() == f"T = {temperature}"
        expected = 100 * softmax(logits[0].astype(np.float64) / temperature)[top]
        np.testing.assert_allclose([bar.get_width() for bar in bars], expected)
        # The first class on top.
        middles = [bar.get_y() + bar.get_height() / 2 for bar in bars]
        np.testing.assert_allclose(np.diff(middles), 1)
    assert axes.yaxis_inverted()
    bold = [label.get_text() for label in axes.get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == (["class 4"] if 4 in top else [])


def test_what_the_teacher_knows_is_shown_for_images_with_and_without_a_label(tmp_path: Path) -> None:
    logits, labels = judged(50, 9)
    labels[spread_by_confidence(logits, 6)[2]] = -1
    images = np.zeros((50, 16, 16, 3), np.uint8)
    written = words(lambda path: softened(images, labels, logits, names(9), [1, 2.5, 8], path), tmp_path)
    assert "What the teacher knows" in written
    assert [line for line in written if line.startswith("T =")] == ["T = 1", "T = 2.5", "T = 8"]
    assert written.count("class not known") == 1
    assert sum(line.startswith("is ") for line in written) == 5


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_few_images_and_two_classes_are_enough_for_every_figure(count: int, tmp_path: Path) -> None:
    logits, labels = judged(count, 2, skill=-9)
    images = load_sample_image("china.jpg")[None, :200, :200].repeat(count, axis=0)
    for draw in (
        lambda path: confusion(labels, logits.argmax(axis=1), ("a", "b"), path),
        lambda path: reliability(logits, labels, path),
        lambda path: worst_mistakes(images, labels, logits, ("a", "b"), path),
        lambda path: softened(images, labels, logits, ("a", "b"), [4], path),
    ):
        picture(draw, tmp_path)


def test_any_names_of_classes_can_be_drawn(tmp_path: Path) -> None:
    logits, labels = judged(100, len(ODD_NAMES), skill=0)
    images = np.zeros((100, 8, 8, 3), np.uint8)
    for draw in (
        lambda path: confusion(labels, logits.argmax(axis=1), ODD_NAMES, path),
        lambda path: worst_mistakes(images, labels, logits, ODD_NAMES, path),
        lambda path: softened(images, labels, logits, ODD_NAMES, [1, 2], path),
    ):
        picture(draw, tmp_path)
        written = words(draw, tmp_path)
        assert any("W…W" in line for line in written)
        assert any("$x$" in line for line in written)


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    classes = [f"a species with a very long scientific name {index}" for index in range(9)]
    labels = np.arange(9)
    written = words(lambda path: confusion(labels, labels, classes, path), tmp_path)
    shortened = {line for line in written if "…" in line}
    assert len(shortened) == 9
    assert all(len(line) <= 22 for line in shortened)


def test_outputs_that_are_no_numbers_are_not_drawn(tmp_path: Path) -> None:
    logits, labels = np.eye(3, 2, dtype=np.float32), np.array([0, 0, 1])
    logits[0, 0] = np.nan
    images, path = np.zeros((3, 8, 8, 3), np.uint8), tmp_path / "figure.png"
    for draw in (
        lambda: reliability(logits, labels, path),
        lambda: worst_mistakes(images, labels, logits, ("a", "b"), path),
        lambda: softened(images, labels, logits, ("a", "b"), [1], path),
    ):
        with pytest.raises(TrainingDivergedError):
            draw()
    assert not path.exists()
